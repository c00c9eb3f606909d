"""Handlers of the requests about internal services."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from nats.errors import Error as NatsError

from keyferry.contracts.internal_services import (
    INTERNAL_SERVICE_CREATE,
    INTERNAL_SERVICE_LIST,
    INTERNAL_SERVICE_REVOKE,
    INTERNAL_SERVICES_CHANGED,
    CreateInternalService,
    InternalService,
    InternalServices,
    InternalServicesChanged,
    ListInternalServices,
    RevokeInternalService,
)
from keyferry.runtime.bus.connection import Bus
from services.tenant_directory.internal_service_store import InternalServiceStore
from services.tenant_directory.refusal import UNKNOWN_OUTCOME, reading, refuse_errors


class InternalServiceHandlers:
    """Handlers of one process, like `Handlers`. Every handler raises Refused if it cannot do what was requested."""

    def __init__(
        self, bus: Bus, store: InternalServiceStore, committed: Callable[[], None], clock: Callable[[], datetime]
    ) -> None:
        self._bus = bus
        self._store = store
        self._committed = committed
        self._clock = clock

    def register(self) -> None:
        """Subscribe to the subjects about internal services."""
        self._bus.respond(INTERNAL_SERVICE_CREATE, self.create)
        self._bus.respond(INTERNAL_SERVICE_LIST, self.list)
        self._bus.respond(INTERNAL_SERVICE_REVOKE, self.revoke)

    async def create(self, command: CreateInternalService) -> InternalService:
        """Register a service by its public keys."""
        async with refuse_errors(UNKNOWN_OUTCOME):
            service = await self._store.create(command, self._clock())
        await self._announce(service)
        return service

    async def revoke(self, command: RevokeInternalService) -> InternalService:
        """Revoke a service; a second time keeps the first time of revocation."""
        async with refuse_errors(UNKNOWN_OUTCOME):
            service = await self._store.revoke(command, self._clock())
        await self._announce(service)
        return service

    async def list(self, command: ListInternalServices) -> InternalServices:
        """Return the services of a tenant, or of all."""
        async with reading():
            return InternalServices(services=await self._store.list(command))

    async def _announce(self, service: InternalService) -> None:
        """Publish a committed change: to the view, and so that the server's users are rendered again."""
        self._committed()
        changed = InternalServicesChanged(tenant=service.tenant, name=service.name)
        with suppress(NatsError):  # the change is committed, and the renderer of the users looks from time to time
            await self._bus.client.publish(INTERNAL_SERVICES_CHANGED.format(), changed.encode())
