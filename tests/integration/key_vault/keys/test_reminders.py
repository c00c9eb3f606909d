"""Reminders to the owners of keys, on real tables with a test clock."""

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


def reminders(vault: VaultDatabase, rules: ReminderPolicy = RULES, now: datetime = CREATED_AT) -> Reminders:
    return Reminders(vault.stores.reminders, vault.stores.keys, rules, lambda: now)


def reminder_events(vault: VaultDatabase) -> list[KeyChanged]:
    """Return the tenants' events without additions, tests and rotations."""
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


async def record_test_with_credit(vault: VaultDatabase, key: ProviderKey, left: str | None) -> None:
    """Record a test that learned this much credit, or none."""
    amount = None if left is None else Decimal(left)
    check = KeyTest(result=KeyTestResult.VALID, steps=[], duration_ms=1, tested_at=CREATED_AT, credit_left_usd=amount)
    await change(vault, key, last_test=check)


def changes(events: Sequence[KeyChanged]) -> list[KeyChange]:
    return [event.change for event in events]


async def test_old_key_is_reported_once_per_version(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    assert await reminders(vault).sweep(DUE - timedelta(microseconds=1)) == 0
    assert await reminders(vault).sweep(DUE) == 1
    assert await reminders(vault).sweep(DUE + 30 * DAY) == 0
    (event,) = reminder_events(vault)
    assert (event.change, event.tenant, event.key_id) == (KeyChange.ROTATION_DUE, "acme", key.key_id)
    assert "90 days old" in event.detail
    assert audited(vault, "key.rotation_due") == 1
    assert (await stored(vault, key)).rotation_due
    # A rotation as `KeyImporter.replace_secret` makes it.
    rotated = {"rotated_at": DUE + DAY, "rotated_by": "operator", "rotation_due": False}
    await change(vault, key, KeyChange.ROTATED, **rotated)
    assert await reminders(vault).sweep(DUE + 90 * DAY) == 0
    assert await reminders(vault).sweep(DUE + 91 * DAY) == 1
    assert changes(reminder_events(vault)) == [KeyChange.ROTATION_DUE] * 2


async def test_concurrent_sweeps_send_one_reminder(vault: VaultDatabase) -> None:
    for number in range(10):
        await vault.add(f"tenant-{number}")
    await asyncio.gather(*(reminders(vault).sweep(DUE) for _ in range(4)))
    while await reminders(vault).sweep(DUE):
        pass
    assert len(reminder_events(vault)) == audited(vault, "key.rotation_due") == 10


async def test_changed_limit_clears_the_reminder(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    await reminders(vault).sweep(DUE)
    assert await reminders(vault, ReminderPolicy(91 * DAY, None)).sweep(DUE) == 1
    assert not (await stored(vault, key)).rotation_due
    assert await reminders(vault, ReminderPolicy(91 * DAY, None)).sweep(DUE) == 0
    await reminders(vault).sweep(DUE)
    assert await reminders(vault, ReminderPolicy(None, None)).sweep(DUE + 999 * DAY) == 1
    assert await reminders(vault, ReminderPolicy(None, None)).sweep(DUE + 999 * DAY) == 0
    assert not (await stored(vault, key)).rotation_due


async def test_low_credit_is_reported_once_each_time_it_falls_below(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    now = CREATED_AT

    async def after(left: str | None) -> list[KeyChange]:
        await record_test_with_credit(vault, key, left)
        seen = len(reminder_events(vault))
        await reminders(vault).sweep(now)
        await reminders(vault).sweep(now)
        return changes(reminder_events(vault)[seen:])

    assert await after(None) == []
    assert await after("5") == [], "the threshold itself is enough"
    assert await after("4.999999999999") == [KeyChange.CREDIT_LOW]
    assert "has $4.999999999999 of credit left, less than $5" in reminder_events(vault)[-1].detail
    assert await after("3") == []
    assert await after(None) == [], "a test that learns no credit changes nothing"
    assert (await stored(vault, key)).credit_low
    assert await after("20") == [KeyChange.EDITED]
    assert "has enough credit again" in reminder_events(vault)[-1].detail
    assert await after("-0.5") == [KeyChange.CREDIT_LOW], "an account may be overdrawn"
    assert audited(vault, "key.credit_low") == 2


async def test_no_credit_is_low_without_a_threshold(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    await record_test_with_credit(vault, key, "0")
    await reminders(vault).sweep(CREATED_AT)
    assert await reminders(vault, ReminderPolicy(90 * DAY, None)).sweep(CREATED_AT) == 1
    assert not (await stored(vault, key)).credit_low
    assert await reminders(vault, ReminderPolicy(90 * DAY, None)).sweep(CREATED_AT) == 0


async def test_more_keys_than_one_batch(vault: VaultDatabase) -> None:
    for number in range(60):
        await vault.add(f"tenant-{number}")
    assert [await reminders(vault).sweep(DUE) for _ in range(3)] == [50, 10, 0]


async def test_displayed_age_is_that_of_the_secret(vault: VaultDatabase) -> None:
    key, _ = await vault.add("acme")
    now = CREATED_AT + timedelta(days=12, hours=23)
    assert reminders(vault, now=now).add_age(key).age_days == 12
    rotated = key.model_copy(update={"rotated_at": now - DAY})
    assert reminders(vault, now=now).add_age(rotated).age_days == 1
    assert reminders(vault, now=CREATED_AT - DAY).add_age(key).age_days == 0
