"""The database refuses by itself what would lose, change or overdraw money, whatever the code does."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts.accounts import ABSORBED, ALLOWANCES, BUDGETS, GRANTED, REVENUE
from services.usage_ledger.accounts.store import (
    AppliedTransfers,
    apply_transfers,
    expire_transfers,
    read_balances,
    read_held,
)
from services.usage_ledger.accounts.transfer import (
    InsufficientFunds,
    PendingConflict,
    Transfer,
    TransferConflict,
    TransferPhase,
    TransferPurpose,
    TransferRefused,
    resolve,
)

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def pay(transfer_id: str, debit: str, credit: str, amount: int, **fields: object) -> Transfer:
    return Transfer(
        transfer_id=transfer_id,
        debit=debit,
        credit=credit,
        amount=amount,
        purpose=TransferPurpose.GRANT,
        **fields,  # type: ignore[arg-type]
    )


async def apply(engine: AsyncEngine, *transfers: Transfer, now: datetime = NOW) -> AppliedTransfers:
    async with engine.begin() as connection:
        return await apply_transfers(connection, transfers, now)


async def available(engine: AsyncEngine, account: str) -> int:
    async with engine.connect() as connection:
        return (await read_balances(connection, [account]))[account].available


async def test_a_lease_is_taken_settled_and_returned(engine: AsyncEngine) -> None:
    account, lease = "credits/lifecycle", "lease/lifecycle-1"
    await apply(engine, pay("l-1", GRANTED, account, 1000))
    leased = await apply(engine, pay("l-2", account, lease, 400))
    assert leased.balances[account].available == 600
    async with engine.connect() as connection:
        assert await read_held(connection, [account, "credits/nobody"]) == {account: 400}
    settled = await apply(engine, pay("l-3", lease, REVENUE, 150), pay("l-4", lease, account, 250))
    assert (settled.balances[account].available, settled.balances[lease].available) == (850, 0)
    async with engine.connect() as connection:
        assert await read_held(connection, [account]) == {}
        stored = await read_balances(connection, [account, lease])
    assert stored == {name: settled.balances[name] for name in (account, lease)}
    with pytest.raises(InsufficientFunds) as refused:
        await apply(engine, pay("l-5", lease, REVENUE, 1))
    assert (refused.value.account, refused.value.available) == (lease, 0)
    with pytest.raises(InsufficientFunds):
        await apply(engine, pay("l-6", "lease/never-opened", REVENUE, 1))


async def test_a_repeated_transfer_has_no_effect_and_another_with_its_id_is_refused(engine: AsyncEngine) -> None:
    first = pay("same", GRANTED, "credits/same", 10)
    assert (await apply(engine, first, first)).new == {"same"}
    assert (await apply(engine, first)).new == set()
    assert await available(engine, "credits/same") == 10
    for other in (
        pay("same", GRANTED, "credits/same", 11),
        pay("same", GRANTED, "credits/same-2", 10),
        pay("same", GRANTED, "credits/same", 10, reason="more"),
    ):
        with pytest.raises(TransferConflict):
            await apply(engine, other)
        with pytest.raises(TransferConflict):
            await apply(engine, first, other)
    assert await available(engine, "credits/same") == 10


async def test_of_concurrent_transfers_with_one_id_or_source_one_counts(engine: AsyncEngine) -> None:
    """They are between different accounts, so no lock makes them wait for each other."""
    same_id = [pay("race-id", GRANTED, f"credits/race-{number}", 5) for number in range(4)]
    same_source = [
        pay(f"race-{number}", GRANTED, f"credits/race-{number}", 5, source="stripe", source_id="evt_1")
        for number in range(4)
    ]
    for attempts in (same_id, same_source):
        outcomes = await asyncio.gather(*(apply(engine, one) for one in attempts), return_exceptions=True)
        assert sum(isinstance(outcome, AppliedTransfers) for outcome in outcomes) == 1
        assert sum(isinstance(outcome, TransferConflict) for outcome in outcomes) == 3
    async with engine.connect() as connection:
        balances = await read_balances(connection, [f"credits/race-{number}" for number in range(4)])
    assert sum(balance.available for balance in balances.values()) == 10


async def test_a_pending_transfer_is_resolved_once(engine: AsyncEngine) -> None:
    account = "credits/pending"
    await apply(engine, pay("p-0", GRANTED, account, 100))
    expires_at = NOW + timedelta(minutes=1)
    pending = [
        pay(f"p-{n}", account, REVENUE, 30, phase=TransferPhase.PENDING, expires_at=expires_at) for n in (1, 2, 3)
    ]
    assert (await apply(engine, *pending)).balances[account].available == 10
    with pytest.raises(InsufficientFunds):
        await apply(engine, pay("p-4", account, REVENUE, 11))
    posted = await apply(engine, resolve(pending[0], TransferPhase.POST, "p-1-post", 20))
    assert posted.balances[account].available == 20
    assert (await apply(engine, resolve(pending[0], TransferPhase.POST, "p-1-post", 20))).new == set()
    voided = await apply(engine, resolve(pending[1], TransferPhase.VOID, "p-2-void"))
    assert voided.balances[account].available == 50
    late = NOW + timedelta(minutes=1)
    for transfer, now in (
        (resolve(pending[0], TransferPhase.VOID, "p-1-void"), NOW),
        (resolve(pending[2], TransferPhase.POST, "p-3-more", 31), NOW),
        (resolve(pending[2], TransferPhase.EXPIRE, "p-3-early"), NOW),
        (resolve(pending[2], TransferPhase.POST, "p-3-late"), late),
        (resolve(pay("p-none", account, REVENUE, 1), TransferPhase.VOID, "p-none-void"), NOW),
        (resolve(pay("p-0", account, REVENUE, 1), TransferPhase.VOID, "p-0-void"), NOW),
    ):
        with pytest.raises(PendingConflict):
            await apply(engine, transfer, now=now)
    async with engine.begin() as connection:
        assert await expire_transfers(connection, NOW) == 0
        assert await expire_transfers(connection, late) == 1
        assert await expire_transfers(connection, late) == 0
    assert await available(engine, account) == 80


@pytest.mark.parametrize(
    ("debit", "credit", "amount"),
    [
        ("credits/form-a", "credits/form-b", 1),
        ("credits/form-a", "budget/form/2026", 1),
        ("lease/form-a", "lease/form-b", 1),
        (GRANTED, "lease/form", 1),
        (GRANTED, GRANTED, 1),
        (GRANTED, ALLOWANCES, 1),
        (GRANTED, "allowance/form/2026-11", 1),
        ("credits/form-a", ALLOWANCES, 1),
        ("savings/form", REVENUE, 1),
        (GRANTED, "credits/form-a", 0),
        (GRANTED, "credits/form-a", -1),
        (GRANTED, "credits/form-a", 10**15 + 1),
    ],
)
async def test_transfers_that_no_rule_allows_are_refused_by_code_and_database(
    engine: AsyncEngine, debit: str, credit: str, amount: int
) -> None:
    with pytest.raises(TransferRefused):
        await apply(engine, pay("form", debit, credit, amount))
    async with engine.begin() as connection:
        await apply_transfers(connection, [pay("form-a", GRANTED, "credits/form-a", 9)], NOW)
        await apply_transfers(connection, [pay("form-b", GRANTED, "credits/form-b", 9)], NOW)
        await apply_transfers(connection, [pay("form-c", "credits/form-a", "lease/form-a", 5)], NOW)
    unit = "requests" if "allowance" in debit + credit else "micro_usd"
    for opened in {debit, credit} - {"savings/form"}:
        parent = "credits/form-a" if opened.startswith("lease/") else None
        await raw(
            engine,
            "INSERT INTO accounts (name, unit, parent, opened_at) VALUES (:name, :unit, :parent, now())"
            " ON CONFLICT DO NOTHING",
            name=opened,
            unit="requests" if "allowance" in opened else "micro_usd",
            parent=parent,
        )
    with pytest.raises(DBAPIError):
        await insert_raw(engine, "form-raw", debit, credit, amount, unit)


async def raw(engine: AsyncEngine, statement: str, **values: object) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(statement), values)


async def insert_raw(engine: AsyncEngine, name: str, debit: str, credit: str, amount: int, unit: str) -> None:
    await raw(
        engine,
        "INSERT INTO transfers (id, debit, credit, amount, unit, purpose, phase, recorded_at)"
        " VALUES (:id, :debit, :credit, :amount, :unit, 'grant', 'posted', now())",
        id=name,
        debit=debit,
        credit=credit,
        amount=amount,
        unit=unit,
    )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE transfers SET amount = amount + 1",
        "DELETE FROM transfers",
        "TRUNCATE transfers",
        "UPDATE accounts SET credits_posted = credits_posted + 1",
        "UPDATE accounts SET debits_pending = 0",
        "UPDATE accounts SET name = name",
        "UPDATE accounts SET unit = 'requests'",
        "UPDATE accounts SET parent = NULL",
        "DELETE FROM accounts",
        "TRUNCATE accounts CASCADE",
        "INSERT INTO accounts (name, unit, credits_posted, opened_at) VALUES ('credits/rich', 'micro_usd', 9, now())",
        "INSERT INTO accounts (name, unit, opened_at) VALUES ('savings/rich', 'micro_usd', now())",
        "INSERT INTO accounts (name, unit, opened_at) VALUES ('lease/orphan', 'micro_usd', now())",
        "INSERT INTO accounts (name, unit, opened_at) VALUES ('credits/a b', 'micro_usd', now())",
        "INSERT INTO accounts (name, unit, opened_at) VALUES ('credits/euro', 'euro', now())",
    ],
)
async def test_no_statement_changes_what_was_posted(engine: AsyncEngine, statement: str) -> None:
    await apply(engine, pay("kept", GRANTED, "credits/kept", 7))
    with pytest.raises(DBAPIError):
        await raw(engine, statement)
    assert await available(engine, "credits/kept") == 7


async def test_the_owner_of_the_tables_cannot_change_transfers_even_with_its_rights_back(engine: AsyncEngine) -> None:
    await apply(engine, pay("owned", GRANTED, "credits/owned", 7))
    for statement in ("UPDATE transfers SET amount = 1", "DELETE FROM transfers", "TRUNCATE transfers"):
        async with engine.connect() as connection:
            await connection.execute(text("GRANT ALL ON transfers TO CURRENT_USER"))
            with pytest.raises(DBAPIError, match="never changed or removed"):
                await connection.execute(text(statement))


async def test_transfers_written_past_the_code_cannot_overdraw_or_resolve_twice(engine: AsyncEngine) -> None:
    account = "credits/raw"
    await apply(engine, pay("raw-0", GRANTED, account, 100), pay("raw-1", account, "lease/raw", 40))
    await apply(engine, pay("raw-2", GRANTED, "credits/raw-other", 100))
    await insert_raw(engine, "raw-3", account, REVENUE, 10, "micro_usd")
    assert await available(engine, account) == 50, "the database adds up what it was given"
    for debit, credit, amount in (
        (account, REVENUE, 51),
        ("lease/raw", REVENUE, 41),
        ("credits/raw-other", "lease/raw", 1),
        ("lease/raw", "credits/raw-other", 1),
        (account, "lease/none", 1),
    ):
        with pytest.raises(DBAPIError):
            await insert_raw(engine, "raw-4", debit, credit, amount, "micro_usd")
    pending = pay("raw-5", account, REVENUE, 20, phase=TransferPhase.PENDING, expires_at=NOW)
    await apply(engine, pending)
    statement = (
        "INSERT INTO transfers (id, debit, credit, amount, unit, purpose, phase, pending_id, recorded_at)"
        " VALUES (:id, 'credits/raw', :credit, :amount, 'micro_usd', 'grant', :phase, 'raw-5', :at)"
    )
    before = NOW - timedelta(seconds=1)
    for phase, amount, credit, at in (
        ("post", 21, REVENUE, before),
        ("void", 19, REVENUE, before),
        ("expire", 20, REVENUE, before),
        ("post", 20, REVENUE, NOW),
        ("post", 20, ABSORBED, before),
    ):
        with pytest.raises(DBAPIError):
            await raw(engine, statement, id="raw-6", credit=credit, amount=amount, phase=phase, at=at)
    await raw(engine, statement, id="raw-6", credit=REVENUE, amount=5, phase="post", at=before)
    with pytest.raises(DBAPIError):
        await raw(engine, statement, id="raw-7", credit=REVENUE, amount=20, phase="void", at=before)
    assert await available(engine, account) == 45


async def test_a_budget_and_an_allowance_are_kept_in_their_units(engine: AsyncEngine) -> None:
    budget, allowance = "budget/bud_1/2026-11-01", "allowance/units/2026-11"
    applied = await apply(
        engine,
        pay("u-1", BUDGETS, budget, 500),
        pay("u-2", ALLOWANCES, allowance, 50),
        pay("u-3", allowance, "lease/u", 5),
    )
    assert {name: balance.unit for name, balance in applied.balances.items()} == {
        budget: "micro_usd",
        BUDGETS: "micro_usd",
        allowance: "requests",
        ALLOWANCES: "requests",
        "lease/u": "requests",
    }
    with pytest.raises(TransferRefused):
        await apply(engine, pay("u-4", "lease/u", REVENUE, 1))
    await apply(engine, pay("u-5", "lease/u", ALLOWANCES, 1))
