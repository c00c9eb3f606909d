"""Budgets over HTTP: exact limits in dollars, and nothing unknown is accepted."""

from datetime import UTC, datetime
from typing import Any

import pytest

from keyferry.contracts.budget import (
    Budget,
    BudgetRemoved,
    Budgets,
    BudgetState,
    ListBudgets,
    RemoveBudget,
    SaveBudget,
)
from keyferry.contracts.ledger_management import BUDGET_LIST, BUDGET_REMOVE, BUDGET_SAVE
from tests.unit.console.surface import Surface, error

PATH = "/api/v1/ops/tenants/acme/budgets"
ACTOR = "console:operator"
AT = datetime(2026, 11, 29, tzinfo=UTC)
TERMS: dict[str, Any] = {"scope": "team", "value": "blue", "window": {"calendar": "day"}}
BUDGET = Budget.model_validate(
    {"tenant": "acme", "budget_id": "bud_1", "limit_micro_usd": 2_500_000, "revision": 1, "created_at": AT, **TERMS}
)
STATE = BudgetState(
    budget=BUDGET,
    account="budget/bud_1/2026-11-29",
    window_start=AT,
    spent_micro_usd=0,
    held_micro_usd=0,
    left_micro_usd=2_500_000,
    percent=0,
    thresholds_passed=[],
    exhausted=False,
    attempts=0,
    unpriced=0,
)


async def test_budgets_are_listed_added_changed_and_removed() -> None:
    surface = Surface()
    surface.bus.answers(BUDGET_LIST, Budgets(tenant="acme", as_of=AT, budgets=[STATE]))
    surface.bus.answers(BUDGET_SAVE, STATE)
    surface.bus.answers(BUDGET_REMOVE, BudgetRemoved(budget=BUDGET))
    assert (await surface.ask("GET", PATH)).json()["budgets"][0]["left_micro_usd"] == 2_500_000
    assert (await surface.ask("GET", f"{PATH}/bud_1")).json()["budget"]["budget_id"] == "bud_1"
    added = await surface.ask("POST", PATH, TERMS | {"limit_usd": "2.5"})
    assert added.status_code == 201
    body = TERMS | {"limit_usd": "0.000001", "hard": False, "revision": 3}
    assert (await surface.ask("PUT", f"{PATH}/bud_1", body)).status_code == 200
    assert (await surface.ask("DELETE", f"{PATH}/bud_1")).json()["budget"]["budget_id"] == "bud_1"
    common = {"tenant": "acme", "actor": ACTOR, **TERMS}
    expected: list[tuple[str, object]] = [
        (BUDGET_LIST.name, ListBudgets(tenant="acme")),
        (BUDGET_LIST.name, ListBudgets(tenant="acme", budget_id="bud_1")),
        (BUDGET_SAVE.name, SaveBudget.model_validate(common | {"limit_micro_usd": 2_500_000})),
        (
            BUDGET_SAVE.name,
            SaveBudget.model_validate(
                common | {"limit_micro_usd": 1, "hard": False, "budget_id": "bud_1", "expected_revision": 3}
            ),
        ),
        (BUDGET_REMOVE.name, RemoveBudget(tenant="acme", budget_id="bud_1", actor=ACTOR)),
    ]
    for each in expected:
        assert each in surface.bus.asked


@pytest.mark.parametrize(
    "changes",
    [
        {"limit_usd": "0"},
        {"limit_usd": "-1"},
        {"limit_usd": "0.0000001"},
        {"limit_usd": 2.5},
        {"limit_usd": "NaN"},
        {"limit_usd": "1e30"},
        {"limit_usd": None},
        {"limit": "5"},
        {"budget": "5"},
        {"window": {"calendar": "day", "time_zone": "Mars/Olympus"}},
        {"window": {}},
        {"window": {"rolling_hours": 24, "period": "day"}},
        {"value": None},
        {"value": "a\x00"},
        {"thresholds": [0]},
    ],
)
async def test_other_terms_are_refused(changes: dict[str, object]) -> None:
    surface = Surface()
    found = await surface.ask("POST", PATH, TERMS | {"limit_usd": "2.5"} | changes)
    assert found.status_code in (400, 422), error(found)
    assert BUDGET_SAVE.name not in [name for name, _ in surface.bus.asked]
