"""The handlers of service levels: recording what processes counted, and answering how well objectives are met."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts.service_levels import (
    MAX_PERIOD_DAYS,
    SERVICE_LEVEL_GET,
    SERVICE_LEVEL_REPORT,
    SLOT,
    GetServiceLevels,
    ReportServiceLevels,
    ServiceLevelName,
    ServiceLevels,
    ServiceLevelsRecorded,
)
from keyferry.runtime.bus.connection import Bus
from services.usage_ledger.database_outage import refuse_outages
from services.usage_ledger.service_levels.figures import NONE, assess
from services.usage_ledger.service_levels.store import MeasuredLevel, ServiceLevelStore

_OLDEST = timedelta(days=2)
"""Of a reported slot. A process keeps what is not recorded for 20 hours."""
_AHEAD = timedelta(minutes=10)
"""By which the clock of a process may be ahead."""
_CLEAN_EVERY = timedelta(hours=1)
_KEPT = timedelta(days=MAX_PERIOD_DAYS + 1)
_LEVELS = frozenset(ServiceLevelName)


class ServiceLevelHandlers:
    """Handlers of one process. They raise Refused."""

    def __init__(self, store: ServiceLevelStore, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._cleaned_at: datetime | None = None

    def register(self, bus: Bus) -> None:
        """Subscribe on `bus`."""
        bus.respond(SERVICE_LEVEL_REPORT, self.record)
        bus.respond(SERVICE_LEVEL_GET, self.get)

    async def record(self, report: ReportServiceLevels) -> ServiceLevelsRecorded:
        """Store the counts of known levels whose slots can be right; others are left out, and never asked for again."""
        now = self._clock()
        kept = {
            (each.slot, each.level): each
            for each in report.counts
            if each.level in _LEVELS and now - _OLDEST <= each.slot <= now + _AHEAD
        }
        with refuse_outages():
            if kept:
                await self._store.record(report.instance_id, report.service, list(kept.values()))
            if self._cleaned_at is None or now - self._cleaned_at >= _CLEAN_EVERY:
                self._cleaned_at = now
                await self._store.remove_before(now - _KEPT)
        return ServiceLevelsRecorded(recorded=len(kept))

    async def get(self, command: GetServiceLevels) -> ServiceLevels:
        """Return every objective with what was measured of it."""
        now = self._clock()
        since = now - timedelta(days=command.days)
        with refuse_outages():
            measured = await self._store.measure(since, now)
        nothing = MeasuredLevel(NONE, {}, now)
        first = [each.first_slot for each in measured.values() if each.first_slot > since - SLOT]
        return ServiceLevels(
            as_of=now,
            days=command.days,
            since=since,
            measured_since=min(first, default=None),
            levels=[
                assess(name, (found := measured.get(name, nothing)).period, found.windows) for name in ServiceLevelName
            ],
        )


def serve_service_levels(bus: Bus, engine: AsyncEngine) -> None:
    """Answer on `bus` about the counts in the database of `engine`."""
    ServiceLevelHandlers(ServiceLevelStore(engine), partial(datetime.now, UTC)).register(bus)
