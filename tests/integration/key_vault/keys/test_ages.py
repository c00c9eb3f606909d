"""Ages of keys, who set their secrets, and low credit, as the running vault reports them."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from keyferry.contracts.key import KeyTest, ListKeys, ProviderKey, RevertKey, RotateKey, TestKey
from keyferry.contracts.topology import KEK_ROTATE, KEY_LIST, KEY_REVERT, KEY_ROTATE, KEY_TEST
from keyferry.contracts.vault import KekRotation, RotateKek
from tests.integration.key_vault.keys.test_lifecycle import wait_for_key
from tests.integration.key_vault.vault_service import Operator, VaultService, Worker, openai_key, valid

OLD = "now() - interval '100 days'"


async def rotate(operator: Operator, key: ProviderKey, name: str, actor: str) -> ProviderKey:
    sealed = await operator.sealed(openai_key(name))
    asked = RotateKey(tenant="acme", key_id=key.key_id, sealed=sealed, actor=actor)
    return await operator.ask(KEY_ROTATE, asked)


async def listed(operator: Operator, created_by: str) -> list[str]:
    asked = ListKeys(tenant="acme", created_by=created_by)
    return [key.label for key in (await operator.ask(KEY_LIST, asked)).keys]


def with_credit(left: str) -> KeyTest:
    return valid().model_copy(update={"credit_left_usd": Decimal(left)})


async def wait_for_rotation(operator: Operator) -> KekRotation:
    """Wait for the end of a KEK rotation and return its progress."""
    async with asyncio.timeout(30):
        while True:
            far = await operator.ask(KEK_ROTATE, RotateKek(start=False))
            if far.primary != "first" and far.left == 0:
                return far
            await asyncio.sleep(0.05)


async def test_age_follows_the_secret_through_rotation_and_revert(
    service: VaultService, worker: Worker, operator: Operator
) -> None:
    key = await operator.add(openai_key("old"), actor="ada")
    assert (key.age_days, key.rotated_at, key.rotated_by, key.rotation_due) == (0, None, None, False)
    await service.execute(f"UPDATE provider_keys SET created_at = {OLD}")
    (old,) = await operator.keys()
    assert old.age_days == 100
    rotated = await rotate(operator, old, "new", "grace")
    assert (rotated.age_days, rotated.rotated_by, rotated.rotation_due) == (0, "grace", False)
    assert rotated.rotated_at is not None
    assert datetime.now(UTC) - rotated.rotated_at < timedelta(minutes=5)
    reverted = await operator.ask(KEY_REVERT, RevertKey(tenant="acme", key_id=key.key_id, actor="joan"))
    assert (reverted.age_days, reverted.rotated_at, reverted.rotated_by) == (100, None, None)


async def test_created_by_lists_keys_whose_secret_an_actor_set(worker: Worker, operator: Operator) -> None:
    first = await operator.add(openai_key("one"), label="one", actor="ada")
    await operator.add(openai_key("two"), label="two", actor="ada")
    await operator.add(openai_key("three"), label="three", actor="grace")
    assert await listed(operator, "ada") == ["one", "two"]
    assert await listed(operator, "joan") == []
    await rotate(operator, first, "four", "joan")
    assert await listed(operator, "joan") == ["one"]
    assert await listed(operator, "ad") == [], "a part of a name is another name"


async def test_old_key_is_announced_and_audited_once(service: VaultService, worker: Worker, operator: Operator) -> None:
    key = await operator.add(openai_key())
    await service.execute(f"UPDATE provider_keys SET created_at = {OLD}")
    due = await wait_for_key(operator, key, "it is due", lambda found: found.rotation_due)
    assert due.age_days == 100
    await operator.ask(KEY_TEST, TestKey(tenant="acme", key_id=key.key_id))
    assert (await operator.keys())[0].rotation_due
    acts = [event for event in await service.audited() if event.action == "key.rotation_due"]
    assert [(act.actor, act.target, act.details["age_days"]) for act in acts] == [("vault", key.key_id, "100")]
    assert not (await rotate(operator, due, "new", "operator")).rotation_due


async def test_credit_below_the_threshold_is_announced(stopped_service: VaultService) -> None:
    async with (
        stopped_service.vault(credit_low_usd="2.50", key_rotation_days=0),
        stopped_service.worker() as worker,
        stopped_service.operator() as operator,
    ):
        worker.says = lambda _: with_credit("2.5")
        key = await operator.add(openai_key())
        await stopped_service.execute(f"UPDATE provider_keys SET created_at = {OLD}")
        worker.says = lambda _: with_credit("2.499999")
        await operator.ask(KEY_TEST, TestKey(tenant="acme", key_id=key.key_id))
        low = await wait_for_key(operator, key, "its credit is low", lambda found: found.credit_low)
        assert low.last_test is not None
        assert (low.last_test.credit_left_usd, low.rotation_due) == (Decimal("2.499999"), False)
        acts = [event for event in await stopped_service.audited() if event.action == "key.credit_low"]
        assert [act.details for act in acts] == [{"left_usd": "2.499999", "threshold_usd": "2.5"}]


async def test_running_vault_rotates_a_due_kek(stopped_service: VaultService) -> None:
    async with stopped_service.vault(), stopped_service.worker(), stopped_service.operator() as operator:
        await operator.add(openai_key())
    await stopped_service.execute("UPDATE kek_ages SET since = now() - interval '91 days'")
    async with stopped_service.vault(), stopped_service.operator() as operator:
        far = await wait_for_rotation(operator)
        assert far.oldest_kek is not None
        assert (far.oldest_kek.kek, far.oldest_kek.age_days, far.oldest_kek.overdue) == (far.primary, 0, False)
        (key,) = await operator.keys()
        async with stopped_service.worker():
            again = await operator.ask(KEY_TEST, TestKey(tenant="acme", key_id=key.key_id))
        assert again.status == "valid", "it still opens"
    acts = [event for event in await stopped_service.audited() if event.action == "kek.rotate"]
    assert [act.details["step"] for act in acts] == ["renewing", "begun", "ended"]
    assert [line.split()[0] for line in stopped_service.files["keks"].read_text().splitlines()][1:] == ["first"]
