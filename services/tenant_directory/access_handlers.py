"""The handler that records operators' access to tenants."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts.access_management import ACCESS_RECORD, AccessRecorded, RecordAccess
from keyferry.runtime.bus.connection import Bus
from services.tenant_directory.recent_accesses import RecentAccesses
from services.tenant_directory.refusal import refuse_errors
from services.tenant_directory.transactions import lock_tenant, record_audit, transaction

_ACTION = "operator.access"
_NOT_RECORDED = "so the access cannot be recorded: try again in a moment"


class AccessHandlers:
    """Handlers of one process, like `Handlers`. The handler raises Refused if the access cannot be recorded."""

    def __init__(self, engine: AsyncEngine, committed: Callable[[], None], clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._committed = committed
        self._clock = clock
        self._recent = RecentAccesses()
        self._writing = asyncio.Lock()

    def register(self, bus: Bus) -> None:
        """Subscribe to the subject."""
        bus.respond(ACCESS_RECORD, self.record)

    async def record(self, command: RecordAccess) -> AccessRecorded:
        """Add an event to the tenant's audit log, unless one of the last minutes stands for this access."""
        async with self._writing:  # one at a time, so that nobody is answered before the entry is committed
            now = self._clock()
            if self._recent.includes(command, now):
                return AccessRecorded(coalesced=True)
            async with refuse_errors(_NOT_RECORDED), transaction(self._engine) as connection:
                await lock_tenant(connection, command.tenant)
                details = {} if command.source is None else {"source": command.source}
                await record_audit(connection, command.actor, _ACTION, command.tenant, command.resource, details)
            self._recent.add(command, now)
        self._committed()
        return AccessRecorded()
