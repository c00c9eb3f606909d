"""Budgets are bounded in number, one per scope and window, changed under their revision, and audited with the change."""

import asyncio
from typing import Any

import pytest

from keyferry.contracts.audit import ListAudit
from keyferry.contracts.budget import ListBudgets, RemoveBudget
from keyferry.contracts.ledger_management import BUDGETS_VIEW
from services.usage_ledger.budgets.store import (
    BudgetChanged,
    BudgetExists,
    FixedTerms,
    TooManyBudgets,
    UnknownBudget,
    view_key,
)
from tests.integration.usage_ledger.budgets.ledger import DOLLAR, NOW, BudgetLedger, attempt, new_tenant


async def test_budget_is_added_changed_and_removed_with_its_audit(ledger: BudgetLedger) -> None:
    tenant = new_tenant()
    added = (await ledger.save(tenant, name="All of it", actor="ann")).budget
    changed = (
        await ledger.save(
            tenant,
            budget_id=added.budget_id,
            expected_revision=1,
            limit_micro_usd=5 * DOLLAR,
            hard=False,
            thresholds=[50],
            name="All of it",
        )
    ).budget
    assert changed == added.model_copy(
        update={"revision": 2, "limit_micro_usd": 5 * DOLLAR, "hard": False, "thresholds": [50]}
    )
    assert [state.budget for state in await ledger.states(tenant)] == [changed]
    assert (await ledger.budgets.view_contents())[BUDGETS_VIEW.name][view_key(changed)] == changed.encode()
    removed, _ = await ledger.budgets.remove(RemoveBudget(tenant=tenant, budget_id=added.budget_id), NOW)
    assert removed == changed
    assert await ledger.states(tenant) == []
    assert view_key(changed) not in (await ledger.budgets.view_contents())[BUDGETS_VIEW.name]
    entries = (await ledger.audit.entries(ListAudit(tenant=tenant))).entries
    assert [(entry.event.action, entry.event.actor, entry.event.target) for entry in reversed(entries)] == [
        ("budget.add", "ann", added.budget_id),
        ("budget.change", "operator", added.budget_id),
        ("budget.remove", "operator", added.budget_id),
    ]
    assert entries[1].event.details == {
        "limit_micro_usd": f"{added.limit_micro_usd} → 5000000",
        "hard": "true → false",
        "thresholds": f"{', '.join(map(str, added.thresholds))} → 50",
    }


async def test_removed_budget_counts_nothing_and_its_place_is_free(ledger: BudgetLedger) -> None:
    tenant = new_tenant()
    first = (await ledger.save(tenant)).budget
    await ledger.record([attempt(tenant, 3)])
    await ledger.budgets.remove(RemoveBudget(tenant=tenant, budget_id=first.budget_id), NOW)
    await ledger.record([attempt(tenant, 4)])
    second = await ledger.save(tenant)
    assert second.budget.budget_id != first.budget_id
    assert second.spent_micro_usd == 7
    assert not await ledger.prepare(tenant, f"budget/{first.budget_id}/2026-11-01")


@pytest.mark.parametrize(
    ("terms", "error"),
    [
        ({}, BudgetExists),
        ({"budget_id": "bud_unknown"}, UnknownBudget),
        ({"budget_id": "", "expected_revision": 2}, BudgetChanged),
        ({"budget_id": "", "scope": "team", "value": "blue"}, FixedTerms),
        ({"budget_id": "", "window": {"calendar": "day"}}, FixedTerms),
        ({"budget_id": "", "window": {"calendar": "month", "time_zone": "Europe/Berlin"}}, FixedTerms),
    ],
)
async def test_other_changes_are_refused_and_leave_everything(
    ledger: BudgetLedger, terms: dict[str, Any], error: type[Exception]
) -> None:
    tenant = new_tenant()
    budget = (await ledger.save(tenant)).budget
    if terms.get("budget_id") == "":
        terms = terms | {"budget_id": budget.budget_id}
    with pytest.raises(error):
        await ledger.save(tenant, **({"limit_micro_usd": 7} | terms))
    assert [state.budget for state in await ledger.states(tenant)] == [budget]
    assert len((await ledger.audit.entries(ListAudit(tenant=tenant))).entries) == 1


async def test_budgets_of_others_are_unknown(ledger: BudgetLedger) -> None:
    tenant, other = new_tenant(), new_tenant()
    budget_id = (await ledger.save(tenant)).budget.budget_id
    with pytest.raises(UnknownBudget):
        await ledger.save(other, budget_id=budget_id)
    with pytest.raises(UnknownBudget):
        await ledger.budgets.remove(RemoveBudget(tenant=other, budget_id=budget_id), NOW)
    with pytest.raises(UnknownBudget):
        await ledger.budgets.list_states(ListBudgets(tenant=other, budget_id=budget_id), NOW)


async def test_there_are_no_more_budgets_than_allowed_however_many_are_added_at_once(
    ledger: BudgetLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.usage_ledger.budgets.store.MAX_BUDGETS", 6)
    tenant = new_tenant()
    found = await asyncio.gather(
        *(ledger.save(tenant, scope="team", value=f"team-{number}") for number in range(9)),
        return_exceptions=True,
    )
    assert sum(isinstance(each, TooManyBudgets) for each in found) == 3
    assert len(await ledger.states(tenant)) == 6


async def test_the_same_budget_is_added_once_at_the_same_time(ledger: BudgetLedger) -> None:
    tenant = new_tenant()
    found = await asyncio.gather(*(ledger.save(tenant) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(each, BudgetExists) for each in found) == 4
