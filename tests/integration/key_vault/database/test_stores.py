"""The vault's migration and its stores."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import NullPool, create_engine, delete
from sqlalchemy.ext.asyncio import create_async_engine

from keyferry.contracts import ids
from keyferry.contracts.audit import AuditOutcome, UncountedAuditEvent
from keyferry.contracts.envelope import Message
from keyferry.contracts.key import (
    KeyChange,
    KeyChanged,
    KeyFacts,
    KeySpend,
    KeyStatus,
    KeyTest,
    KeyTestResult,
    ProviderKey,
    StepResult,
)
from keyferry.contracts.lease import WorkerRegistration
from keyferry.contracts.secret import Secret
from keyferry.contracts.vault import ShredTenant
from keyferry.runtime.database.errors import DatabaseUnavailable
from keyferry.runtime.database.event_outbox import enqueue_event
from keyferry.runtime.database.schema_check import VERSION_TABLE
from services.key_vault.database.errors import Conflict, DuplicateKey
from services.key_vault.database.tables import SCHEMA, EncryptedRecord, event_outbox, metadata, provider_keys
from services.key_vault.database.transaction import Act, Database, lock_tenant
from services.key_vault.encryption.record_cipher import Undecryptable
from services.key_vault.keys.store import KeyStore
from services.key_vault.leases.store import Nonce, Replayed
from services.key_vault.leases.worker_store import WorkerStore
from services.key_vault.maintenance.admin import VaultAdmin
from services.key_vault.maintenance.shredding import shred_tenant
from tests.integration.key_vault.vault_database import CREATED_AT, VaultDatabase, act, provider_key
from tests.support.servers.ports import find_free_port
from tests.support.waiting import eventually

NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)
AUDIT, CHANGED = "kf.v1.audit.recorded.key-vault", "kf.v1.key.changed."


def said(vault: VaultDatabase) -> list[Message]:
    """Return every unpublished event, in order."""
    rows = vault.rows("SELECT subject, message_id, payload FROM key_vault.event_outbox ORDER BY id")
    events: list[Message] = []
    for row in rows:
        kind = UncountedAuditEvent if row["subject"] == AUDIT else KeyChanged
        assert kind is UncountedAuditEvent or str(row["subject"]).startswith(CHANGED)
        payload = row["payload"]
        assert isinstance(payload, bytes)
        events.append(kind.decode(payload))
    return events


def audited(vault: VaultDatabase) -> list[UncountedAuditEvent]:
    return [event for event in said(vault) if isinstance(event, UncountedAuditEvent)]


def viewed(vault: VaultDatabase) -> list[tuple[object, KeyFacts | None]]:
    """Return every unpublished change of the view, in order."""
    rows = vault.rows("SELECT bucket, key, value FROM key_vault.outbox ORDER BY id")
    assert {row["bucket"] for row in rows} <= {"provider_keys"}
    values = [(row["key"], row["value"]) for row in rows]
    return [(key, KeyFacts.decode(value) if isinstance(value, bytes) else None) for key, value in values]


def nonce() -> Nonce:
    return Nonce(f"provider-worker-1 {ids.new('non')}", NOW)


async def records_of(vault: VaultDatabase, key: ProviderKey) -> list[object]:
    rows = vault.rows(f"SELECT version FROM key_vault.key_records WHERE key_id = '{key.key_id}' ORDER BY version")
    return [row["version"] for row in rows]


async def rotate(vault: VaultDatabase, key: ProviderKey, *, revert_until: datetime | None) -> ProviderKey:
    """Replace a key's secret."""
    secret = Secret(f"sk-rotated-{key.version + 1}")
    after = key.model_copy(
        update={
            "version": key.version + 1,
            "revert_until": revert_until,
            "fingerprint": vault.encryption.fingerprint(key.tenant, secret),
        }
    )
    record = await vault.encryption.encrypt(key, secret)
    return await vault.stores.keys.update(key, after, act("key.rotate", key), KeyChange.ROTATED, "Rotated.", record)


