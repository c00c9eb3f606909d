"""The account of a window has what may still be spent, whatever else happens to the budget at the same time."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyferry.budgets.windows import account_name, window_at
from keyferry.contracts.accounts import BUDGETS, AccountKind
from keyferry.contracts.budget import Budget
from keyferry.contracts.credit import CreditLease, Hold, LeaseCredit, LeaseResult, Reservation
from services.usage_ledger.accounts.store import read_balances
from services.usage_ledger.budgets.funding import prepare_account
from services.usage_ledger.budgets.spending_store import BudgetSpending
from services.usage_ledger.credit.settlement import CreditSettlement
from services.usage_ledger.credit.store import CreditLeaseStore
from services.usage_ledger.store import LedgerStore
from tests.integration.usage_ledger.budgets.ledger import NOW, BudgetLedger, attempt, new_tenant


async def saved(ledger: BudgetLedger, tenant: str, limit: int = 100, **terms: Any) -> tuple[Budget, str]:
    """Save a budget; return it and the account of its window now."""
    budget = (await ledger.save(tenant, limit_micro_usd=limit, **terms)).budget
    return budget, account_name(budget.budget_id, window_at(budget.window, NOW))


async def test_account_is_opened_with_what_is_left(ledger: BudgetLedger) -> None:
    tenant = new_tenant()
    await ledger.record([attempt(tenant, 30)])
    _, account = await saved(ledger, tenant)
    assert await ledger.available(account) is None
    assert await ledger.prepare(tenant, account)
    assert await ledger.available(account) == 70
    await ledger.record([attempt(tenant, 5)])
    assert await ledger.prepare(tenant, account)
    assert await ledger.available(account) == 65, "spending without a hold counts"
    await ledger.record([attempt(tenant, 500)])
    assert await ledger.prepare(tenant, account)
    assert await ledger.available(account) == 0


async def test_other_accounts_are_not_opened(ledger: BudgetLedger) -> None:
    tenant, other = new_tenant(), new_tenant()
    budget, account = await saved(ledger, tenant)
    rolling, rolling_account = await saved(ledger, tenant, window={"rolling_hours": 5})
    refused = [
        (other, account),
        (tenant, f"budget/{budget.budget_id}/2026-10-01"),
        (tenant, f"budget/{budget.budget_id}/2026-12-01"),
        (tenant, f"budget/{budget.budget_id}/rolling"),
        (tenant, f"budget/{rolling.budget_id}/2026-11-01"),
        (tenant, "budget/bud_unknown/2026-11-01"),
        (tenant, f"credits/{tenant}"),
        (tenant, "budget"),
    ]
    for whose, name in refused:
        assert not await ledger.prepare(whose, name), name
        assert await ledger.available(name) is None
    assert await ledger.prepare(tenant, rolling_account)
    midnight = datetime(2026, 12, 1, tzinfo=UTC)
    for seconds, is_accepted in ((-61, False), (-59, True), (0, True)):
        account = f"budget/{budget.budget_id}/2026-12-01"
        assert await ledger.prepare(tenant, account, midnight + timedelta(seconds=seconds)) is is_accepted


async def test_account_of_a_very_large_limit_gets_a_part_at_a_time(ledger: BudgetLedger) -> None:
    """What is funded stays in the sums of the platform's account, which have an end."""
    tenant, part = new_tenant(), 10**10
    budget, account = await saved(ledger, tenant, 10**15)
    assert await ledger.prepare(tenant, account)
    assert await ledger.available(account) == part
    for taken, left in ((part // 4, part * 3 // 4), (part // 2, part), (part, part)):
        assert await ledger.lease(tenant, account, taken) is not None
        assert await ledger.prepare(tenant, account)
        assert await ledger.available(account) == left
    state = await ledger.state(tenant, budget.budget_id)
    assert (state.held_micro_usd, state.left_micro_usd) == (part * 7 // 4, 10**15 - part * 7 // 4)
    await ledger.save(tenant, budget_id=budget.budget_id, limit_micro_usd=part * 2)
    assert await ledger.available(account) == part // 4


@pytest.mark.parametrize(
    ("limit", "available"), [(250, 210), (100, 60), (41, 1), (40, 0), (10, 0)], ids=lambda value: str(value)
)
async def test_changed_limit_is_posted_at_once_and_leaves_nothing_below_what_is_spent(
    ledger: BudgetLedger, limit: int, available: int
) -> None:
    tenant = new_tenant()
    budget, account = await saved(ledger, tenant)
    await ledger.record([attempt(tenant, 40)])
    await ledger.prepare(tenant, account)
    await ledger.save(tenant, budget_id=budget.budget_id, limit_micro_usd=limit)
    assert await ledger.available(account) == available
    state = await ledger.state(tenant, budget.budget_id)
    assert (state.spent_micro_usd, state.left_micro_usd) == (40, max(0, limit - 40))
    assert state.exhausted is (limit <= 40)


async def test_lease_that_returns_to_a_lowered_budget_cannot_be_spent_again(ledger: BudgetLedger) -> None:
    tenant = new_tenant()
    budget, account = await saved(ledger, tenant)
    lease = await ledger.lease(tenant, account, 50)
    assert lease is not None
    state = await ledger.save(tenant, budget_id=budget.budget_id, limit_micro_usd=10)
    assert (state.held_micro_usd, state.left_micro_usd) == (50, 0)
    assert await ledger.available(account) == 0
    await ledger.settle(account, lease, 50, attempt(tenant, 3))
    assert await ledger.available(account) == 47, "the lease has returned, and nobody has asked since"
    assert await ledger.lease(tenant, account, 8) is None
    assert await ledger.available(account) == 7
    assert await ledger.lease(tenant, account, 7) is not None


async def test_new_window_has_its_own_account_and_the_old_one_keeps_what_it_had(ledger: BudgetLedger) -> None:
    tenant = new_tenant()
    budget, account = await saved(ledger, tenant, window={"calendar": "day"})
    lease = await ledger.lease(tenant, account, 60)
    assert lease is not None
    tomorrow = NOW + timedelta(days=1)
    following = account_name(budget.budget_id, window_at(budget.window, tomorrow))
    assert await ledger.prepare(tenant, following, tomorrow)
    assert await ledger.available(following) == 100
    late = attempt(tenant, 60, NOW, recorded_at=tomorrow)
    await ledger.settle(account, lease, 60, late)
    assert await ledger.available(account) == 40
    await ledger.prepare(tenant, following, tomorrow)
    assert await ledger.available(following) == 100


async def test_spending_flows_back_out_of_a_rolling_window(ledger: BudgetLedger) -> None:
    tenant = new_tenant()
    _, account = await saved(ledger, tenant, window={"rolling_hours": 24})
    lease = await ledger.lease(tenant, account, 60)
    assert lease is not None
    await ledger.settle(account, lease, 60, attempt(tenant, 60))
    available = []
    for hours in (0, 23, 24, 25, 200):
        await ledger.prepare(tenant, account, NOW + timedelta(hours=hours))
        available.append(await ledger.available(account))
    assert available == [40, 40, 40, 100, 100]


async def test_first_requests_of_many_routers_open_one_account(ledger: BudgetLedger) -> None:
    tenant = new_tenant()
    _, account = await saved(ledger, tenant)
    leases = await asyncio.gather(*(ledger.lease(tenant, account, 30) for _ in range(12)))
    assert sum(lease is not None for lease in leases) == 3
    assert await ledger.available(account) == 10


@pytest.mark.parametrize("window", [{"calendar": "month"}, {"rolling_hours": 48}], ids=["month", "rolling"])
async def test_account_agrees_after_limits_leases_and_attempts_at_the_same_time(
    ledger: BudgetLedger, window: dict[str, object]
) -> None:
    """Holds, attempts without holds, costs beyond holds, and changes of the limit race; nothing is spent twice."""
    random_ = random.Random(7)
    tenant = new_tenant()
    budget, account = await saved(ledger, tenant, 50_000, window=window)
    limits = [random_.randrange(1, 60_000) for _ in range(10)]
    spends = [(random_.randrange(1, 900), random_.randrange(0, 1200)) for _ in range(40)]
    before = await _platform(ledger)

    async def change_limits() -> None:
        for limit in limits:
            await ledger.save(tenant, budget_id=budget.budget_id, window=window, limit_micro_usd=limit)

    async def spend(held: int, due: int) -> None:
        lease = await ledger.lease(tenant, account, held)
        if lease is not None:
            await ledger.settle(account, lease, held, attempt(tenant, due))

    async def spend_freely() -> None:
        for _ in range(10):
            await ledger.record([attempt(tenant, 11), attempt(tenant, 7)])

    await asyncio.gather(change_limits(), spend_freely(), *(spend(held, due) for held, due in spends))
    await ledger.prepare(tenant, account)
    state = await ledger.state(tenant, budget.budget_id)
    assert state.held_micro_usd == 0
    assert state.attempts >= 20
    assert await ledger.available(account) == state.left_micro_usd == max(0, limits[-1] - state.spent_micro_usd)
    assert before - await _platform(ledger) == state.left_micro_usd, "what the account has is what it was given"


async def _platform(ledger: BudgetLedger) -> int:
    async with ledger.engine.begin() as connection:
        balance = (await read_balances(connection, [BUDGETS])).get(BUDGETS)
    return 0 if balance is None else balance.posted


async def test_leases_of_routers_take_what_is_left_and_no_other_tenants(ledger: BudgetLedger) -> None:
    tenant = new_tenant()
    budget, account = await saved(ledger, tenant)
    leases = CreditLeaseStore(ledger.engine)
    leases.open_with(AccountKind.BUDGET, prepare_account)
    await ledger.record([attempt(tenant, 20)])

    async def ask(need: int, whose: str = tenant, name: str = account) -> CreditLease:
        command = LeaseCredit(tenant=whose, account=name, need=need, want=need, epoch="e1")
        return await leases.lease(command, f"router-{tenant}", NOW)

    first = await ask(50)
    assert (first.result, first.amount, first.available) == (LeaseResult.GRANTED, 50, 30)
    assert (await ask(31)).result is LeaseResult.INSUFFICIENT
    assert (await ask(1, new_tenant())).result is LeaseResult.UNKNOWN_ACCOUNT
    assert (await ask(1, name=f"budget/{budget.budget_id}/2026-10-01")).result is LeaseResult.UNKNOWN_ACCOUNT
    await ledger.save(tenant, budget_id=budget.budget_id, limit_micro_usd=110)
    second = await ask(40)
    assert (second.result, second.available) == (LeaseResult.GRANTED, 0)
    assert first.lease_id is not None
    reservation = Reservation(
        holds=[Hold(lease_id=first.lease_id, account=account, amount=50)], not_after_unix_ms=first.not_after_unix_ms
    )
    spent = attempt(tenant, 35, reservation=reservation)
    store = LedgerStore(ledger.engine, [CreditSettlement(), BudgetSpending()])
    assert not (await store.record_attempts([spent])).rejected
    state = await ledger.state(tenant, budget.budget_id)
    assert (state.spent_micro_usd, state.held_micro_usd, state.left_micro_usd) == (55, 40, 15)
    assert await ledger.available(account) == 15
