"""Spending is counted once per attempt and matching budget, in the right window, whatever the order of records."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyferry.budgets.windows import window_at
from keyferry.contracts.budget import Budget, BudgetScope
from keyferry.contracts.credit import Hold, Reservation
from keyferry.contracts.text import BIGINT_MAX
from keyferry.contracts.usage import LedgerRow
from tests.integration.usage_ledger.budgets.ledger import DOLLAR, NOW, BudgetLedger, attempt, new_tenant

TERMS: tuple[dict[str, Any], ...] = (
    {},
    {"window": {"calendar": "day", "time_zone": "Asia/Kathmandu"}},
    {"window": {"rolling_hours": 24}},
    {"scope": "team", "value": "blue"},
    {"scope": "member", "value": "ann", "window": {"calendar": "week", "time_zone": "America/St_Johns"}},
    {"scope": "client_token", "value": "tok_2", "hard": False},
    {"scope": "key", "value": "key_abc", "enabled": False},
    {"scope": "model", "value": "gpt-4o"},
    {"scope": "model", "value": "openai/gpt-4o", "window": {"rolling_hours": 7}},
)


def counts(budget: Budget, row: LedgerRow, now: datetime) -> bool:
    """The definition: whether an attempt without holds counts in a budget's current window."""
    record = row.record
    by_scope: dict[BudgetScope, list[str | None]] = {
        BudgetScope.TENANT: [None],
        BudgetScope.TEAM: [record.team],
        BudgetScope.MEMBER: [record.member],
        BudgetScope.CLIENT_TOKEN: [record.client_token_id],
        BudgetScope.KEY: [record.key_id],
        BudgetScope.MODEL: [record.model, f"{record.provider}/{record.model}"],
    }
    span = window_at(budget.window, now)
    began = min(record.started_at, row.recorded_at)
    return budget.value in by_scope[budget.scope] and span.start <= began and (span.end is None or began < span.end)


