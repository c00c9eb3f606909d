"""Integration secrets in the tables: bound to their place, safe in a dump, across KEKs, and whole after a kill between steps."""

import secrets
from datetime import UTC, datetime, timedelta

import pytest

from keyferry.contracts import ids
from keyferry.contracts.integration_secrets import IntegrationKind, IntegrationSecret
from keyferry.contracts.secret import Secret
from services.key_vault.database.errors import Conflict, RequestRejected
from services.key_vault.database.tables import EncryptedRecord
from services.key_vault.database.transaction import Act
from services.key_vault.encryption.record_cipher import Undecryptable
from services.key_vault.maintenance.data_key_rotator import DataKeyRotator
from services.key_vault.maintenance.kek_rotator import KekRotator
from services.key_vault.maintenance.shredding import shred_tenant
from tests.integration.key_vault.vault_database import VaultDatabase, keyring_line, write_keyring
from tests.support.canary.searcher import Canary, CapturedOutput, Searcher

NOW = datetime(2026, 11, 30, tzinfo=UTC)
ACT = Act("operator", "integration_secret.save", "acme", "isec_1")


def facts(vault: VaultDatabase, text: Secret, tenant: str = "acme", **changes: object) -> IntegrationSecret:
    values: dict[str, object] = {
        "secret_id": ids.new(ids.INTEGRATION_SECRET),
        "tenant": tenant,
        "kind": IntegrationKind.SLACK_WEBHOOK_URL,
        "name": secrets.token_hex(4),
        "masked": "…",
        "fingerprint": vault.encryption.fingerprint(tenant, text),
        "version": 1,
        "created_at": NOW,
        "created_by": "operator",
    }
    return IntegrationSecret.model_validate(values | changes)


async def add(vault: VaultDatabase, tenant: str = "acme") -> tuple[IntegrationSecret, Secret]:
    text = Secret(f"https://hooks.slack.com/services/T0/B0/{secrets.token_hex(20)}")
    secret = facts(vault, text, tenant)
    await vault.stores.integrations.insert(secret, await vault.encryption.encrypt_integration(secret, text), ACT)
    return secret, text


async def rotate(
    vault: VaultDatabase, before: IntegrationSecret, until: datetime | None = None
) -> tuple[IntegrationSecret, Secret]:
    text = Secret(f"https://hooks.slack.com/services/T0/B0/{secrets.token_hex(20)}")
    changes = {"version": before.version + 1, "rotated_at": NOW, "rotated_by": "operator", "previous_until": until}
    fingerprint = vault.encryption.fingerprint(before.tenant, text)
    after = before.model_copy(update=changes | {"fingerprint": fingerprint})
    record = await vault.encryption.encrypt_integration(after, text)
    await vault.stores.integrations.rotate(before, after, record, ACT)
    return after, text


async def read(vault: VaultDatabase, secret: IntegrationSecret, version: int | None = None) -> Secret:
    records = await vault.stores.integrations.list_after(("", 0), 100)
    (found,) = [one for one in records if one[0].secret_id == secret.secret_id and one[0].version == (version or 1)]
    return await vault.encryption.decrypt_integration(*found)


async def test_moved_or_renamed_row_does_not_decrypt(vault: VaultDatabase) -> None:
    secret, text = await add(vault)
    await add(vault, "mallory")
    for column, value in (("tenant", "mallory"), ("kind", "webhook_secret"), ("secret_id", "isec_moved")):
        backup = vault.dump()
        for table in ("versions", "leases"):
            name = f"integration_secret_{table}"
            vault.execute(f"ALTER TABLE key_vault.{name} DROP CONSTRAINT IF EXISTS {name}_secret_id_fkey")
        if column == "secret_id":
            vault.execute(
                "UPDATE key_vault.integration_secret_versions SET secret_id = %s WHERE secret_id = %s",
                value,
                secret.secret_id,
            )
        vault.execute(
            f"UPDATE key_vault.integration_secrets SET {column} = %s WHERE secret_id = %s", value, secret.secret_id
        )
        with pytest.raises(Undecryptable):
            await read(vault.restarted(), secret.model_copy(update={column: value}))
        vault.restore(backup)
        assert await read(vault.restarted(), secret) == text
    vault.execute("UPDATE key_vault.integration_secret_versions SET version = 2 WHERE secret_id = %s", secret.secret_id)
    with pytest.raises(Undecryptable):
        await read(vault, secret, 2)


async def test_swapped_records_and_other_deployments_do_not_decrypt(vault: VaultDatabase) -> None:
    first, text = await add(vault)
    second, _ = await add(vault)
    with pytest.raises(Undecryptable):
        await read(vault.restarted(deployment="dep_other"), first)
    assert await read(vault.restarted(), first) == text
    rows = vault.rows(f"SELECT record FROM key_vault.integration_secret_versions WHERE secret_id = '{first.secret_id}'")
    vault.execute(
        "UPDATE key_vault.integration_secret_versions SET record = %s WHERE secret_id = %s",
        rows[0]["record"],
        second.secret_id,
    )
    with pytest.raises(Undecryptable):
        await read(vault, second)


async def test_dump_contains_no_secret_in_any_encoding(vault: VaultDatabase) -> None:
    kept = [await add(vault) for _ in range(10)]
    canaries = [Canary(one.secret_id, text.reveal().rpartition("/")[2]) for one, text in kept]
    dump = vault.dump().items()
    assert not Searcher(canaries).sightings(CapturedOutput("dump", table, data) for table, data in dump)


