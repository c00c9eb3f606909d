"""The handler of the ledger's question which teams, members and client tokens exist."""

from collections.abc import Callable
from datetime import datetime

from keyferry.contracts.alert_management import REFERENCE_CHECK_DIRECTORY
from keyferry.contracts.alert_references import CheckReferences, MissingReferences
from keyferry.runtime.bus.connection import Bus
from services.tenant_directory.reference_store import ReferenceStore
from services.tenant_directory.references import describe_missing
from services.tenant_directory.refusal import refuse_errors

_UNREAD = "so it cannot look them up: try again in a moment"


class ReferenceHandlers:
    """Says what does not exist. The handler raises Refused."""

    def __init__(self, store: ReferenceStore, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    def register(self, bus: Bus) -> None:
        """Subscribe to the request. Call before the bus is started."""
        bus.respond(REFERENCE_CHECK_DIRECTORY, self.check)

    async def check(self, command: CheckReferences) -> MissingReferences:
        """Return which of a tenant's teams, members and client tokens do not exist."""
        async with refuse_errors(_UNREAD):
            known = await self._store.look_up(command.tenant, command.references, self._clock())
        return MissingReferences(missing=describe_missing(command.references, known))
