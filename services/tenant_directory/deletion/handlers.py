"""Handlers of requests to delete a tenant and of its report."""

from collections.abc import Callable
from datetime import datetime

from keyferry.contracts.erasure import DeleteTenant, GetDeletion, TenantDeletion
from keyferry.contracts.erasure_management import TENANT_DELETE, TENANT_DELETION_GET
from keyferry.runtime.bus.connection import Bus
from services.tenant_directory.deletion.store import DeletionStore
from services.tenant_directory.refusal import UNKNOWN_OUTCOME, reading, refuse_errors


class DeletionHandlers:
    """Handlers of one process. `requested` is called after every request; every handler raises Refused."""

    def __init__(self, store: DeletionStore, requested: Callable[[], None], clock: Callable[[], datetime]) -> None:
        self._store = store
        self._requested = requested
        self._clock = clock

    def register(self, bus: Bus) -> None:
        """Subscribe on `bus`."""
        bus.respond(TENANT_DELETE, self.delete)
        bus.respond(TENANT_DELETION_GET, self.report)

    async def delete(self, command: DeleteTenant) -> TenantDeletion:
        """Suspend a tenant and begin to delete it."""
        async with refuse_errors(UNKNOWN_OUTCOME):
            report = await self._store.request(command, self._clock())
        self._requested()
        return report

    async def report(self, command: GetDeletion) -> TenantDeletion:
        """Return what was removed and kept by now."""
        async with reading():
            return await self._store.report(command.tenant)
