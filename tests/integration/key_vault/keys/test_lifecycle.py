"""The life of stored keys: rotation, edits, retests, auth failures in calls, limits, expiry, and their events."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from keyferry.contracts.audit import AuditOutcome
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.key import EditKey, KeySpend, KeyStatus, ProviderKey, RemoveKey, RevertKey, RotateKey, TestKey
from keyferry.contracts.topology import (
    ATTEMPT_FINISHED,
    KEY_EDIT,
    KEY_REMOVE,
    KEY_REVERT,
    KEY_ROTATE,
    KEY_SPENT,
    KEY_TEST,
    Role,
)
from keyferry.contracts.usage import KeySource, Outcome
from keyferry.runtime.bus.requests import Refused
from services.key_vault.keys.lifecycle import month_of
from tests.integration.key_vault.vault_service import (
    WORKER,
    Operator,
    VaultService,
    Worker,
    openai_key,
    rejected,
    unreachable,
    valid,
)
from tests.support.ledger.attempt_records import attempt_record, batch_message


async def rotate(operator: Operator, key: ProviderKey, name: str, **more: object) -> ProviderKey:
    sealed = await operator.sealed(openai_key(name))
    values = {"tenant": key.tenant, "key_id": key.key_id, "sealed": sealed} | more
    return await operator.ask(KEY_ROTATE, RotateKey.model_validate(values))


async def edit(operator: Operator, key: ProviderKey, **changes: object) -> ProviderKey:
    values = {"tenant": key.tenant, "key_id": key.key_id} | changes
    return await operator.ask(KEY_EDIT, EditKey.model_validate(values))


async def wait_for_key(
    operator: Operator, key: ProviderKey, what: str, holds: Callable[[ProviderKey], bool]
) -> ProviderKey:
    """Return the key as soon as `holds(key)`. Raises AssertionError naming `what` if it never does."""
    try:
        async with asyncio.timeout(30):
            while True:
                found = next((one for one in await operator.keys(key.tenant) if one.key_id == key.key_id), None)
                if found is not None and holds(found):
                    return found
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"never happened: {what}") from None


async def test_rotation_keeps_the_former_version_and_can_be_reverted_once(
    service: VaultService, worker: Worker, operator: Operator
) -> None:
    key = await operator.add(openai_key("old"))
    rotated = await rotate(operator, key, "new")
    assert (rotated.key_id, rotated.version, rotated.status) == (key.key_id, 2, KeyStatus.VALID)
    assert rotated.fingerprint != key.fingerprint
    assert rotated.revert_until is not None
    assert timedelta(days=6) < rotated.revert_until - datetime.now(UTC) < timedelta(days=8)
    reverted = await operator.ask(KEY_REVERT, RevertKey(tenant="acme", key_id=key.key_id))
    assert (reverted.version, reverted.fingerprint, reverted.revert_until) == (3, key.fingerprint, None)
    assert worker.tested[-1][0] == openai_key("old")
    with pytest.raises(Refused, match="no former version to go back to"):
        await operator.ask(KEY_REVERT, RevertKey(tenant="acme", key_id=key.key_id))
    async with service.stores() as stores:
        assert [record[0].version for record in await stores.records.list_after(("", 0), 10)] == [3]


async def test_rejected_new_key_changes_nothing(service: VaultService, worker: Worker, operator: Operator) -> None:
    key = await operator.add(openai_key("old"))
    worker.says = lambda secret: rejected() if secret == openai_key("bad") else unreachable()
    with pytest.raises(Refused, match="does not accept this key, so nothing was stored"):
        await rotate(operator, key, "bad", save_untested=True)
    with pytest.raises(Refused, match="was inconclusive"):
        await rotate(operator, key, "unknown")
    with pytest.raises(Refused, match=f"the key that {key.key_id} \\(main\\) holds now"):
        await rotate(operator, key, "old")
    assert await operator.keys() == [key]
    assert (await rotate(operator, key, "unknown", save_untested=True)).status is KeyStatus.UNTESTED


async def test_revert_to_an_invalid_key_is_rejected(service: VaultService, worker: Worker, operator: Operator) -> None:
    key = await operator.add(openai_key("old"))
    rotated = await rotate(operator, key, "new")
    worker.says = lambda _: rejected()
    with pytest.raises(Refused, match="does not accept this key"):
        await operator.ask(KEY_REVERT, RevertKey(tenant="acme", key_id=key.key_id))
    assert (await operator.keys())[0].version == rotated.version
    worker.says = lambda _: unreachable()
    reverted = await operator.ask(KEY_REVERT, RevertKey(tenant="acme", key_id=key.key_id))
    assert reverted.status is KeyStatus.UNTESTED, "an outage does not prevent a revert"


async def test_former_version_is_destroyed_after_the_revert_period(stopped_service: VaultService) -> None:
    async with (
        stopped_service.vault(revert_seconds=1),
        stopped_service.worker(),
        stopped_service.operator() as operator,
        stopped_service.stores() as stores,
    ):
        key = await operator.add(openai_key("old"))
        await rotate(operator, key, "new")
        await wait_for_key(operator, key, "the overlap ends", lambda found: found.revert_until is None)
        assert [record[0].version for record in await stores.records.list_after(("", 0), 10)] == [2]


async def test_a_key_is_not_reverted_after_the_revert_period(
    service: VaultService, worker: Worker, operator: Operator
) -> None:
    """Not even before the former version is destroyed."""
    key = await operator.add(openai_key("old"))
    await rotate(operator, key, "new")
    await service.execute("UPDATE key_vault.provider_keys SET revert_until = now()")
    with pytest.raises(Refused, match="no former version to go back to"):
        await operator.ask(KEY_REVERT, RevertKey(tenant="acme", key_id=key.key_id))


async def test_edits_need_no_secret(worker: Worker, operator: Operator) -> None:
    key = await operator.add(openai_key())
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    edited = await edit(
        operator, key, label="spare", priority=5, allowed_models=["gpt-4o"], expires_at=tomorrow, monthly_limit_usd="9"
    )
    assert (edited.label, edited.priority, edited.allowed_models) == ("spare", 5, ["gpt-4o"])
    assert edited.next_test_at == edited.expires_at
    cleared = await edit(operator, key, clear=["allowed_models", "expires_at", "monthly_limit_usd"])
    assert (cleared.allowed_models, cleared.expires_at, cleared.monthly_limit_usd) == (None, None, None)
    assert len(worker.tested) == 1
    with pytest.raises(Refused, match="cannot be set and cleared"):
        await edit(operator, key, expires_at=tomorrow, clear=["expires_at"])
    with pytest.raises(Refused, match="has passed"):
        await edit(operator, key, expires_at=datetime.now(UTC) - timedelta(days=1))
    with pytest.raises(Refused, match="globex has no key"):
        await edit(operator, key.model_copy(update={"tenant": "globex"}), label="mine")


async def test_disabled_key_stays_disabled_after_any_test(worker: Worker, operator: Operator) -> None:
    key = await operator.add(openai_key())
    assert (await edit(operator, key, disabled=True)).status is KeyStatus.DISABLED
    tested = await operator.ask(KEY_TEST, TestKey(tenant="acme", key_id=key.key_id))
    assert tested.status is KeyStatus.DISABLED
    assert (await edit(operator, key, disabled=False)).status is KeyStatus.VALID


async def test_only_an_authentication_error_invalidates_a_key(worker: Worker, operator: Operator) -> None:
    key = await operator.add(openai_key())
    asked = TestKey(tenant="acme", key_id=key.key_id)
    worker.says = lambda _: unreachable()
    assert (await operator.ask(KEY_TEST, asked)).status is KeyStatus.VALID
    worker.says = lambda _: rejected()
    assert (await operator.ask(KEY_TEST, asked)).status is KeyStatus.INVALID
    worker.says = lambda _: valid()
    assert (await operator.ask(KEY_TEST, asked)).status is KeyStatus.VALID


async def test_key_expires_at_its_expiry_date(worker: Worker, operator: Operator) -> None:
    key = await operator.add(openai_key(), expires_at=datetime.now(UTC) + timedelta(seconds=1))
    expired = await wait_for_key(operator, key, "it expires", lambda found: found.status is KeyStatus.EXPIRED)
    assert expired.next_test_at is None
    later = await edit(operator, key, expires_at=datetime.now(UTC) + timedelta(days=1))
    assert later.status is KeyStatus.VALID


async def test_401_in_a_call_triggers_a_test_that_decides(
    service: VaultService, worker: Worker, operator: Operator
) -> None:
    key = await operator.add(openai_key())
    # A test of this moment would already answer what happened before it.
    await service.execute("UPDATE provider_keys SET last_test = NULL")
    worker.says = lambda _: rejected()
    record = attempt_record(
        tenant="acme",
        provider="openai",
        key_source=KeySource.BYOK,
        key_id=key.key_id,
        outcome=Outcome.FAILED,
        failure=Failure(failure_class=FailureClass.AUTH, message="the provider does not accept the key", status=401),
        started_at=datetime.now(UTC),
    )
    await worker.bus.jetstream.publish(ATTEMPT_FINISHED.format(worker=WORKER), batch_message([record.encode()]))
    dead = await wait_for_key(operator, key, "it is tested", lambda found: found.status is KeyStatus.INVALID)
    assert dead.last_test is not None
    assert len(worker.tested) == 2
    assert [event.actor for event in await service.audited() if event.action == "key.test"] == ["vault"]


async def test_monthly_limit_blocks_a_key_until_the_next_month(
    service: VaultService, worker: Worker, operator: Operator
) -> None:
    key = await operator.add(openai_key(), monthly_limit_usd="10")
    this_month = month_of(datetime.now(UTC))

    async def spend(amount: str, month: str = this_month) -> None:
        spent = KeySpend(
            key_id=key.key_id,
            tenant="acme",
            month=month,
            spent_usd=Decimal(amount),
            attempts=3,
            unpriced=0,
            last_used_at=datetime.now(UTC),
        )
        async with service.bus.connected(Role.USAGE_LEDGER) as ledger:
            await ledger.jetstream.publish(KEY_SPENT.format(tenant="acme"), spent.encode())

    await spend("999", "2020-01")
    await spend("9.99")
    used = await wait_for_key(operator, key, "it is counted", lambda found: found.spent_usd == Decimal("9.99"))
    assert not used.over_limit
    assert used.last_used_at is not None
    await spend("10")
    await wait_for_key(operator, key, "it is over its limit", lambda found: found.over_limit)
    assert not (await edit(operator, key, monthly_limit_usd="20")).over_limit
    assert (await edit(operator, key, monthly_limit_usd="5")).over_limit
    await service.execute("UPDATE provider_keys SET spend_month = '2020-01'")
    freed = await wait_for_key(operator, key, "a new month begins", lambda found: not found.over_limit)
    assert freed.spent_usd == 0


async def test_removal_returns_how_many_keys_are_left(
    service: VaultService, worker: Worker, operator: Operator
) -> None:
    first, second = [await operator.add(openai_key(name)) for name in ("one", "two")]
    removed = await operator.ask(KEY_REMOVE, RemoveKey(tenant="acme", key_id=first.key_id))
    assert removed.keys_left == 1
    with pytest.raises(Refused, match="acme has no key"):
        await operator.ask(KEY_REMOVE, RemoveKey(tenant="acme", key_id=first.key_id))
    async with service.stores() as stores:
        assert [record[0].key_id for record in await stores.records.list_after(("", 0), 10)] == [second.key_id]


async def test_every_change_and_every_refusal_is_audited(
    service: VaultService, worker: Worker, operator: Operator
) -> None:
    key = await operator.add(openai_key("one"))
    await rotate(operator, key, "two")
    await operator.ask(KEY_TEST, TestKey(tenant="acme", key_id=key.key_id))
    with pytest.raises(Refused, match="holds now"):
        await rotate(operator, key, "two")
    await operator.ask(KEY_REMOVE, RemoveKey(tenant="acme", key_id=key.key_id, actor="console:jo"))
    events = [event for event in await service.audited() if event.tenant == "acme"]
    assert [(event.action, event.outcome, event.actor) for event in events] == [
        ("key.add", AuditOutcome.DONE, "operator"),
        ("key.rotate", AuditOutcome.DONE, "operator"),
        ("key.test", AuditOutcome.DONE, "operator"),
        ("key.rotate", AuditOutcome.REFUSED, "operator"),
        ("key.remove", AuditOutcome.DONE, "console:jo"),
    ]
    written = "".join(event.model_dump_json() for event in events)
    for name in ("one", "two"):
        assert openai_key(name).reveal() not in written
