"""Routes for budgets: their terms, and what is spent of them."""

from keyferry.contracts.budget import (
    BudgetId,
    BudgetRemoved,
    Budgets,
    BudgetState,
    ListBudgets,
    RemoveBudget,
    SaveBudget,
)
from keyferry.contracts.ledger_management import BUDGET_LIST, BUDGET_REMOVE, BUDGET_SAVE
from services.console.access import RouteSpec
from services.console.budget_bodies import BudgetBody, NewBudgetBody
from services.console.service_client import ServiceClient
from services.console.tenant_context import CurrentTenant


class BudgetRoutes:
    """The routes under `/budgets`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        return (
            RouteSpec("GET", "/budgets", "list_budgets", self.list_),
            RouteSpec("POST", "/budgets", "add_budget", self.add, status=201),
            RouteSpec("GET", "/budgets/{budget_id}", "get_budget", self.get),
            RouteSpec("PUT", "/budgets/{budget_id}", "change_budget", self.change),
            RouteSpec("DELETE", "/budgets/{budget_id}", "remove_budget", self.remove),
        )

    async def list_(self, context: CurrentTenant) -> Budgets:
        """List a tenant's budgets, with what is spent, held and left of each in its current window."""
        return await self._services.read(BUDGET_LIST, ListBudgets(tenant=context.tenant))

    async def add(self, context: CurrentTenant, body: NewBudgetBody) -> BudgetState:
        """Add a budget. It counts what was spent since its current window began."""
        command = SaveBudget.model_validate({"tenant": context.tenant, "actor": context.actor, **body.terms()})
        return await self._services.change(BUDGET_SAVE, command)

    async def get(self, context: CurrentTenant, budget_id: BudgetId) -> BudgetState:
        """Return one budget, with what is spent, held and left of it in its current window."""
        found = await self._services.read(BUDGET_LIST, ListBudgets(tenant=context.tenant, budget_id=budget_id))
        return found.budgets[0]

    async def change(self, context: CurrentTenant, budget_id: BudgetId, body: BudgetBody) -> BudgetState:
        """Replace the terms of a budget, but for its scope and its window, which stay as they are.

        With `revision` nothing is saved (409) if somebody else has changed it since that revision was read.
        """
        command = SaveBudget.model_validate(
            {
                "tenant": context.tenant,
                "actor": context.actor,
                "budget_id": budget_id,
                "expected_revision": body.revision,
                **body.terms(),
            }
        )
        return await self._services.change(BUDGET_SAVE, command)

    async def remove(self, context: CurrentTenant, budget_id: BudgetId) -> BudgetRemoved:
        """Remove a budget: it refuses and counts nothing any more."""
        command = RemoveBudget(tenant=context.tenant, budget_id=budget_id, actor=context.actor)
        return await self._services.change(BUDGET_REMOVE, command)
