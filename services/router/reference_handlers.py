"""The handler of the ledger's question which providers and models are unknown."""

from collections.abc import Callable

from keyferry.contracts.alert_management import REFERENCE_CHECK_ROUTER
from keyferry.contracts.alert_references import CheckReferences, MissingReferences
from keyferry.contracts.provider_edits import ProviderEntry
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.views import KvView
from services.router.planning.context import RoutingContext
from services.router.references import find_missing


class ReferenceQuestions:
    """Says what is unknown, once the views have arrived that know it. The handler raises Refused."""

    def __init__(
        self,
        context_of: Callable[[str], RoutingContext],
        knows_models: Callable[[], bool],
        providers: KvView[ProviderEntry],
    ) -> None:
        self._context_of = context_of
        self._knows_models = knows_models
        self._providers = providers

    def register(self, bus: Bus) -> None:
        """Subscribe to the request. Call before the bus is started."""
        bus.respond(REFERENCE_CHECK_ROUTER, self.check)

    async def check(self, command: CheckReferences) -> MissingReferences:
        """Return which providers and models are unknown."""
        context = self._context_of(command.tenant)
        if context.unreadable is not None or not self._knows_models():
            message = "the router does not know at the moment which models there are: try again later"
            raise Refused(ErrorCode.UNAVAILABLE, message)
        return MissingReferences(missing=find_missing(command.references, context, self._providers.unreadable))