async def test_migration_creates_the_declared_tables(vault: VaultDatabase) -> None:
    # With another default schema the comparison sees the tables under the name of theirs.
    url = vault.engine.url.render_as_string(hide_password=False)
    engine = create_engine(url, poolclass=NullPool, connect_args={"options": "-c search_path=public"})
    with engine.connect() as connection:
        options = {
            "include_schemas": True,
            "include_name": lambda name, kind, parents: kind != "schema" or name == SCHEMA,
            "include_object": lambda thing, name, kind, reflected, compared: name != VERSION_TABLE,
            "compare_type": True,
            "compare_server_default": True,
        }
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


async def test_key_is_read_as_it_was_stored(vault: VaultDatabase) -> None:
    check = KeyTest(
        result=KeyTestResult.DEGRADED,
        steps=[StepResult(step="reachable", passed=True, duration_ms=12, detail="It answers.")],
        duration_ms=40,
        tested_at=NOW,
        credit_left_usd=Decimal("0.000000000001"),
        models=["gpt-4o"],
    )
    key = provider_key(
        "acme",
        status=KeyStatus.DEGRADED,
        fields={"region": "eu-central-1"},
        allowed_models=["gpt-4o", "gpt-4o-mini"],
        models=["gpt-4o"],
        expires_at=NOW + timedelta(days=9),
        monthly_limit_usd=Decimal("25.50"),
        last_test=check,
        next_test_at=NOW + timedelta(days=7),
        over_limit=True,
    )
    record = await vault.encryption.encrypt(key, Secret("sk-1"))
    await vault.stores.keys.insert(key, record, act("key.add", key), "Added.")
    assert await vault.stores.keys.get("acme", key.key_id) == key
    assert await vault.stores.records.get("acme", key.key_id, 1) == record
    assert await vault.stores.keys.find_by_fingerprint("acme", key.provider, key.fingerprint) == key