def random_attempts(random_: random.Random, tenant: str, count: int) -> list[LedgerRow]:
    return [
        attempt(
            tenant,
            random_.choice([None, 0, random_.randrange(5 * DOLLAR)]),
            NOW - timedelta(minutes=random_.randrange(-30, 40 * 24 * 60)),
            recorded_at=NOW,
            provider=random_.choice(["openai", "azure"]),
            model=random_.choice(["gpt-4o", "gpt-4o-mini"]),
            team=random_.choice([None, "blue", "red"]),
            member=random_.choice([None, "ann"]),
            client_token_id=random_.choice(["tok_1", "tok_2"]),
            key_id=random_.choice([None, "key_abc", "key_def"]),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("added_after", [0, 60, 120])
async def test_spending_is_the_sum_of_the_attempts_that_match(ledger: BudgetLedger, added_after: int) -> None:
    """Budgets that are added before, between and after the attempts count the same."""
    random_ = random.Random(added_after)
    tenant = new_tenant()
    rows = random_attempts(random_, tenant, 120)
    await deliver(ledger, random_, rows[:added_after])
    for terms in TERMS:
        await ledger.save(tenant, **terms)
    await deliver(ledger, random_, rows[added_after:])
    for state in await ledger.states(tenant):
        matching = [row for row in rows if counts(state.budget, row, NOW)]
        assert state.attempts == len(matching), state.budget
        assert state.spent_micro_usd == sum(row.spend_micro_usd or 0 for row in matching)
        assert state.unpriced == sum(row.spend_micro_usd is None for row in matching)


async def test_soft_budget_by_the_catalogs_id_counts_what_a_hard_one_does(ledger: BudgetLedger) -> None:
    tenant = new_tenant()
    row = attempt(tenant, 7, provider="bedrock", model="anthropic.claude-x-v1:0", catalog_id="claude-x")
    for value in ("claude-x", "anthropic.claude-x-v1:0", "bedrock/anthropic.claude-x-v1:0", "claude-y"):
        await ledger.save(tenant, scope="model", value=value, hard=False)
    await ledger.record([row])
    assert [state.spent_micro_usd for state in await ledger.states(tenant)] == [7, 7, 7, 0]


async def deliver(ledger: BudgetLedger, random_: random.Random, rows: list[LedgerRow]) -> None:
    """Record attempts in batches, each of them twice, in any order and side by side."""
    batches = [rows[start : start + 25] for start in range(0, len(rows), 25)] * 2
    random_.shuffle(batches)
    await asyncio.gather(*(ledger.record(batch) for batch in batches))


async def test_budget_that_is_added_while_attempts_are_recorded_counts_each_once(ledger: BudgetLedger) -> None:
    tenant = new_tenant()
    batches = [[attempt(tenant, 1) for _ in range(10)] for _ in range(30)]
    adding: list[dict[str, Any]] = [{"window": {"rolling_hours": hours}} for hours in range(1, 9)]

    async def add_all() -> None:
        for terms in adding:
            await ledger.save(tenant, **terms)

    await asyncio.gather(add_all(), *(ledger.record(batch) for batch in batches))
    states = await ledger.states(tenant)
    assert [(state.attempts, state.spent_micro_usd) for state in states] == [(300, 300)] * len(adding)


async def test_month_rolls_over_at_midnight_of_its_zone(ledger: BudgetLedger) -> None:
    tenant = new_tenant()
    midnight = datetime(2026, 10, 31, 23, tzinfo=UTC)
    berlin = {"calendar": "month", "time_zone": "Europe/Berlin"}
    budget_id = (await ledger.save(tenant, window=berlin, now=midnight)).budget.budget_id
    await ledger.record(
        [
            attempt(tenant, 7, midnight - timedelta(microseconds=1), recorded_at=NOW),
            attempt(tenant, 5, midnight, recorded_at=NOW),
        ]
    )
    before = await ledger.state(tenant, budget_id, midnight - timedelta(seconds=1))
    after = await ledger.state(tenant, budget_id, midnight)
    assert (before.account, before.spent_micro_usd) == (f"budget/{budget_id}/2026-10-01", 7)
    assert (after.account, after.spent_micro_usd) == (f"budget/{budget_id}/2026-11-01", 5)
    assert before.resets_at == after.window_start == midnight


async def test_attempt_counts_in_the_window_of_its_hold(ledger: BudgetLedger) -> None:
    """It began a moment after midnight, but its share was set aside of the old month; and by a name only the router knows."""
    tenant = new_tenant()
    midnight = datetime(2026, 11, 1, tzinfo=UTC)
    budget_id = (await ledger.save(tenant, scope="model", value="catalog-name", now=midnight)).budget.budget_id
    hold = Hold(lease_id="lea_1", account=f"budget/{budget_id}/2026-10-01", amount=9)
    other = Hold(lease_id="lea_1", account="budget/bud_other/2026-10-01", amount=9)
    reservation = Reservation(holds=[hold, other], not_after_unix_ms=1)
    await ledger.record([attempt(tenant, 9, midnight + timedelta(seconds=1), reservation=reservation)])
    assert (await ledger.state(tenant, budget_id, midnight)).spent_micro_usd == 0
    assert (await ledger.state(tenant, budget_id, midnight - timedelta(seconds=1))).spent_micro_usd == 9


async def test_absurd_amounts_and_clocks_are_counted_and_reject_nothing(ledger: BudgetLedger) -> None:
    tenant = new_tenant()
    budget_id = (await ledger.save(tenant)).budget.budget_id
    rolling_id = (await ledger.save(tenant, window={"rolling_hours": 1})).budget.budget_id
    await ledger.record([attempt(tenant, BIGINT_MAX) for _ in range(3)])
    await ledger.record([attempt(tenant, 1, datetime(2199, 1, 1, tzinfo=UTC), recorded_at=NOW)])
    await ledger.record([attempt(tenant, 1, datetime(1970, 1, 1, tzinfo=UTC), recorded_at=NOW)])
    state = await ledger.state(tenant, budget_id)
    assert (state.attempts, state.spent_micro_usd, state.left_micro_usd) == (4, BIGINT_MAX, 0)
    assert (await ledger.state(tenant, rolling_id)).attempts == 4
    assert (await ledger.state(tenant, rolling_id, NOW + timedelta(hours=3))).attempts == 0


async def test_spending_leaves_a_rolling_window_hour_by_hour(ledger: BudgetLedger) -> None:
    tenant = new_tenant()
    budget_id = (await ledger.save(tenant, window={"rolling_hours": 3})).budget.budget_id
    hour = NOW.replace(minute=0)
    await ledger.record([attempt(tenant, 4, hour - timedelta(minutes=1)), attempt(tenant, 2, hour)])
    spent = [
        (await ledger.state(tenant, budget_id, hour + timedelta(minutes=minutes))).spent_micro_usd
        for minutes in (1, 179, 180, 181, 239, 240, 241)
    ]
    assert spent == [6, 6, 2, 2, 2, 0, 0]
