"""The job that stores months that have ended, so that each keeps the zone that its tenant had when it ended."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import datetime

from keyferry.contracts.tenancy import Tenant
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.usage_ledger.statements.month_store import StatementMonthStore, may_have_ended

EVERY_SECONDS = 900.0
_log = logging.getLogger(__name__)


class MonthClosing:
    """Looks for months that have ended every quarter of an hour, which is when months end in any zone."""

    def __init__(
        self,
        store: StatementMonthStore,
        tenants: Callable[[], Iterable[Tenant]],
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._tenants = tenants
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._repeat(), name="store months that have ended")

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def close_ended(self) -> None:
        """Store the months that have ended. Raises DatabaseUnavailable."""
        now = self._clock()
        ends = await self._store.read_last_ends()
        for tenant in list(self._tenants()):
            if may_have_ended(ends.get(tenant.tenant), tenant.time_zone, now):
                await self._store.list_months(tenant.tenant, tenant.time_zone, now)

    async def _repeat(self) -> None:
        while True:
            try:
                await self.close_ended()
            except DatabaseUnavailable:
                _log.info("months that have ended are stored once PostgreSQL answers again")
            await asyncio.sleep(EVERY_SECONDS)