async def test_other_tenants_keys_are_not_found(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    assert await vault.stores.keys.get("other", key.key_id) is None
    assert await vault.stores.records.get("other", key.key_id, 1) is None
    assert await vault.stores.keys.find_by_fingerprint("other", key.provider, key.fingerprint) is None
    assert await vault.stores.leases.lease("other", key.key_id, act("key.lease", key), nonce()) is None
    assert await vault.stores.keys.list_for_tenant("other") == []
    stolen = key.model_copy(update={"tenant": "other"})
    with pytest.raises(Conflict):
        await vault.stores.keys.update(stolen, stolen, act("key.edit", key), KeyChange.EDITED, "Edited.")
    with pytest.raises(Conflict):
        await vault.stores.keys.delete(stolen, act("key.remove", key), "Removed.")


async def test_keys_are_listed_in_the_order_of_their_use(vault: VaultDatabase) -> None:
    def at(priority: int, minute: int) -> ProviderKey:
        created_at = CREATED_AT + timedelta(minutes=minute)
        return provider_key("acme", priority=priority, created_at=created_at)

    keys = [at(20, 0), at(10, 5), at(10, 1), at(30, 0)]
    for key in keys:
        record = await vault.encryption.encrypt(key, Secret("sk"))
        await vault.stores.keys.insert(key, record, act("key.add", key), "Added.")
    assert await vault.stores.keys.list_for_tenant("acme") == [keys[2], keys[1], keys[0], keys[3]]
    assert {key.key_id for key in await vault.stores.keys.list_all()} == {key.key_id for key in keys}


async def test_insert_writes_view_event_and_audit_together(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    known = KeyFacts.model_validate(key.model_dump(include=set(KeyFacts.model_fields)))
    facts = known.model_copy(update={"secret_set_at": key.created_at})
    assert viewed(vault) == [(f"acme.{key.key_id}", facts)]
    changed, audit = said(vault)
    assert isinstance(changed, KeyChanged)
    assert (changed.key_id, changed.change, changed.status) == (key.key_id, KeyChange.ADDED, KeyStatus.VALID)
    assert isinstance(audit, UncountedAuditEvent)
    assert (audit.action, audit.target, audit.actor) == ("key.add", key.key_id, "operator")
    assert await vault.stores.keys.view_contents() == {"provider_keys": {f"acme.{key.key_id}": facts.encode()}}


async def test_failed_change_writes_no_event(vault: VaultDatabase) -> None:
    key, secret = await vault.add("acme")
    before = len(said(vault))
    twin = provider_key("acme", fingerprint=key.fingerprint)
    record = await vault.encryption.encrypt(twin, secret)
    with pytest.raises(DuplicateKey, match=key.key_id) as caught:
        await vault.stores.keys.insert(twin, record, act("key.add", twin), "Added.")
    assert caught.value.key_id == key.key_id
    assert len(said(vault)) == before


async def test_audit_does_not_wait_for_an_uncommitted_one(vault: VaultDatabase) -> None:
    async with vault.engine.connect() as connection, connection.begin() as transaction:
        await enqueue_event(connection, event_outbox, AUDIT, "aud_open", b'{"open":true}', counted=True)
        async with asyncio.timeout(10):
            await vault.stores.database.audit(
                Act("operator", "key.add", "acme", "openai", AuditOutcome.REFUSED, {"why": "no"})
            )
        assert [event.action for event in audited(vault)] == ["key.add"]
        await transaction.rollback()


async def test_concurrent_insert_of_one_key_reports_the_duplicate(vault: VaultDatabase) -> None:
    secret = Secret("sk-the-same")
    fingerprint = vault.encryption.fingerprint("acme", secret)

    async def add() -> bool:
        key = provider_key("acme", fingerprint=fingerprint)
        record = await vault.encryption.encrypt(key, secret)
        try:
            await vault.stores.keys.insert(key, record, act("key.add", key), "Added.")
        except DuplicateKey:
            return False
        return True

    assert sorted(await asyncio.gather(*(add() for _ in range(8)))) == [False] * 7 + [True]
    assert len(await vault.stores.keys.list_for_tenant("acme")) == 1


async def test_concurrent_updates_conflict(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    renamed = [key.model_copy(update={"label": f"name {number}"}) for number in range(6)]

    async def change(after: ProviderKey) -> bool:
        try:
            await vault.stores.keys.update(key, after, act("key.edit", key), KeyChange.EDITED, "Edited.")
        except Conflict:
            return False
        return True

    assert sorted(await asyncio.gather(*map(change, renamed))) == [False] * 5 + [True]


async def test_update_does_not_conflict_with_reported_spending(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    await vault.stores.keys.record_spend(spending(key, "2026-03", "1.5"))
    edited = key.model_copy(update={"label": "renamed"})
    after = await vault.stores.keys.update(key, edited, act("key.edit", key), KeyChange.EDITED, "Edited.")
    assert (after.label, after.spent_usd, after.last_used_at) == ("renamed", Decimal("1.5"), NOW)
    assert await vault.stores.keys.get("acme", key.key_id) == after


async def test_removed_key_leaves_only_its_events(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    await vault.stores.keys.delete(key, act("key.remove", key), "Removed.")
    assert await vault.stores.keys.get("acme", key.key_id) is None
    assert vault.rows("SELECT * FROM key_vault.key_records") == []
    assert viewed(vault)[-1] == (f"acme.{key.key_id}", None)
    assert [event.action for event in audited(vault)] == ["key.add", "key.remove"]
    with pytest.raises(Conflict, match="gone already"):
        await vault.stores.keys.delete(key, act("key.remove", key), "Removed.")


async def test_rotation_keeps_only_the_version_before_it(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    second = await rotate(vault, key, revert_until=NOW)
    assert await records_of(vault, key) == [1, 2]
    former = await vault.stores.records.get_former(second)
    assert former is not None
    assert former.version == 1
    third = await rotate(vault, second, revert_until=NOW + timedelta(days=1))
    assert await records_of(vault, key) == [2, 3]
    assert await vault.stores.keys.list_revert_expired(NOW, 10) == []
    assert await vault.stores.keys.list_revert_expired(NOW + timedelta(days=1), 10) == [third]
    alone = third.model_copy(update={"revert_until": None})
    await vault.stores.keys.update(third, alone, act("key.edit", key), KeyChange.EDITED, "The overlap is over.")
    assert await records_of(vault, key) == [3]
    assert await vault.stores.records.get_former(alone) is None


async def test_rotation_without_revert_period_keeps_no_former_version(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    await rotate(vault, key, revert_until=None)
    assert await records_of(vault, key) == [2]


async def test_rotation_to_another_stored_key_is_a_duplicate(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    other, secret = await vault.add("acme")
    after = key.model_copy(update={"version": 2, "fingerprint": other.fingerprint})
    record = await vault.encryption.encrypt(after, secret)
    with pytest.raises(DuplicateKey, match=other.key_id):
        await vault.stores.keys.update(key, after, act("key.rotate", key), KeyChange.ROTATED, "Rotated.", record)
    assert await records_of(vault, key) == [1]


async def test_lease_is_audited_with_what_was_leased(vault: VaultDatabase) -> None:
    key, secret = await vault.add("acme")
    leasing = replace(act("key.lease", key), actor="provider-worker-1")
    leased = await vault.stores.leases.lease("acme", key.key_id, leasing, nonce())
    assert leased is not None
    assert leased.key == key
    assert await vault.restarted().encryption.decrypt(leased.key, leased.record, leased.data_key) == secret
    last = audited(vault)[-1]
    assert (last.action, last.actor, last.details) == (
        "key.lease",
        "provider-worker-1",
        {"provider": "openai", "version": "1"},
    )
    assert await vault.stores.leases.lease("acme", "key_unknown", act("key.lease", key), nonce()) is None
    assert audited(vault)[-1] == last


async def test_lease_request_is_good_once(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    same = nonce()
    leases = [vault.stores.leases.lease("acme", key.key_id, act("key.lease", key), same) for _ in range(5)]
    results = await asyncio.gather(*leases, return_exceptions=True)
    assert [type(result) for result in results].count(Replayed) == 4
    assert len(audited(vault)) == 2


async def test_key_changed_after_its_check_is_checked_again(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    seen: list[KeyStatus] = []

    def check(found: ProviderKey) -> None:
        seen.append(found.status)
        if found.status is KeyStatus.DISABLED:
            raise LookupError(found.key_id)
        vault.execute("UPDATE key_vault.provider_keys SET status = 'disabled'")

    with pytest.raises(LookupError):
        await vault.stores.leases.lease("acme", key.key_id, act("key.lease", key), nonce(), check)
    assert seen == [KeyStatus.VALID, KeyStatus.DISABLED]
    assert [event.action for event in audited(vault)] == ["key.add"]
    assert vault.rows("SELECT * FROM key_vault.lease_nonces") == []


async def test_spending_between_check_and_lease_is_included(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    months = iter(["2026-03"])

    def check(_: ProviderKey) -> None:
        if month := next(months, None):
            vault.execute("UPDATE key_vault.provider_keys SET spend_month = %s, last_used_at = %s", month, NOW)

    leased = await vault.stores.leases.lease("acme", key.key_id, act("key.lease", key), nonce(), check)
    assert leased is not None
    assert leased.key.last_used_at == NOW
    assert [event.action for event in audited(vault)] == ["key.add", "key.lease"]


async def test_lease_waits_for_a_concurrent_change_and_follows_it(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    async with vault.engine.connect() as connection, connection.begin() as transaction:
        await connection.execute(delete(provider_keys).where(provider_keys.c.key_id == key.key_id))
        lease = asyncio.create_task(vault.stores.leases.lease("acme", key.key_id, act("key.lease", key), nonce()))
        waiting = (
            "SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid)"
            " WHERE NOT granted AND datname = current_database()"
        )
        async with asyncio.timeout(30):
            while not vault.rows(waiting):  # noqa: ASYNC110  # what the server says has no event to wait for
                await asyncio.sleep(0.01)
        await transaction.commit()
    assert await lease is None
    assert [event.action for event in audited(vault)] == ["key.add"]


async def test_lease_reconnects_to_a_restarted_server(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    for _ in range(3):
        assert await vault.stores.leases.lease("acme", key.key_id, act("key.lease", key), nonce()) is not None
    vault.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND datname = current_database() AND backend_type = 'client backend'"
    )
    with pytest.raises(DatabaseUnavailable):
        await vault.stores.leases.lease("acme", key.key_id, act("key.lease", key), nonce())
    assert await vault.stores.leases.lease("acme", key.key_id, act("key.lease", key), nonce()) is not None


def registration(worker_id: str, instance_id: str, not_after: datetime) -> WorkerRegistration:
    return WorkerRegistration(
        worker_id=worker_id,
        instance_id=instance_id,
        suite="x25519",
        public_key="cHVibGlj",
        not_after_unix_ms=int(not_after.timestamp() * 1000),
        signature="c2lnbmVk",
    )


async def test_workers_are_listed_until_their_registration_expires(vault: VaultDatabase) -> None:
    moment = NOW
    workers = WorkerStore(Database(vault.engine, lambda: moment))
    first = registration("provider-worker-1", "inst_1", NOW + timedelta(minutes=10))
    second = registration("provider-worker-2", "inst_2", NOW + timedelta(minutes=30))
    await workers.register(first)
    moment += timedelta(seconds=1)
    await workers.register(second)
    assert await workers.list_live(NOW) == [second, first]
    assert await workers.list_live(NOW + timedelta(minutes=10)) == [second]
    assert await workers.get("provider-worker-1", "inst_1") == first
    assert await workers.get("provider-worker-1", "inst_2") is None
    renewed = registration("provider-worker-1", "inst_1", NOW + timedelta(minutes=60))
    await workers.register(renewed)
    assert await workers.get("provider-worker-1", "inst_1") == renewed
    moment = NOW + timedelta(minutes=31)
    await workers.register(renewed)
    assert await workers.get("provider-worker-2", "inst_2") is None, "expired registrations are deleted"


def spending(key: ProviderKey, month: str, usd: str, *, last_used_at: datetime = NOW) -> KeySpend:
    return KeySpend(
        key_id=key.key_id,
        tenant=key.tenant,
        month=month,
        spent_usd=Decimal(usd),
        attempts=3,
        unpriced=0,
        last_used_at=last_used_at,
    )


async def test_spending_grows_within_a_month_and_restarts_with_the_next(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    seen = [
        await vault.stores.keys.record_spend(spending(key, month, usd))
        for month, usd in (
            ("2026-03", "2"),
            ("2026-03", "1.25"),
            ("2026-03", "2.5"),
            ("2026-04", "0.1"),
            ("2026-03", "9"),
        )
    ]
    assert [found.spent_usd for found in seen if found] == [Decimal(usd) for usd in ("2", "2", "2.5", "0.1", "0.1")]
    assert [found.key_id for found in await vault.stores.keys.list_spent_before("2026-05", 10)] == [key.key_id]
    assert await vault.stores.keys.list_spent_before("2026-04", 10) == []
    before = await vault.stores.keys.get("acme", key.key_id)
    assert before is not None
    after = before.model_copy(update={"spent_usd": Decimal(0)})
    await vault.stores.keys.update(
        before, after, act("key.edit", key), KeyChange.EDITED, "A new month.", month="2026-05"
    )
    assert await vault.stores.keys.list_spent_before("2026-05", 10) == []
    late = await vault.stores.keys.record_spend(spending(key, "2026-04", "7"))
    assert late is not None
    assert late.spent_usd == 0
    assert await vault.stores.keys.record_spend(spending(provider_key("acme"), "2026-05", "1")) is None


async def test_spending_of_unknown_cost_is_stored_apart(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    unknown = spending(key, "2026-03", "0").model_copy(update={"spent_usd": None, "unpriced": 3})
    found = await vault.stores.keys.record_spend(unknown)
    assert found is not None
    assert (found.spent_usd, found.unpriced) == (None, 3)
    mixed = unknown.model_copy(update={"spent_usd": Decimal("0.5"), "attempts": 4})
    found = await vault.stores.keys.record_spend(mixed)
    assert found is not None
    assert (found.spent_usd, found.unpriced) == (Decimal("0.5"), 3)


async def test_last_use_never_goes_back(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    for last_used_at in (NOW, NOW - timedelta(days=1)):
        found = await vault.stores.keys.record_spend(spending(key, "2026-03", "1", last_used_at=last_used_at))
        assert found is not None
        assert found.last_used_at == NOW


async def test_due_keys_are_listed_most_overdue_first(vault: VaultDatabase) -> None:
    keys = []
    for minutes in (30, -5, 0, -10):
        key, _ = await vault.add("acme")
        after = key.model_copy(update={"next_test_at": NOW + timedelta(minutes=minutes)})
        keys.append(await vault.stores.keys.update(key, after, act("key.test", key), KeyChange.TESTED, "Tested."))
    await vault.add("acme")
    assert await vault.stores.keys.list_due(NOW, 10) == [keys[3], keys[1], keys[2]]
    assert await vault.stores.keys.list_due(NOW, 1) == [keys[3]]


async def test_advisory_lock_excludes_other_processes(vault: VaultDatabase) -> None:
    other = Database(vault.engine)
    async with (
        vault.stores.database.try_lock("looking after keys") as first,
        other.try_lock("looking after keys") as second,
    ):
        assert (first, second) == (True, False)
        async with other.try_lock("something else") as third:
            assert third
    async with other.try_lock("looking after keys") as later:
        assert later


async def test_key_encrypted_before_shredding_is_not_stored(vault: VaultDatabase) -> None:
    key = provider_key("acme")
    record = await vault.encryption.encrypt(key, Secret("sk"))
    await shred_tenant(vault.stores.database, "acme", act("vault.shred", key))
    with pytest.raises(Conflict, match="do it again"):
        await vault.stores.keys.insert(key, record, act("key.add", key), "Added.")
    assert await vault.stores.keys.list_for_tenant("acme") == []


async def test_shredding_waits_for_a_key_that_is_being_added(vault: VaultDatabase) -> None:
    database = "(SELECT oid FROM pg_database WHERE datname = current_database())"
    waiting = f"SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = {database}"
    async with vault.stores.database.transaction() as adding:
        await lock_tenant(adding, "acme")
        shred = asyncio.create_task(
            shred_tenant(vault.stores.database, "acme", act("vault.shred", provider_key("acme")))
        )
        await eventually("it waits, or did not", lambda: shred.done() or vault.rows(waiting))
        assert not shred.done()
    await shred


async def test_shredded_data_keys_leave_memory_at_once(vault: VaultDatabase) -> None:
    """Even a record that somebody kept a copy of cannot be decrypted any more."""
    key, secret = await vault.add("acme")
    record = await vault.stores.records.get("acme", key.key_id, key.version)
    assert record is not None
    assert await vault.encryption.decrypt(key, record) == secret
    unused: Any = None
    stores = vault.stores
    admin = VaultAdmin(
        database=stores.database,
        keys=stores.keys,
        integrations=stores.integrations,
        fingerprints=stores.fingerprints,
        encryption=vault.encryption,
        kek_rotator=unused,
        kek_scheduler=unused,
        data_key_rotator=unused,
        integrity=vault.integrity,
    )
    await admin.shred(ShredTenant(tenant="acme", confirm="acme"))
    with pytest.raises(Undecryptable):
        await vault.encryption.decrypt(key, record)


async def test_the_primary_data_key_is_kept_while_it_encrypts_nothing(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    primary = await vault.stores.data_keys.get_primary("acme")
    await vault.stores.keys.delete(key, act("key.remove", key), "Removed.")
    assert await vault.stores.data_keys.delete_unused("acme") == 0
    assert await vault.stores.data_keys.get_primary("acme") == primary


async def test_unreachable_database_raises_database_unavailable(tmp_path: Path) -> None:
    engine = create_async_engine(f"postgresql+psycopg://nobody@127.0.0.1:{find_free_port()}/nothing")
    keys = KeyStore(Database(engine))
    try:
        with pytest.raises(DatabaseUnavailable):
            await keys.get("acme", "key_1")
        with pytest.raises(DatabaseUnavailable):
            await keys.insert(
                provider_key("acme"), EncryptedRecord("dek_1", b""), act("key.add", provider_key("acme")), "Added."
            )
    finally:
        await engine.dispose()
