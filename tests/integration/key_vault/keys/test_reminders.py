"""What owners of keys are told without having asked, on real tables; the time is what the test says."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from keyferry.contracts.key import KeyChange, KeyChanged, KeyTest, KeyTestResult, ProviderKey
from services.key_vault.database.transaction import Act
from services.key_vault.keys.reminders import ReminderPolicy, Reminders
from tests.integration.key_vault.vault_database import CREATED_AT, VaultDatabase

DAY = timedelta(days=1)
DUE = CREATED_AT + 90 * DAY
RULES = ReminderPolicy(90 * DAY, Decimal("5"))


def notices(vault: VaultDatabase, rules: ReminderPolicy = RULES, now: datetime = CREATED_AT) -> Reminders:
    return Reminders(vault.stores.reminders, vault.stores.keys, rules, lambda: now)


def told(vault: VaultDatabase) -> list[KeyChanged]:
    """What tenants were told beside additions and tests."""
    rows = vault.rows("SELECT payload FROM key_vault.event_outbox WHERE subject LIKE 'kf.v1.key.changed.%' ORDER BY id")
    events = [KeyChanged.decode(bytes(row["payload"])) for row in rows]  # type: ignore[call-overload]
    return [event for event in events if event.change not in (KeyChange.ADDED, KeyChange.TESTED, KeyChange.ROTATED)]


def audited(vault: VaultDatabase, action: str) -> int:
    rows = vault.rows("SELECT convert_from(payload, 'UTF8') AS event FROM key_vault.event_outbox")
    return sum(f'"action":"{action}"' in str(row["event"]) for row in rows)


async def stored(vault: VaultDatabase, key: ProviderKey) -> ProviderKey:
    found = await vault.stores.keys.get(key.tenant, key.key_id)
    assert found is not None
    return found


async def change(
    vault: VaultDatabase, key: ProviderKey, what: KeyChange = KeyChange.TESTED, **changes: object
) -> ProviderKey:
    before = await stored(vault, key)
    after = before.model_copy(update=changes)
    return await vault.stores.keys.update(
        before, after, Act("operator", "key.edit", key.tenant, key.key_id), what, "Changed."
    )


async def a_test_told(vault: VaultDatabase, key: ProviderKey, left: str | None) -> None:
    """A test that was told so much credit, or nothing of it."""
    amount = None if left is None else Decimal(left)
    check = KeyTest(result=KeyTestResult.VALID, steps=[], duration_ms=1, tested_at=CREATED_AT, credit_left_usd=amount)
    await change(vault, key, last_test=check)


def changes(events: Sequence[KeyChanged]) -> list[KeyChange]:
    return [event.change for event in events]


async def test_a_key_that_has_grown_old_is_told_of_once_for_each_version(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    assert await notices(vault).sweep(DUE - timedelta(microseconds=1)) == 0
    assert await notices(vault).sweep(DUE) == 1
    assert await notices(vault).sweep(DUE + 30 * DAY) == 0
    (event,) = told(vault)
    assert (event.change, event.tenant, event.key_id) == (KeyChange.ROTATION_DUE, "acme", key.key_id)
    assert "90 days old" in event.detail
    assert audited(vault, "key.rotation_due") == 1
    assert (await stored(vault, key)).rotation_due
    # A rotation as `Arrivals.replaced` makes it.
    rotated = {"rotated_at": DUE + DAY, "rotated_by": "operator", "rotation_due": False}
    await change(vault, key, KeyChange.ROTATED, **rotated)
    assert await notices(vault).sweep(DUE + 90 * DAY) == 0
    assert await notices(vault).sweep(DUE + 91 * DAY) == 1
    assert changes(told(vault)) == [KeyChange.ROTATION_DUE] * 2


async def test_several_processes_tell_of_it_once(vault: VaultDatabase) -> None:
    for number in range(10):
        await vault.add(f"tenant-{number}")
    await asyncio.gather(*(notices(vault).sweep(DUE) for _ in range(4)))
    while await notices(vault).sweep(DUE):
        pass
    assert len(told(vault)) == audited(vault, "key.rotation_due") == 10


async def test_another_limit_takes_the_mark_away(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    await notices(vault).sweep(DUE)
    assert await notices(vault, ReminderPolicy(91 * DAY, None)).sweep(DUE) == 1
    assert not (await stored(vault, key)).rotation_due
    assert await notices(vault, ReminderPolicy(91 * DAY, None)).sweep(DUE) == 0
    await notices(vault).sweep(DUE)
    assert await notices(vault, ReminderPolicy(None, None)).sweep(DUE + 999 * DAY) == 1
    assert await notices(vault, ReminderPolicy(None, None)).sweep(DUE + 999 * DAY) == 0
    assert not (await stored(vault, key)).rotation_due


async def test_low_credit_is_told_once_each_time_it_falls_below(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    now = CREATED_AT

    async def after(left: str | None) -> list[KeyChange]:
        await a_test_told(vault, key, left)
        seen = len(told(vault))
        await notices(vault).sweep(now)
        await notices(vault).sweep(now)
        return changes(told(vault)[seen:])

    assert await after(None) == []
    assert await after("5") == [], "the threshold itself is enough"
    assert await after("4.999999999999") == [KeyChange.CREDIT_LOW]
    assert "has $4.999999999999 of credit left, less than $5" in told(vault)[-1].detail
    assert await after("3") == []
    assert await after(None) == [], "a test that is told nothing changes nothing"
    assert (await stored(vault, key)).credit_low
    assert await after("20") == [KeyChange.EDITED]
    assert "has enough credit again" in told(vault)[-1].detail
    assert await after("-0.5") == [KeyChange.CREDIT_LOW], "an account may be overdrawn"
    assert audited(vault, "key.credit_low") == 2


async def test_without_a_threshold_no_credit_is_low(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    await a_test_told(vault, key, "0")
    await notices(vault).sweep(CREATED_AT)
    assert await notices(vault, ReminderPolicy(90 * DAY, None)).sweep(CREATED_AT) == 1
    assert not (await stored(vault, key)).credit_low
    assert await notices(vault, ReminderPolicy(90 * DAY, None)).sweep(CREATED_AT) == 0


async def test_more_keys_than_one_round_takes(vault: VaultDatabase) -> None:
    for number in range(60):
        await vault.add(f"tenant-{number}")
    assert [await notices(vault).sweep(DUE) for _ in range(3)] == [50, 10, 0]


async def test_the_age_that_is_shown_is_the_secret_s(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    now = CREATED_AT + timedelta(days=12, hours=23)
    assert notices(vault, now=now).add_age(key).age_days == 12
    rotated = key.model_copy(update={"rotated_at": now - DAY})
    assert notices(vault, now=now).add_age(rotated).age_days == 1
    assert notices(vault, now=CREATED_AT - DAY).add_age(key).age_days == 0
