"""Handlers of the health monitor: batches of attempts from the stream, and requests for the health of targets."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from nats.aio.msg import Msg

from keyferry.contracts.health import Health, HealthList, ListHealth
from keyferry.contracts.topology import ATTEMPT_FINISHED, HEALTH_LIST
from keyferry.runtime.bus.connection import Bus
from services.health_monitor.attempt_batches import decode_attempts
from services.health_monitor.registry import TargetHealthRegistry

Clock = Callable[[], datetime]


class Handlers:
    """Handlers of one process.

    `on_change` receives every change of a target's health and does not block. `clock` returns the time in UTC, `jitter` numbers
    from 0 to 1. `short_timeout` as in `evidence.attempt_of`.
    """

    def __init__(
        self,
        registry: TargetHealthRegistry,
        *,
        on_change: Callable[[Health], None],
        short_timeout: timedelta,
        clock: Clock,
        jitter: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._on_change = on_change
        self._short_timeout = short_timeout
        self._clock = clock
        self._jitter = jitter

    def register(self, bus: Bus) -> None:
        """Subscribe on `bus` to the monitor's subjects of the topology."""
        bus.pull(ATTEMPT_FINISHED, self.on_attempts)
        bus.respond(HEALTH_LIST, self.list_health)

    async def on_attempts(self, messages: list[Msg]) -> None:
        """Record batches of attempts. Never raises for their content, so that all are acknowledged."""
        for message in messages:
            self._take(message)
            # A batch can hold tens of thousands of records; let requests be answered in between.
            await asyncio.sleep(0)

    async def list_health(self, command: ListHealth) -> HealthList:
        """Return the health of the recently seen targets that the tenant can reach."""
        return HealthList(targets=self._registry.visible_to(command.tenant, self._clock()))

    def _take(self, message: Msg) -> None:
        now, stored_at = self._clock(), message.metadata.timestamp
        if self._registry.is_stale(stored_at, now):
            # After a long outage there are days of batches, which are all too old to matter.
            self._registry.counters.stale += 1
            return
        for attempt in decode_attempts(
            message.subject, message.data, stored_at=stored_at, short_timeout=self._short_timeout
        ):
            for change in self._registry.record(attempt, now=now, jitter=self._jitter()):
                self._on_change(change)
