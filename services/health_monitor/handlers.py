"""Handlers of the health monitor: batches of attempts, requests for the health of targets, and operators' overrides."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from nats.aio.msg import Msg

from keyferry.contracts.health import ForceHealth, Health, HealthList, ListHealth, Override, ReleaseHealth
from keyferry.contracts.topology import ATTEMPT_FINISHED, HEALTH_FORCE, HEALTH_LIST, HEALTH_RELEASE
from keyferry.runtime.bus.connection import Bus
from services.health_monitor.attempt_batches import decode_attempts
from services.health_monitor.overrides import OverrideKeeper
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
        overrides: OverrideKeeper,
    ) -> None:
        self._registry = registry
        self._overrides = overrides
        self._on_change = on_change
        self._short_timeout = short_timeout
        self._clock = clock
        self._jitter = jitter

    def register(self, bus: Bus) -> None:
        """Subscribe on `bus` to the monitor's subjects of the topology."""
        bus.pull(ATTEMPT_FINISHED, self.on_attempts)
        bus.respond(HEALTH_LIST, self.list_health)
        bus.respond(HEALTH_FORCE, self.force)
        bus.respond(HEALTH_RELEASE, self.release)

    async def on_attempts(self, messages: list[Msg]) -> None:
        """Record batches of attempts. Never raises for their content, so that all are acknowledged."""
        for message in messages:
            self._take(message)
            # A batch can hold tens of thousands of records; let requests be answered in between.
            await asyncio.sleep(0)

    async def list_health(self, command: ListHealth) -> HealthList:
        """Return the health of the recently used targets that the tenant can reach, and the overrides of those."""
        overrides = [
            override
            for override in self._overrides.active()
            if command.tenant is None or override.tenant in (None, command.tenant)
        ]
        return HealthList(
            targets=self._registry.visible_to(command.tenant, self._clock()),
            overrides=overrides,
            left_out=self._registry.left_out(command.tenant),
        )

    async def force(self, command: ForceHealth) -> Override:
        """Force circuits open or closed for a time."""
        return await self._overrides.force(command)

    async def release(self, command: ReleaseHealth) -> Override:
        """End an override before its time."""
        return await self._overrides.release(command)

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
