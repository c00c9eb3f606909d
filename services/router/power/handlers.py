"""Handlers of requests about learned quality, and of estimates."""

from collections.abc import Callable

from keyferry.contracts.estimates import CostEstimate, EstimateCost
from keyferry.contracts.features import AUTO_MODEL
from keyferry.contracts.feedback import FeedbackPreview, PreviewFeedback
from keyferry.contracts.routing_management import COST_ESTIMATE, FEEDBACK_PREVIEW
from keyferry.runtime.bus.connection import Bus
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.power.estimates import EstimateRates, estimate_request
from services.router.power.preview import preview_ranks
from services.router.power.quality import QualityTable
from services.router.power.ratings import LearnedQuality
from services.router.unreadable import require_tenant


class PreviewHandlers:
    """Shows what ratings would change. Raises Refused."""

    def __init__(
        self,
        context_of: Callable[[str], RoutingContext],
        learned_of: Callable[[str], LearnedQuality],
        quality: QualityTable,
    ) -> None:
        self._context_of = context_of
        self._learned_of = learned_of
        self._quality = quality

    def register(self, bus: Bus) -> None:
        """Subscribe to the request. Call before the bus is started."""
        bus.respond(FEEDBACK_PREVIEW, self.preview)

    async def preview(self, command: PreviewFeedback) -> FeedbackPreview:
        """Return how a tenant's ratings would change the ranks of models."""
        context = self._context_of(command.tenant)
        require_tenant(command.tenant, context)
        asked = RouteRequest(command.tenant, AUTO_MODEL, operation=command.operation)
        return preview_ranks(
            command.tenant,
            context.catalog,
            self._quality,
            self._learned_of(command.tenant),
            operation=command.operation,
            applied=context.preferences(asked).learned_quality,
        )


class EstimateHandlers:
    """Says what requests would cost. Raises Refused."""

    def __init__(self, context_of: Callable[[str], RoutingContext], rates_of: Callable[[], EstimateRates]) -> None:
        self._context_of = context_of
        self._rates_of = rates_of

    def register(self, bus: Bus) -> None:
        """Subscribe to the request. Call before the bus is started."""
        bus.respond(COST_ESTIMATE, self.estimate)

    async def estimate(self, command: EstimateCost) -> CostEstimate:
        """Return what a tenant's request would cost."""
        context = self._context_of(command.tenant)
        require_tenant(command.tenant, context)
        request = RouteRequest(
            command.tenant,
            command.model,
            kind=command.kind,
            prefer_own_keys=command.prefer_own_keys,
            team=command.team,
            member=command.member,
            operation=command.operation,
            power_level=command.power_level,
            features=command.features,
        )
        return estimate_request(request, context, self._rates_of())
