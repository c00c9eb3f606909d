"""What `keyferry budgets` reads and prints."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from keyferry.cli.budgets import (
    format_kind,
    format_scope,
    format_state,
    format_usd,
    format_window,
    parse_limit,
    parse_scope,
    parse_window,
)
from keyferry.cli.problem import Problem
from keyferry.contracts.budget import Budget, BudgetScope, BudgetState, BudgetWindow, ProjectedSpend

AT = datetime(2026, 11, 1, tzinfo=UTC)


def budget(**terms: Any) -> Budget:
    usual = {
        "tenant": "acme",
        "budget_id": "bud_1",
        "scope": "tenant",
        "window": {"calendar": "month"},
        "limit_micro_usd": 250_000_000,
        "revision": 1,
        "created_at": AT,
    }
    return Budget.model_validate(usual | terms)


@pytest.mark.parametrize(
    ("text", "hours", "shown"), [("24h", 24, "1d"), ("36h", 36, "36h"), ("30d", 720, "30d"), ("1h", 1, "1h")]
)
def test_last_hours_and_days(text: str, hours: int, shown: str) -> None:
    window = parse_window(text, "UTC")
    assert window == BudgetWindow(rolling_hours=hours)
    assert format_window(window) == shown


def test_periods_of_the_calendar() -> None:
    assert format_window(parse_window("month", "Europe/Berlin")) == "month Europe/Berlin"


@pytest.mark.parametrize("text", ["", "h", "year", "10", "1w", "-1h", "٣h", "1.5d", "9" * 50 + "h"])
def test_other_windows_are_refused(text: str) -> None:
    with pytest.raises(Problem):
        parse_window(text, "UTC")


def test_windows_out_of_bounds_and_unknown_zones_are_refused() -> None:
    for text, zone in (("0h", "UTC"), ("99999h", "UTC"), ("day", "Mars/Olympus"), ("24h", "Europe/Berlin")):
        with pytest.raises(ValidationError):
            parse_window(text, zone)


@pytest.mark.parametrize(("text", "micro_usd"), [("250", 250_000_000), ("$0.5", 500_000), ("0.000001", 1)])
def test_limits_are_exact(text: str, micro_usd: int) -> None:
    assert parse_limit(text) == micro_usd
    assert format_usd(micro_usd) == f"${text.removeprefix('$')}"


@pytest.mark.parametrize("text", ["", "0", "-1", "0.0000001", "NaN", "1e30", "a lot", "9" * 999])
def test_other_limits_are_refused(text: str) -> None:
    with pytest.raises(Problem):
        parse_limit(text)


def test_one_scope() -> None:
    assert parse_scope({BudgetScope.TEAM: None}) == (BudgetScope.TENANT, None)
    assert parse_scope({BudgetScope.TEAM: "blue", BudgetScope.KEY: None}) == (BudgetScope.TEAM, "blue")
    with pytest.raises(Problem):
        parse_scope({BudgetScope.TEAM: "blue", BudgetScope.KEY: "key_1"})


def test_a_state() -> None:
    state = BudgetState(
        budget=budget(scope="client_token", value="tok_1", hard=False, enabled=False),
        account="budget/bud_1/2026-11-01",
        window_start=AT,
        resets_at=datetime(2026, 12, 1, tzinfo=UTC),
        spent_micro_usd=200_500_000,
        held_micro_usd=0,
        left_micro_usd=49_500_000,
        percent=80,
        thresholds_passed=[50, 80],
        exhausted=False,
        attempts=7,
        unpriced=2,
        projected=ProjectedSpend(
            low_micro_usd=210_000_000, likely_micro_usd=300_000_000, high_micro_usd=400_000_000, basis_hours=24
        ),
    )
    assert (format_scope(state.budget), format_kind(state.budget)) == ("client token tok_1", "soft, disabled")
    assert [line.strip() for line in format_state(state)] == [
        "bud_1: $250 for client token tok_1 per month UTC, soft, disabled",
        "window     since 2026-11-01 00:00Z until 2026-12-01 00:00Z",
        "spent      $200.5 (80 %) by 7 attempts",
        "held       $0",
        "left       $49.5",
        "unpriced   2 attempts, of which it is unknown what they spent",
        "passed     50 %, 80 %",
        "projected  $300 ($210 to $400) at the end of the window",
    ]
