"""What is spent of a budget, computed from attempts again, is what was counted, in whichever form they are stored."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from keyferry.contracts.budget import Budget, RemoveBudget
from keyferry.contracts.credit import Hold, Reservation
from services.usage_ledger.budgets.rebuild import BudgetSpendingRebuild
from tests.integration.usage_ledger.budgets.ledger import BudgetLedger, attempt, new_tenant
from tests.support.servers.migrated_database import MigratedDatabase

ADDED = datetime(2026, 10, 31, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 1, tzinfo=UTC)
FORMS = {"packed": datetime(1970, 1, 1, tzinfo=UTC), "whole": datetime(9000, 1, 1, tzinfo=UTC)}


async def store_as(ledger: BudgetLedger, form: str) -> None:
    async with ledger.engine.begin() as connection:
        await connection.execute(text("UPDATE usage_ledger.packing SET packed_from = :since"), {"since": FORMS[form]})


def held(budget_id: str, label: str) -> Reservation:
    """Return holds on the tenant's credits, on another budget and on a window of this one."""
    accounts = ("credits/acme", "budget/bud_06h2d3j8i0000000000000000/2026-09-01", f"budget/{budget_id}/{label}")
    holds = [Hold(lease_id=f"lea_{place}", account=account, amount=9) for place, account in enumerate(accounts)]
    return Reservation(holds=holds, not_after_unix_ms=1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", ["gpt-4o-mini", "only-the-router-knows"])
async def test_attempt_counts_in_the_window_of_its_hold(ledger: BudgetLedger, form: str, value: str) -> None:
    tenant = new_tenant()
    # In an installation that had no rows of an earlier build.
    await store_as(ledger, "packed")
    budget_id = (await ledger.save(tenant, scope="model", value=value, now=ADDED)).budget.budget_id
    await store_as(ledger, form)
    began = MIDNIGHT + timedelta(seconds=1)
    row = attempt(tenant, 9, began, model="gpt-4o-mini", reservation=held(budget_id, "2026-10-01"))
    await ledger.record([row, attempt(tenant, 3, began, model="other", reservation=held(budget_id, "2026-11-01"))])
    await ledger.record([attempt(tenant, 1, began, model="other")])
    rebuild = BudgetSpendingRebuild(ledger.engine, lambda: began)

    async def spent() -> list[int]:
        report = await rebuild.check()
        assert [each for each in report.differences if budget_id in each.subject] == []
        return [(await ledger.state(tenant, budget_id, now)).spent_micro_usd for now in (ADDED, began)]

    assert await spent() == [9, 3]
    async with ledger.engine.begin() as connection:
        await connection.execute(text("UPDATE usage_ledger.budget_spending SET spent_micro_usd = 77"))
    await rebuild.rebuild()
    assert await spent() == [9, 3]


async def test_a_budget_that_is_removed_during_a_check_is_not_compared(ledger: BudgetLedger) -> None:
    """What is recorded after its removal does not count in it any more."""
    tenant = new_tenant()
    budget = (await ledger.save(tenant, now=ADDED)).budget
    rebuild = BudgetSpendingRebuild(ledger.engine, lambda: MIDNIGHT)
    listed = rebuild._list_budgets

    async def list_before_the_removal() -> list[tuple[Budget, datetime | None]]:
        found = await listed()
        await ledger.budgets.remove(RemoveBudget(tenant=tenant, budget_id=budget.budget_id, actor="operator"), ADDED)
        await ledger.record([attempt(tenant, 9, ADDED)])
        return found

    rebuild._list_budgets = list_before_the_removal  # type: ignore[method-assign]  # between the two steps of a check
    report = await rebuild.check()
    assert [each for each in report.differences if budget.budget_id in each.subject] == []


async def test_what_an_earlier_build_records_by_a_catalogs_name_is_not_taken_away(
    ledger: BudgetLedger, database: MigratedDatabase
) -> None:
    """For a day after the migration its processes count attempts whose rows do not say so."""
    await store_as(ledger, "whole")
    tenant = new_tenant()
    budget_id = (await ledger.save(tenant, scope="model", value="by-catalog", now=ADDED)).budget.budget_id
    await ledger.record([attempt(tenant, 9, ADDED, model="m", catalog_id="by-catalog")])
    engine = create_async_engine(database.admin_url.reveal())
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE usage_ledger.attempts SET catalog_id = NULL WHERE tenant = :tenant"), {"tenant": tenant}
        )
    await engine.dispose()
    report = await BudgetSpendingRebuild(ledger.engine, lambda: ADDED).rebuild()
    assert [each for each in report.differences if budget_id in each.subject] == []
    assert (await ledger.state(tenant, budget_id, ADDED)).spent_micro_usd == 9
