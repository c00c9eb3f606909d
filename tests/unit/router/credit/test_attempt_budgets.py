"""The budgets of an attempt, and the accounts that hold what it may spend of them."""

from datetime import UTC, datetime
from typing import Any

from keyferry.budgets.matching import BudgetIndex
from keyferry.contracts.budget import Budget, BudgetScope, BudgetWindow, CalendarPeriod
from keyferry.contracts.chat import ChatRequest
from keyferry.contracts.route import Candidate
from keyferry.contracts.usage import KeySource
from services.router.credit.attempt_budgets import AttemptBudgets

NOW = datetime(2026, 11, 15, 12, tzinfo=UTC)


def budget(number: int, scope: BudgetScope, value: str | None = None, **changes: Any) -> Budget:
    terms = {
        "tenant": "acme",
        "budget_id": f"bud_{number}",
        "scope": scope,
        "value": value,
        "window": BudgetWindow(calendar=CalendarPeriod.MONTH),
        "limit_micro_usd": 1_000_000,
        "revision": 1,
        "created_at": NOW,
    }
    return Budget(**(terms | changes))


def accounts(*budgets: Budget, provider: str = "openai", model: str = "gpt-4o-2024-11-20", **request: Any) -> list[str]:
    index = BudgetIndex()
    index.replace("acme", budgets)
    head = ChatRequest(
        request_id="r", model="m", stream=False, deadline_ms=1, start_by_unix_ms=1, **({"tenant": "acme"} | request)
    )
    candidate = Candidate(
        provider=provider, model=model, key_source=KeySource.BYOK, key_id="key_1", kept=True, detail="kept"
    )
    found = AttemptBudgets(index, lambda provider, model: "gpt-4o").find(head, candidate, NOW)
    return [each.account for each in found]


def test_an_attempt_counts_in_every_budget_that_matches_it() -> None:
    every = (
        budget(1, BudgetScope.TENANT),
        budget(2, BudgetScope.TEAM, "sales"),
        budget(3, BudgetScope.TEAM, "support"),
        budget(4, BudgetScope.MEMBER, "ann"),
        budget(5, BudgetScope.KEY, "key_1"),
        budget(6, BudgetScope.KEY, "key_2"),
        budget(7, BudgetScope.CLIENT_TOKEN, "tok_1"),
        budget(8, BudgetScope.MODEL, "gpt-4o"),
        budget(9, BudgetScope.MODEL, "gpt-4o-mini"),
    )
    found = accounts(*every, team="sales", member="ann", client_token_id="tok_1")
    assert sorted(found) == [f"budget/bud_{number}/2026-11-01" for number in (1, 2, 4, 5, 7, 8)]


def test_soft_and_disabled_budgets_hold_nothing() -> None:
    assert accounts(budget(1, BudgetScope.TENANT, hard=False), budget(2, BudgetScope.TENANT, enabled=False)) == []


def test_another_tenant_has_no_part_in_it() -> None:
    assert accounts(budget(1, BudgetScope.TENANT), tenant="globex") == []


def test_a_person_reads_when_a_budget_has_more() -> None:
    index = BudgetIndex()
    index.replace("acme", [budget(1, BudgetScope.TENANT, name="Marketing")])
    head = ChatRequest(request_id="r", tenant="acme", model="m", stream=False, deadline_ms=1, start_by_unix_ms=1)
    candidate = Candidate(provider="openai", model="m", key_source=KeySource.PLATFORM, kept=True, detail="kept")
    (found,) = AttemptBudgets(index, lambda provider, model: None).find(head, candidate, NOW)
    assert (found.name, found.resets) == ("bud_1 (Marketing)", "at 2026-12-01 00:00 UTC")
