"""Routes that plan without sending: how a request would be routed, and what past ones would cost at each power level."""

from typing import Annotated

from fastapi import Query

from keyferry.contracts.power_comparison import ComparePowerLevels, PowerLevelComparison
from keyferry.contracts.routing_management import POWER_LEVEL_COMPARE, ROUTE_EXPLAIN
from keyferry.contracts.tenancy import ListClientTokens
from keyferry.contracts.topology import TOKEN_LIST
from services.console import own_tokens
from services.console.access import RouteSpec
from services.console.decision_steps import explain
from services.console.route_preview_bodies import ComparisonQuery, ExplainRouteBody, RoutePreview
from services.console.service_client import RULES_SECONDS, ServiceClient
from services.console.tenant_context import CurrentTenant


class RoutePreviewRoutes:
    """The routes `/routing/explain` and `/power-level/comparison`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        return (
            RouteSpec("POST", "/routing/explain", "explain_route", self.explain),
            RouteSpec("GET", "/power-level/comparison", "compare_power_levels", self.compare),
        )

    async def explain(self, context: CurrentTenant, body: ExplainRouteBody) -> RoutePreview:
        """Return how a request would be routed now, and why. Nothing is sent to a provider, held or recorded."""
        token = None
        if body.client_token is not None:
            found = await self._services.read(TOKEN_LIST, ListClientTokens(tenant=context.tenant))
            token = own_tokens.find(context, found.tokens, body.client_token)
        decision = await self._services.read(ROUTE_EXPLAIN, body.to_question(context.tenant, token))
        return RoutePreview(decision=decision, explained=explain(decision))

    async def compare(self, context: CurrentTenant, query: Annotated[ComparisonQuery, Query()]) -> PowerLevelComparison:
        """Compare the power levels on the tenant's own traffic: models, a month's money, quality and P95.

        A sample of past requests is planned again as if the tenant had saved each level, and charged by the prices in force.
        """
        command = ComparePowerLevels(tenant=context.tenant, days=query.days)
        return await self._services.read(POWER_LEVEL_COMPARE, command, timeout_seconds=RULES_SECONDS)