async def test_rotation_of_the_kek_keeps_both_versions(vault: VaultDatabase) -> None:
    secret, first = await add(vault)
    _, second = await rotate(vault, secret, NOW + timedelta(days=1))
    old = vault.keyring_file.read_text().strip()
    new = keyring_line("second")
    write_keyring(vault.keyring_file, new, old)
    await KekRotator(vault.stores.database, vault.keks, vault.data_keys).run_to_end("operator")
    write_keyring(vault.keyring_file, new)
    after = vault.restarted()
    assert [await read(after, secret, version) for version in (1, 2)] == [first, second]
    report = await after.integrity.check_all()
    assert (report.records, report.undecryptable, report.keks) == (2, [], {"second": 1})


async def test_verification_names_what_cannot_be_decrypted(vault: VaultDatabase) -> None:
    kept, _ = await add(vault)
    broken, _ = await add(vault)
    vault.execute(
        "UPDATE key_vault.integration_secret_versions SET record = %s WHERE secret_id = %s", b"\x01", broken.secret_id
    )
    report = await vault.integrity.check_all("acme")
    assert (report.records, report.undecryptable) == (2, [broken.secret_id])
    assert (await vault.integrity.check_all("globex")).records == 0
    assert kept.secret_id not in report.undecryptable


class Killed(Exception):
    """The process died here."""


async def die(*_: object, **__: object) -> None:
    raise Killed


async def test_kill_before_the_audit_event_changes_nothing(
    vault: VaultDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change and its audit event are committed together: the last step of each change is the event."""
    secret, text = await add(vault)
    store = vault.stores.integrations
    before = vault.dump()
    monkeypatch.setattr(vault.stores.database, "write_audit", die)
    with pytest.raises(Killed):
        await add(vault)
    with pytest.raises(Killed):
        await rotate(vault, secret, NOW + timedelta(days=1))
    with pytest.raises(Killed):
        await store.delete(secret, ACT)
    with pytest.raises(Killed):
        await store.lease(secret, "billing", "inst_1", NOW, ACT)
    monkeypatch.undo()
    assert vault.dump() == before
    assert await read(vault, secret) == text


async def test_kill_between_destruction_and_audit_destroys_later(
    vault: VaultDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, _ = await add(vault)
    rotated, text = await rotate(vault, secret, NOW)
    store = vault.stores.integrations
    monkeypatch.setattr(vault.stores.database, "write_audit", die)
    with pytest.raises(Killed):
        await store.expire(NOW, 10)
    monkeypatch.undo()
    assert len(await store.list_after(("", 0), 10)) == 2
    assert [one.version for one, _ in await store.lease(rotated, "billing", "inst_1", NOW, ACT)] == [2]
    assert await store.expire(NOW, 10) == 1
    assert await store.expire(NOW, 10) == 0
    assert await read(vault, secret, 2) == text
    assert len(await store.list_after(("", 0), 10)) == 1


async def test_two_rotations_at_once_leave_one(vault: VaultDatabase) -> None:
    secret, _ = await add(vault)
    _, first = await rotate(vault, secret, NOW + timedelta(days=1))
    with pytest.raises(Conflict):
        await rotate(vault, secret, NOW + timedelta(days=1))
    assert await read(vault, secret, 2) == first


async def test_name_is_taken_once_under_the_lock(vault: VaultDatabase) -> None:
    secret, _ = await add(vault)
    text = Secret("https://hooks.slack.com/services/T0/B0/another")
    other = facts(vault, text, name=secret.name)
    with pytest.raises(RequestRejected, match="has this name"):
        await vault.stores.integrations.insert(other, await vault.encryption.encrypt_integration(other, text), ACT)


async def test_secret_that_was_encrypted_before_a_shredding_is_not_stored_after_it(vault: VaultDatabase) -> None:
    text = Secret("https://hooks.slack.com/services/T0/B0/another")
    secret = facts(vault, text)
    record = await vault.encryption.encrypt_integration(secret, text)
    await shred_tenant(vault.stores.database, "acme", ACT)
    with pytest.raises(Conflict, match="destroyed meanwhile"):
        await vault.stores.integrations.insert(secret, record, ACT)


async def test_interrupted_rotation_of_the_data_key_loses_nothing(
    vault: VaultDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = [await add(vault) for _ in range(3)]
    rotator = DataKeyRotator(vault.stores.database, vault.data_keys, vault.encryption, vault.integrity)
    store, replaced = rotator._integrations, [0]
    replace = store.replace

    async def die_at_the_second(secret: IntegrationSecret, before: EncryptedRecord, after: EncryptedRecord) -> bool:
        replaced[0] += 1
        if replaced[0] == 2:
            raise Killed
        return await replace(secret, before, after)

    monkeypatch.setattr(store, "replace", die_at_the_second)
    with pytest.raises(Killed):
        await rotator.rotate("acme", "operator")
    monkeypatch.undo()
    restarted = vault.restarted()
    assert [await read(restarted, secret) for secret, _ in kept] == [text for _, text in kept]
    again = DataKeyRotator(restarted.stores.database, restarted.data_keys, restarted.encryption, restarted.integrity)
    report = await again.rotate("acme", "operator")
    assert (report.records, report.data_keys, report.undecryptable) == (3, 1, [])
