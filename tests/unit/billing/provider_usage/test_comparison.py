"""Comparisons of a provider's figures with ours."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.reconciliation import DifferenceReason, ProviderDay, ProviderDayRow, ReconciliationRow
from keyferry.contracts.usage import TokenUsage, UsageSource
from services.billing.provider_usage.comparison import ProviderComparison, compare, is_over
from services.billing.provider_usage.stated_usage import StatedUsage

DAY = date(2026, 11, 2)
NEXT = date(2026, 11, 3)
MODEL = "gpt-4o-2024-08-06"


def ours(model: str = MODEL, *, tokens: int = 100, cost: str | None = "1", **changes: Any) -> ProviderDayRow:
    fields: dict[str, Any] = {
        "model": model,
        "usage_source": UsageSource.REPORTED,
        "price_version": "v1",
        "attempts": 1,
        "token_usage": TokenUsage(input=tokens),
        "cost_usd": cost,
    }
    return ProviderDayRow(**(fields | changes))


def theirs(
    model: str | None = MODEL, *, tokens: int | None = 100, cost: str | None = "1", day: date | None = DAY
) -> StatedUsage:
    return StatedUsage(
        day=day,
        model=model,
        prompt_tokens=tokens,
        completion_tokens=None if tokens is None else 0,
        cost_usd=None if cost is None else Decimal(cost),
    )


def compared(
    stated: Sequence[StatedUsage], *rows: ProviderDayRow, unsettled: frozenset[date] = frozenset(), day: date = DAY
) -> ProviderComparison:
    return compare(stated, [ProviderDay(day=day, rows=list(rows))], unsettled)


def reasons(row: ReconciliationRow) -> set[DifferenceReason]:
    return {each.reason for each in row.explanations}


def test_equal_figures_have_no_difference_and_nothing_to_explain() -> None:
    (row,) = compared([theirs()], ours()).rows
    assert row.token_difference == 0
    assert row.cost_difference_usd == 0
    assert row.explanations == []


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (ours(tokens=60, cost="0.6", unreported=1, attempts=2), DifferenceReason.UNREPORTED),
        (ours(tokens=60, cost="0.6", usage_source=UsageSource.ESTIMATED), DifferenceReason.ESTIMATED),
        (ours(tokens=60, cost="0.6", across_midnight=1), DifferenceReason.ACROSS_MIDNIGHT),
        (ours(cost="0.5"), DifferenceReason.PRICE),
        (ours(tokens=60, cost="0.6"), DifferenceReason.ELSEWHERE),
        (ours(tokens=160, cost="1.6"), DifferenceReason.NOT_AT_PROVIDER),
    ],
)
def test_a_difference_is_explained_by_what_attempts_say(row: ProviderDayRow, reason: DifferenceReason) -> None:
    (found,) = compared([theirs()], row).rows
    assert reasons(found) == {reason}


def test_a_price_that_changed_on_the_day_is_named() -> None:
    found = compared([theirs(tokens=200, cost="3")], ours(), ours(price_version="v2", cost="1.5")).rows
    assert reasons(found[0]) == {DifferenceReason.SEVERAL_PRICES}
    assert "v1, v2" in found[0].explanations[0].detail


def test_unknown_costs_are_not_zero() -> None:
    (row,) = compared([theirs()], ours(cost=None, price_version=None, unpriced=1)).rows
    assert row.cost_usd is None
    assert row.cost_difference_usd is None
    assert DifferenceReason.UNPRICED in reasons(row)


def test_usage_without_any_attempt_was_elsewhere() -> None:
    (row,) = compared([theirs()]).rows
    assert (row.attempts, row.token_difference, row.cost_difference_usd) == (0, 100, Decimal(1))
    assert reasons(row) == {DifferenceReason.ELSEWHERE}


def test_a_day_to_which_the_provider_may_add_explains_itself() -> None:
    (row,) = compared([theirs(tokens=10, cost="0.1")], ours(), unsettled=frozenset({DAY})).rows
    assert reasons(row) == {DifferenceReason.INCOMPLETE_DAY}


@pytest.mark.parametrize("row", [ours("gpt-4o"), ours("gpt-4o-latest"), ours("auto", model_served=MODEL)])
def test_a_model_is_found_by_the_name_that_the_provider_reports(row: ProviderDayRow) -> None:
    (found,) = compared([theirs()], row).rows
    assert found.model == MODEL
    assert found.called_as == [row.model]
    assert reasons(found) == {DifferenceReason.OTHER_NAME}


def test_an_ambiguous_name_is_not_guessed() -> None:
    stated = [theirs("gpt-4o-2024-08-06"), theirs("gpt-4o-2024-11-20")]
    assert {row.model for row in compared(stated, ours("gpt-4o")).rows} == {*(each.model for each in stated), "gpt-4o"}


def test_a_total_is_compared_with_everything() -> None:
    (row,) = compared([StatedUsage(cost_usd=Decimal(5))], ours(), ours("other", cost="3.5")).rows
    assert (row.day, row.model) == (None, None)
    assert row.cost_difference_usd == Decimal("0.5")
    assert row.token_difference is None


def test_costs_and_tokens_of_the_same_day_and_model_are_one_row() -> None:
    stated = [theirs(cost=None), theirs(tokens=None, cost="0.25"), theirs(tokens=None, cost="0.75")]
    (row,) = compared(stated, ours()).rows
    assert row.token_difference == 0
    assert row.cost_difference_usd == 0


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 10**9), st.decimals(0, 1000, places=12)), max_size=8),
    st.lists(st.tuples(st.sampled_from("abd"), st.integers(0, 10**9), st.decimals(0, 1000, places=12)), max_size=8),
)
def test_rows_add_up_to_the_totals(
    provider: list[tuple[str, int, Decimal]], ledger: list[tuple[str, int, Decimal]]
) -> None:
    stated = [theirs(model, tokens=tokens, cost=str(cost)) for model, tokens, cost in provider]
    found = compared(stated, *(ours(model, tokens=tokens, cost=str(cost)) for model, tokens, cost in ledger))
    totals = found.totals
    assert totals.tokens == sum(row.prompt_tokens + row.completion_tokens for row in found.rows)
    assert totals.cost_usd == sum((row.cost_usd or 0 for row in found.rows), Decimal(0))
    assert totals.attempts == len(ledger)
    if stated:
        assert totals.cost_difference_usd == sum(cost for *_, cost in provider) - sum(cost for *_, cost in ledger)
        assert totals.token_difference == sum(each[1] for each in provider) - sum(each[1] for each in ledger)


@pytest.mark.parametrize(
    ("cost", "over"), [("101.5", False), ("103", True), ("97", True), ("98.5", False), ("100.5", False)]
)
def test_an_alert_needs_both_tolerances_to_be_exceeded(cost: str, over: bool) -> None:
    totals = compared([theirs(cost=cost)], ours(cost="100")).totals
    assert is_over(totals, Decimal(1), 2) is over
    assert not is_over(totals, Decimal(10), 2)
