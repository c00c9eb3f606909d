"""What an attempt adds to budgets: once to each, in the window of its hold, else in the one in which it began."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyferry.budgets.matching import TenantBudgets
from keyferry.contracts.budget import Budget, BudgetScope, BudgetWindow, CalendarPeriod
from keyferry.contracts.credit import Hold, Reservation
from keyferry.contracts.usage import LedgerRow
from services.usage_ledger.budgets.counting import (
    ROLLING_START,
    CountedSpending,
    SpendingKey,
    count,
    describe_spender,
)
from tests.support.ledger.attempt_records import attempt_record

BEGAN = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC)
HOUR = datetime(2026, 11, 30, 23, tzinfo=UTC)
NOVEMBER, DECEMBER = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
MONTH = BudgetWindow(calendar=CalendarPeriod.MONTH)


def budget(budget_id: str, scope: BudgetScope = BudgetScope.TENANT, **fields: Any) -> Budget:
    terms: dict[str, Any] = {"value": None, "window": MONTH} | fields
    return Budget(
        tenant="acme",
        budget_id=budget_id,
        scope=scope,
        limit_micro_usd=1_000_000,
        revision=1,
        created_at=BEGAN,
        **terms,
    )


def row(spend: int | None, *held: str, recorded_after: timedelta = timedelta(seconds=9), **fields: Any) -> LedgerRow:
    holds = [Hold(lease_id=f"l{number}", account=account, amount=5) for number, account in enumerate(held)]
    reservation = Reservation(holds=holds, not_after_unix_ms=1) if holds else None
    record = attempt_record(started_at=BEGAN, reservation=reservation, **fields)
    return LedgerRow(
        record=record, pricing="unpriced", spend_micro_usd=spend, recorded_at=record.started_at + recorded_after
    )


def counted(rows: list[LedgerRow], *budgets: Budget) -> dict[SpendingKey, CountedSpending]:
    return count(rows, {"acme": TenantBudgets(budgets)})


def test_attempts_of_one_hour_add_up() -> None:
    found = counted([row(70), row(None), row(5)], budget("bud_1"), budget("bud_2"))
    expected = CountedSpending(spent_micro_usd=75, attempts=3, unpriced=1)
    assert found == {SpendingKey(name, NOVEMBER, HOUR): expected for name in ("bud_1", "bud_2")}


def test_another_tenants_attempts_count_nowhere_and_keep_nothing_out() -> None:
    found = counted([row(1, tenant="globex"), row(2)], budget("bud_1"))
    assert found == {SpendingKey("bud_1", NOVEMBER, HOUR): CountedSpending(2, 1, 0)}


def test_an_attempt_counts_in_the_window_of_its_hold() -> None:
    """A worker's clock may be behind the router's, which asked for December's share."""
    found = counted([row(70, "credits/acme", "budget/bud_1/2026-12-01")], budget("bud_1"))
    assert found == {SpendingKey("bud_1", DECEMBER, HOUR): CountedSpending(70, 1, 0)}


@pytest.mark.parametrize("label", ["2026-11-02", "rolling", "nonsense"])
def test_a_hold_of_no_window_counts_where_the_attempt_began(label: str) -> None:
    found = counted([row(70, f"budget/bud_1/{label}")], budget("bud_1"))
    assert found == {SpendingKey("bud_1", NOVEMBER, HOUR): CountedSpending(70, 1, 0)}


def test_a_budget_that_is_held_counts_though_it_does_not_match_any_more() -> None:
    other = budget("bud_2", BudgetScope.TEAM, value="red")
    found = counted([row(70, "budget/bud_2/2026-11-01", "budget/gone/2026-11-01")], budget("bud_1"), other)
    assert {key.budget_id for key in found} == {"bud_1", "bud_2"}
    assert all(each.attempts == 1 for each in found.values())
    assert {key.budget_id for key in counted([row(70)], budget("bud_1"), other)} == {"bud_1"}


def test_all_hours_of_a_rolling_budget_belong_to_one_window() -> None:
    rolling = budget("bud_1", window=BudgetWindow(rolling_hours=24))
    found = counted([row(70), row(5, "budget/bud_1/rolling")], rolling)
    assert found == {SpendingKey("bud_1", ROLLING_START, HOUR): CountedSpending(75, 2, 0)}


def test_no_attempt_begins_after_it_is_recorded() -> None:
    found = counted([row(70, recorded_after=timedelta(hours=-2))], budget("bud_1"))
    assert found == {SpendingKey("bud_1", NOVEMBER, HOUR - timedelta(hours=2)): CountedSpending(70, 1, 0)}


def test_an_attempt_is_matched_by_all_that_is_known_of_it() -> None:
    record = row(
        1,
        team="t",
        member="m",
        client_token_id="c",
        key_id="key_1",
        provider="groq",
        model="llama",
        catalog_id="meta/llama",
    ).record
    spender = describe_spender(record)
    assert (spender.team, spender.member, spender.client_token_id, spender.key_id) == ("t", "m", "c", "key_1")
    assert spender.models == ("llama", "groq/llama", "meta/llama")
