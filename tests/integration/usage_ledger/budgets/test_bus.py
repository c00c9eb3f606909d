"""Budgets over the bus: saved, published to routers, and counted for what workers report."""

import pytest

from keyferry.contracts.budget import Budget, ListBudgets, RemoveBudget, SaveBudget
from keyferry.contracts.ledger_management import BUDGET_LIST, BUDGET_REMOVE, BUDGET_SAVE, BUDGETS_VIEW
from keyferry.contracts.topology import Role
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.views import COMPLETE, snapshot
from tests.integration.usage_ledger.processes import LedgerServers
from tests.support.ledger.attempt_records import attempt_record
from tests.support.waiting import eventually_async

TERMS = {"tenant": "acme", "scope": "team", "value": "blue", "window": {"calendar": "month"}}


async def published(servers: LedgerServers) -> dict[str, Budget]:
    """Return the view's entries as a router reads them."""
    async with servers.installation.client(Role.ROUTER) as client:
        entries, _ = await snapshot(client, BUDGETS_VIEW)
    return {key: Budget.decode(value) for key, value in entries.items() if key != COMPLETE}


async def test_budget_is_saved_published_counted_and_removed(servers: LedgerServers) -> None:
    record = attempt_record(team="blue")
    async with servers.in_process(), servers.operator() as operator, servers.worker() as worker:
        save = SaveBudget.model_validate(TERMS | {"limit_micro_usd": 5})
        state = await operator.ask(BUDGET_SAVE, save, timeout_seconds=10)
        budget = state.budget

        async def is_published() -> bool:
            return await published(servers) == {f"acme.{budget.budget_id}": budget}

        await eventually_async("the budget in the view", is_published)
        await worker.publish([record.encode()])
        await worker.until_confirmed([record])
        query = ListBudgets(tenant="acme", budget_id=budget.budget_id)
        listed = await operator.ask(BUDGET_LIST, query, timeout_seconds=10)
        assert [each.budget for each in listed.budgets] == [budget]

        with pytest.raises(Refused, match=budget.budget_id):
            await operator.ask(BUDGET_SAVE, save, timeout_seconds=10)
        await operator.ask(BUDGET_REMOVE, RemoveBudget(tenant="acme", budget_id=budget.budget_id), timeout_seconds=10)

        async def is_gone() -> bool:
            return not await published(servers)

        await eventually_async("the view without it", is_gone)
    events = servers.query(
        "SELECT event ->> 'action' FROM usage_ledger.audit_entries WHERE tenant = 'acme' ORDER BY position"
    )
    assert [action for (action,) in events] == ["budget.add", "budget.remove"]
