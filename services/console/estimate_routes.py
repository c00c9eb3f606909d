"""The route for estimates."""

from keyferry.contracts.estimates import CostEstimate
from keyferry.contracts.routing_management import COST_ESTIMATE
from services.console.access import RouteSpec
from services.console.estimate_bodies import EstimateBody
from services.console.service_client import ServiceClient
from services.console.tenant_context import CurrentTenant


class EstimateRoutes:
    """The route `/estimates`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        return (RouteSpec("POST", "/estimates", "estimate_cost", self.estimate),)

    async def estimate(self, context: CurrentTenant, body: EstimateBody) -> CostEstimate:
        """Estimate what a request would cost its provider and the tenant, for its model and for every power level.

        Nothing is sent to a provider, nothing is reserved, and no decision is recorded.
        """
        return await self._services.read(COST_ESTIMATE, body.to_command(context.tenant))
