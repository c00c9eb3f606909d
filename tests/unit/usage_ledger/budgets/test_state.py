"""The state of a budget follows from what was spent in its window, in whole micro-dollars."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyferry.budgets.windows import WindowSpan, window_at
from keyferry.contracts.budget import Budget, BudgetScope, BudgetState, BudgetWindow, CalendarPeriod
from keyferry.contracts.text import BIGINT_MAX
from services.usage_ledger.budgets.state import (
    DAY_SECONDS,
    HOUR_SECONDS,
    BlockSum,
    block_seconds,
    describe_state,
    project,
)

DOLLAR = 1_000_000
MONTH = BudgetWindow(calendar=CalendarPeriod.MONTH)


def state(
    blocks: list[BlockSum], *, limit: int = 100 * DOLLAR, held: int = 0, now: datetime | None = None, **terms: Any
) -> BudgetState:
    now = now or datetime(2026, 11, 11, tzinfo=UTC)
    budget = Budget(
        tenant="acme",
        budget_id="bud_1",
        scope=BudgetScope.TENANT,
        window=terms.pop("window", MONTH),
        limit_micro_usd=limit,
        revision=1,
        created_at=now,
        **terms,
    )
    return describe_state(budget, window_at(budget.window, now), blocks, held, now)


def test_spent_held_and_left_add_up_to_the_limit() -> None:
    found = state([BlockSum(0, 30 * DOLLAR, 3, 1), BlockSum(2, 51 * DOLLAR, 2)], held=5 * DOLLAR)
    assert (found.spent_micro_usd, found.held_micro_usd, found.left_micro_usd) == (
        81 * DOLLAR,
        5 * DOLLAR,
        14 * DOLLAR,
    )
    assert (found.percent, found.thresholds_passed, found.exhausted) == (81, [80], False)
    assert (found.attempts, found.unpriced) == (5, 1)
    assert found.account == "budget/bud_1/2026-11-01"
    assert found.resets_at == datetime(2026, 12, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("spent", "percent", "passed", "exhausted"),
    [(0, 0, [], False), (79, 79, [], False), (80, 80, [80], False), (99, 99, [80], False), (100, 100, [80, 100], True)],
)
def test_thresholds_are_passed_when_they_are_reached(
    spent: int, percent: int, passed: list[int], exhausted: bool
) -> None:
    found = state([BlockSum(0, spent)], limit=100)
    assert (found.percent, found.thresholds_passed, found.exhausted) == (percent, passed, exhausted)


def test_a_threshold_is_not_passed_by_a_tenth_of_a_percent_less() -> None:
    found = state([BlockSum(0, 799)], limit=1000)
    assert (found.percent, found.thresholds_passed) == (79, [])


def test_a_part_of_a_percent_is_not_shown() -> None:
    assert state([BlockSum(0, 2)], limit=3).percent == 66


@pytest.mark.parametrize("held", [0, -5])
def test_nothing_held_takes_nothing_of_what_is_left(held: int) -> None:
    found = state([BlockSum(0, 2)], limit=3, held=held)
    assert (found.held_micro_usd, found.left_micro_usd) == (0, 1)


def test_nothing_is_left_beyond_the_limit_and_absurd_sums_can_be_shown() -> None:
    found = state([BlockSum(0, 10**30)], limit=1, held=5)
    assert found.left_micro_usd == 0
    assert found.spent_micro_usd == BIGINT_MAX
    assert BudgetState.decode(found.encode()) == found


def test_even_spending_is_projected_without_a_range() -> None:
    found = state([BlockSum(day, 2 * DOLLAR) for day in range(10)]).projected
    assert found is not None
    assert (found.low_micro_usd, found.likely_micro_usd, found.high_micro_usd) == (60 * DOLLAR,) * 3
    assert found.basis_hours == 240


def test_range_is_of_uneven_days() -> None:
    """Days of $1 and $3 have a variance of 10/9; 20 are to come after 10: sqrt(10/9 * (20 + 20^2/10)) * 1.28 = $10.45."""
    found = state([BlockSum(day, (1 + 2 * (day % 2)) * DOLLAR) for day in range(10)]).projected
    assert found is not None
    assert found.likely_micro_usd == 60 * DOLLAR
    assert found.high_micro_usd - found.likely_micro_usd == 10_451_156
    assert found.likely_micro_usd - found.low_micro_usd == 10_451_156


def test_unfinished_part_counts_as_spent_and_not_as_a_sample() -> None:
    now = datetime(2026, 11, 11, 12, tzinfo=UTC)
    found = state([*(BlockSum(day, 2 * DOLLAR) for day in range(10)), BlockSum(10, 20 * DOLLAR)], now=now).projected
    assert found is not None
    assert found.likely_micro_usd == 40 * DOLLAR + 39 * DOLLAR


@pytest.mark.parametrize(
    ("window", "now"),
    [
        (BudgetWindow(rolling_hours=24), datetime(2026, 11, 11, tzinfo=UTC)),
        (MONTH, datetime(2026, 11, 1, 2, 59, tzinfo=UTC)),
    ],
)
def test_nothing_is_projected_without_a_window_or_a_past(window: BudgetWindow, now: datetime) -> None:
    assert state([BlockSum(0, DOLLAR)], window=window, now=now).projected is None
    assert state([], now=datetime(2026, 11, 11, tzinfo=UTC)).projected is None


def test_three_whole_hours_are_enough_for_a_projection() -> None:
    now = datetime(2026, 11, 1, 3, tzinfo=UTC)
    found = state([BlockSum(hour, DOLLAR) for hour in range(3)], now=now).projected
    assert found is not None
    assert (found.likely_micro_usd, found.basis_hours) == (720 * DOLLAR, 3)


def test_what_was_spent_before_the_window_counts_in_its_first_part() -> None:
    """A hold of this window may be of an attempt that began before it."""
    even = state([BlockSum(0, 2 * DOLLAR), BlockSum(1, 2 * DOLLAR), BlockSum(2, 2 * DOLLAR)])
    split = state([BlockSum(-1, DOLLAR), BlockSum(0, DOLLAR), BlockSum(1, 2 * DOLLAR), BlockSum(2, 2 * DOLLAR)])
    assert split.projected == even.projected
    assert split.projected is not None


def test_window_is_cut_into_hours_before_days() -> None:
    start = datetime(2026, 11, 1, tzinfo=UTC)
    span = window_at(MONTH, start)
    assert block_seconds(span, start + timedelta(days=3, hours=23)) == HOUR_SECONDS
    assert block_seconds(span, start + timedelta(days=4)) == DAY_SECONDS


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.integers(-1, 40), st.integers(0, 10**18)), max_size=40),
    st.integers(0, 30 * DAY_SECONDS - 1),
)
def test_projection_is_never_less_than_what_is_spent(blocks: list[tuple[int, int]], seconds: int) -> None:
    start = datetime(2026, 11, 1, tzinfo=UTC)
    span = WindowSpan("2026-11-01", start, datetime(2026, 12, 1, tzinfo=UTC))
    found = project(span, [BlockSum(*block) for block in blocks], start + timedelta(seconds=seconds))
    if found is not None:
        spent = min(sum(spent for _, spent in blocks), BIGINT_MAX)
        assert spent <= found.low_micro_usd <= found.likely_micro_usd <= found.high_micro_usd
