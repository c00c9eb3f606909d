"""An attempt counts in every budget that it matches, and in no other."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from keyferry.budgets.matching import NO_BUDGETS, BudgetIndex, Spender, TenantBudgets, WindowedBudget, model_names
from keyferry.budgets.windows import account_name, window_at
from keyferry.contracts.budget import Budget, BudgetScope, BudgetWindow, CalendarPeriod

NOW = datetime(2026, 11, 29, 9, tzinfo=UTC)
MONTH = BudgetWindow(calendar=CalendarPeriod.MONTH)
NAMES = ("a", "b", "x/a")


def budget(budget_id: str = "bud_1", scope: BudgetScope = BudgetScope.TENANT, **fields: Any) -> Budget:
    terms: dict[str, Any] = {
        "tenant": "acme",
        "budget_id": budget_id,
        "scope": scope,
        "value": None if scope is BudgetScope.TENANT else "a",
        "window": MONTH,
        "limit_micro_usd": 1_000_000,
        "revision": 1,
        "created_at": NOW,
    }
    return Budget.model_validate(terms | fields)


def ids(found: Sequence[WindowedBudget]) -> list[str]:
    return sorted(each.budget.budget_id for each in found)


def matches(each: Budget, spender: Spender) -> bool:
    """The definition, one budget at a time."""
    match each.scope:
        case BudgetScope.TENANT:
            return True
        case BudgetScope.TEAM:
            return spender.team == each.value
        case BudgetScope.MEMBER:
            return spender.member == each.value
        case BudgetScope.CLIENT_TOKEN:
            return spender.client_token_id == each.value
        case BudgetScope.KEY:
            return spender.key_id == each.value
        case BudgetScope.MODEL:
            return each.value in spender.models


names = st.none() | st.sampled_from(NAMES)
spenders = st.builds(
    Spender,
    team=names,
    member=names,
    client_token_id=names,
    key_id=names,
    models=st.sets(st.sampled_from(NAMES)).map(tuple),
)
scopes = st.lists(st.tuples(st.sampled_from(BudgetScope), st.sampled_from(NAMES)), max_size=30)


@settings(max_examples=100)
@given(scopes, spenders)
def test_exactly_the_matching_budgets_apply(wanted: list[tuple[BudgetScope, str]], spender: Spender) -> None:
    budgets = [
        budget(f"bud_{number}", scope, value=None if scope is BudgetScope.TENANT else name)
        for number, (scope, name) in enumerate(wanted)
    ]
    found = TenantBudgets(budgets).applying_to(spender)
    assert ids(found) == sorted(each.budget_id for each in budgets if matches(each, spender))


def test_windows_of_one_scope_count_apart() -> None:
    found = TenantBudgets(
        [
            budget("bud_1"),
            budget("bud_2", window=BudgetWindow(calendar=CalendarPeriod.DAY, time_zone="Asia/Tokyo")),
            budget("bud_3", window=BudgetWindow(rolling_hours=24)),
        ]
    ).applying_to(Spender())
    accounts = [each.account_at(datetime(2026, 11, 29, 16, tzinfo=UTC)) for each in found]
    assert accounts == ["budget/bud_1/2026-11-01", "budget/bud_2/2026-11-30", "budget/bud_3/rolling"]


@settings(max_examples=50)
@given(st.lists(st.integers(-(10**8), 10**8), min_size=1, max_size=20), st.sampled_from(CalendarPeriod))
def test_kept_window_is_never_used_for_another_time(seconds: list[int], period: CalendarPeriod) -> None:
    each = WindowedBudget(budget(window=BudgetWindow(calendar=period, time_zone="America/St_Johns")))
    for offset in seconds:
        moment = NOW + timedelta(seconds=offset)
        span = window_at(each.budget.window, moment)
        assert each.account_at(moment) == account_name("bud_1", span)
        assert each.span_at(moment) == span


def test_kept_window_ends_with_its_last_moment() -> None:
    each = WindowedBudget(budget())
    november = each.span_at(NOW)
    assert november.end == datetime(2026, 12, 1, tzinfo=UTC)
    assert each.span_at(november.end - timedelta(microseconds=1)) == november
    assert each.account_at(november.end) == "budget/bud_1/2026-12-01"
    assert each.span_at(november.start) == november


def test_router_is_limited_by_enabled_hard_budgets_only() -> None:
    index = BudgetIndex()
    index.replace("acme", [budget("bud_1"), budget("bud_2", hard=False), budget("bud_3", enabled=False)])
    assert ids(index.of("acme").applying_to(Spender())) == ["bud_1"]
    index.replace("other", [])
    assert index.of("other") is NO_BUDGETS
    index.replace("acme", [budget("bud_2", hard=False)])
    assert index.of("acme") is NO_BUDGETS
    assert not NO_BUDGETS


def test_a_model_is_named_with_and_without_its_provider_and_as_in_the_catalog() -> None:
    assert model_names("groq", "llama-3.3-70b-versatile", "llama-3.3-70b") == (
        "llama-3.3-70b-versatile",
        "groq/llama-3.3-70b-versatile",
        "llama-3.3-70b",
    )
    assert model_names("openai", "gpt-4o", "gpt-4o") == ("gpt-4o", "openai/gpt-4o")
