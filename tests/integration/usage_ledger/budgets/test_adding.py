"""Adding a budget sums what was spent before, while attempts are recorded, and counts each of them once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from sqlalchemy import text

from services.usage_ledger.budgets.rebuild import BudgetSpendingRebuild
from tests.integration.usage_ledger.budgets.ledger import NOW, BudgetLedger, attempt, new_tenant

BLOCKED = text("""
SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = CAST('usage_ledger.corrected_attempts' AS regclass)
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
""")


@asynccontextmanager
async def summing_blocked(ledger: BudgetLedger) -> AsyncIterator[None]:
    """Keep what sums attempts from reading, as if it took long; recording does not read that table."""
    async with ledger.engine.begin() as connection:
        await connection.execute(text("LOCK TABLE usage_ledger.corrected_attempts IN ACCESS EXCLUSIVE MODE"))
        yield


async def begin_summing(ledger: BudgetLedger, adding: "asyncio.Task[object]") -> None:
    """Return when the sum is being computed."""
    async with ledger.engine.connect() as connection:
        connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
        while not await connection.scalar(BLOCKED):
            assert not adding.done()
            await asyncio.sleep(0.01)


async def test_attempts_are_recorded_while_a_budget_sums_the_past(ledger: BudgetLedger) -> None:
    tenant = new_tenant()
    window = {"rolling_hours": 366 * 24}
    await ledger.record([attempt(tenant, 3, NOW - timedelta(days=days)) for days in range(300)])
    async with summing_blocked(ledger):
        adding = asyncio.create_task(ledger.save(tenant, window=window))
        await begin_summing(ledger, adding)
        await ledger.record([attempt(tenant, 5) for _ in range(20)])
        assert not adding.done()
        assert await ledger.states(tenant) == [], "nobody sees it before its past is known"
    state = await adding
    assert (state.attempts, state.spent_micro_usd) == (320, 1000)
    report = await BudgetSpendingRebuild(ledger.engine, lambda: NOW).check()
    assert [each for each in report.differences if state.budget.budget_id in each.subject] == []


async def test_a_budget_whose_adding_was_killed_is_not_there_and_can_be_added(ledger: BudgetLedger) -> None:
    tenant = new_tenant()
    await ledger.record([attempt(tenant, 3) for _ in range(10)])
    async with summing_blocked(ledger):
        adding = asyncio.create_task(ledger.save(tenant))
        await begin_summing(ledger, adding)
        adding.cancel()
        with suppress(asyncio.CancelledError):
            await adding
        await ledger.record([attempt(tenant, 5)])
    assert await ledger.states(tenant) == []
    state = await ledger.save(tenant)
    assert (state.attempts, state.spent_micro_usd) == (11, 35)
    await ledger.record([attempt(tenant, 7)])
    assert [(each.attempts, each.spent_micro_usd) for each in await ledger.states(tenant)] == [(12, 42)]
