"""Has workers probe idle addresses, and records what they find: without a key, and without cost."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta

from keyferry.contracts.health import Health, Target
from keyferry.contracts.route import Endpoint, EndpointProbe, ProbeEndpoint
from keyferry.runtime.bus.requests import BusError
from keyferry.runtime.concurrency import cancel_and_wait
from services.health_monitor.idle_addresses import IdleAddress, idle_addresses, is_reachable
from services.health_monitor.probe_schedule import ProbeSchedule
from services.health_monitor.registry import TargetHealthRegistry

_log = logging.getLogger(__name__)

_ROUND_SECONDS = 5.0
_PER_ROUND = 20
_AT_ONCE = 4
"""Probes that workers run for the monitor at the same time."""

Probe = Callable[[ProbeEndpoint], Awaitable[EndpointProbe]]
"""Has a worker try an address. Raises BusError if none answers."""


class AddressProber:
    """Probes addresses that no attempt has called for `idle`. `clock` returns the time in UTC.

    `on_change` receives changes of health, `on_extended` targets that stay open for longer.
    """

    def __init__(
        self,
        registry: TargetHealthRegistry,
        *,
        endpoints: Callable[[], Iterable[Endpoint]],
        probe: Probe,
        on_change: Callable[[Health], None],
        on_extended: Callable[[Target], None],
        clock: Callable[[], datetime],
        idle: timedelta,
    ) -> None:
        self._registry = registry
        self._endpoints = endpoints
        self._probe = probe
        self._on_change = on_change
        self._on_extended = on_extended
        self._clock = clock
        self._idle = idle
        self._schedule = ProbeSchedule(random.random, idle)
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._task: asyncio.Task[None] | None = None
        self.probes = 0
        """Answered probes since the start."""

    async def start(self) -> None:
        """Start to probe in the background."""
        self._task = asyncio.create_task(self._run(), name="probe idle addresses")

    async def stop(self) -> None:
        """Stop probing."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def probe_due(self) -> None:
        """Probe what is due now, and return when all are answered."""
        now = self._clock()
        idle = idle_addresses(self._registry.targets(), self._endpoints(), now=now, idle=self._idle)
        due = self._schedule.due(idle.keys(), now, _PER_ROUND)
        await asyncio.gather(*(self._probe_address(origin, idle) for origin in due))

    async def _run(self) -> None:
        while True:
            try:
                await self.probe_due()
            except Exception:  # the loop must survive any failure
                _log.exception("a round of probes failed")
            await asyncio.sleep(_ROUND_SECONDS)

    async def _probe_address(self, origin: str, idle: Mapping[str, IdleAddress]) -> None:
        address = idle[origin]
        async with self._slots:
            try:
                found = await self._probe(ProbeEndpoint(base_url=address.url))
            except BusError as error:
                _log.info("no worker has probed an address", extra={"reason": str(error)})
                return
        self.probes += 1
        reachable, now = is_reachable(found), self._clock()
        self._schedule.record(origin, reachable, now)
        changes = self._registry.record_probe(address.targets.values(), reachable, now=now, jitter=random.random())
        for change in changes:
            self._on_change(change)
        if reachable is False:
            for target in address.targets.values():
                if self._registry.entry(target) is not None:
                    self._on_extended(target)
