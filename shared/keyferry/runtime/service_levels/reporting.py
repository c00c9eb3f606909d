"""Reports a process's counts of good and bad events to the usage ledger, a few times a minute and at its end.

The ledger is asked to confirm: what it did not is reported again, so an outage of the ledger loses nothing for 20 hours. What a
process that is killed counted since its last report is lost.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from nats.errors import Error as NatsError

from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.service_levels import SERVICE_LEVEL_REPORT, ReportServiceLevels, ServiceLevelName
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.service_levels.counting import ServiceLevelCounts

_log = logging.getLogger(__name__)

_EVERY_SECONDS = 10.0
_TIMEOUT_SECONDS = 3.0
_LAST_TIMEOUT_SECONDS = 1.0
"""At the end of the process, which must not wait long for a ledger that is away."""


class ServiceLevelReporter:
    """Counts events and reports them, in one process."""

    def __init__(self, service: Service, clock: Callable[[], datetime] | None = None) -> None:
        self.counts = ServiceLevelCounts()
        self._service = service
        self._clock = clock or partial(datetime.now, UTC)
        self._task: asyncio.Task[None] | None = None

    def attach(self) -> "ServiceLevelReporter":
        """Report while the service runs, and once more when its work is finished."""
        self._service.metrics.counter(
            "keyferry_service_level_events_total",
            "Events that count for an objective, by whether they were good.",
            self._readings,
            ("level", "result"),
        )
        self._service.opens(self.start, self.stop)
        self._service.drains(partial(self.report, _LAST_TIMEOUT_SECONDS))
        return self

    def add(self, name: ServiceLevelName, good: bool) -> None:
        """Count an event that ends now."""
        self.counts.add(name, good, self._clock())

    def _readings(self) -> dict[tuple[str, ...], float]:
        return {
            (name.value, result): total
            for name, totals in self.counts.totals.items()
            for result, total in zip(("good", "bad"), totals, strict=True)
        }

    async def start(self) -> None:
        """Begin to report."""
        self._task = asyncio.create_task(self._run(), name="report service levels")

    async def stop(self) -> None:
        """Stop reporting."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def report(self, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        """Report what is not recorded yet, if there is anything. What cannot be sent is sent with the next report."""
        pending = self.counts.pending()
        if not pending:
            return
        bus = self._service.bus
        message = ReportServiceLevels(instance_id=bus.instance_id, service=bus.role.value, counts=pending)
        try:
            await bus.ask(SERVICE_LEVEL_REPORT, message, timeout_seconds=timeout_seconds)
        except (BusError, Refused, NatsError, MalformedMessage) as error:
            _log.info("service levels cannot be reported now", extra={"reason": type(error).__name__})
            return
        self.counts.confirm(pending, self._clock())

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            await self.report()
