"""Publishes health: entries in the bucket `health`, and an event for every change.

The bucket is also the monitor's persistent state: a starting process restores it, and a running one reads it every few
seconds, so that two processes agree on open circuits. No request waits for any of this. While the bus is unavailable changes
are queued in memory, and every published entry expires by itself at its `until`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from nats.errors import Error as NatsError

from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.health import Health, Target
from keyferry.contracts.topology import HEALTH_CHANGED, HEALTH_VIEW
from keyferry.runtime.backoff import Backoff
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.views import COMPLETE, SnapshotFailed, ViewWriter, snapshot
from services.health_monitor.registry import TargetHealthRegistry

_log = logging.getLogger(__name__)

_TICK_SECONDS = 1.0
_FOLLOW_SECONDS = 2.0
_FOLLOW_SHARE = 20
"""Reading the bucket may take a twentieth of the time: deleted keys leave markers, which are read as well."""
_PUBLISH_TIMEOUT_SECONDS = 5.0
_RETRIES = Backoff(first_seconds=0.25, longest_seconds=5.0)
_MAX_WAITING_EVENTS = 10_000
_UNAVAILABLE = (NatsError, SnapshotFailed, OSError, TimeoutError)
"""Errors while the bus is unavailable; nats-py's own timeouts are TimeoutErrors too."""


class HealthPublisher:
    """Keeps the bucket in line with the registry and publishes its changes. `clock` returns the time in UTC."""

    def __init__(self, bus: Bus, registry: TargetHealthRegistry, clock: Callable[[], datetime]) -> None:
        self._bus = bus
        self._registry = registry
        self._clock = clock
        self._unwritten: dict[str, Target] = {}
        self._events: deque[Health] = deque(maxlen=_MAX_WAITING_EVENTS)
        self._wake = asyncio.Event()
        self._event_came = asyncio.Event()
        self._idle = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._follow_at = 0.0
        self.synced = False
        """Whether the bucket has been reconciled since the start."""

    @property
    def waiting(self) -> int:
        """Number of entries and events that are still to be published."""
        return len(self._unwritten) + len(self._events)

    def enqueue(self, health: Health) -> None:
        """Publish a change soon. Never blocks; of more than 10,000 queued events the oldest are dropped."""
        self._unwritten[health.target.key] = health.target
        self._events.append(health)
        self._idle.clear()
        self._wake.set()
        self._event_came.set()
        _log.info(
            "health changed",
            extra={
                "provider": health.target.provider,
                "endpoint": health.target.endpoint,
                "tenant": health.target.tenant,
                "model": health.target.model,
                "state": health.state.value,
                "reason": health.reason,
            },
        )

    def rewrite(self, target: Target) -> None:
        """Write the entry of a target again soon, without an event: its time has changed, and its state has not."""
        self._unwritten[target.key] = target
        self._idle.clear()
        self._wake.set()

    async def start(self) -> None:
        """Start; `synced` is set once the bucket is reconciled."""
        self._tasks = [
            asyncio.create_task(self._keep_bucket(), name="keep the health bucket"),
            asyncio.create_task(self._announce(), name="announce health"),
        ]

    async def flush(self, within_seconds: float) -> None:
        """Wait until everything is published, but no longer than this."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                while self.waiting:
                    self._idle.clear()
                    self._wake.set()
                    await self._idle.wait()

    async def stop(self) -> None:
        """Stop; the bucket stays as it is."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- internals: the bucket

    async def _keep_bucket(self) -> None:
        failures = 0
        while True:
            self._tick()
            try:
                if not self.synced:
                    await self._restore_and_reconcile()
                await self._write()
                await self._follow()
            except Exception as error:  # the loop must survive any failure; the registry still knows what to write
                _log_failure("the health bucket cannot be updated, retrying", error)
                await asyncio.sleep(_RETRIES.delay_seconds(failures))
                failures += 1
                continue
            failures = 0
            self._settle()
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK_SECONDS):
                    await self._wake.wait()
            self._wake.clear()

    def _tick(self) -> None:
        for health in self._registry.tick(self._clock()):
            self.enqueue(health)

    async def _restore_and_reconcile(self) -> None:
        """Restore the bucket's entries, close expired circuits, and mark the bucket as complete."""
        writer = ViewWriter(self._bus.client, HEALTH_VIEW)
        await self._restore()
        self._tick()
        changes = await writer.reconcile({key: entry.encode() for key, entry in self._registry.entries().items()})
        self.synced = True
        _log.info(
            "the health bucket is reconciled", extra={"changes": changes, "entries": len(self._registry.entries())}
        )

    async def _follow(self) -> None:
        """Read the bucket now and then: during a handover another process writes it too."""
        clock = asyncio.get_running_loop().time
        began = clock()
        if began < self._follow_at:
            return
        if not await self._restore():
            self.synced = False
        self._follow_at = clock() + max(_FOLLOW_SECONDS, (clock() - began) * _FOLLOW_SHARE)

    async def _restore(self) -> bool:
        """Restore the registry from the bucket; return whether the bucket is marked as complete."""
        raw, _ = await snapshot(self._bus.client, HEALTH_VIEW)
        whole = raw.pop(COMPLETE, None) is not None
        entries = {key: entry for key, value in raw.items() if (entry := _entry(key, value)) is not None}
        self._registry.restore(entries, now=self._clock(), ours=self._unwritten)
        return whole

    async def _write(self) -> None:
        writer = ViewWriter(self._bus.client, HEALTH_VIEW)
        while self._unwritten:
            key, target = next(iter(self._unwritten.items()))
            entry = self._registry.entry(target)
            if entry is None:
                await writer.delete(key)
            else:
                await writer.put(key, entry.encode())
            if self._registry.entry(target) is entry:
                del self._unwritten[key]

    # --- internals: events

    async def _announce(self) -> None:
        failures = 0
        while True:
            await self._event_came.wait()
            self._event_came.clear()
            while self._events:
                health = self._events[0]
                try:
                    await self._publish(health)
                except Exception as error:  # the loop must survive any failure; the event stays first in the queue
                    _log_failure("a change of health cannot be stored, retrying", error)
                    await asyncio.sleep(_RETRIES.delay_seconds(failures))
                    failures += 1
                    continue
                failures = 0
                if self._events and self._events[0] is health:
                    self._events.popleft()
            self._settle()

    async def _publish(self, health: Health) -> None:
        await self._bus.jetstream.publish(
            HEALTH_CHANGED.format(provider=health.target.provider),
            self._registry.to_change(health).encode(),
            timeout=_PUBLISH_TIMEOUT_SECONDS,
            headers={"Nats-Msg-Id": health.change_id},
        )

    def _settle(self) -> None:
        if not self.waiting:
            self._idle.set()


def _log_failure(what: str, error: Exception) -> None:
    """Log a failure, with its traceback unless the bus is merely unavailable."""
    unavailable = isinstance(error, _UNAVAILABLE)
    _log.warning(what, extra={"error": type(error).__name__}, exc_info=None if unavailable else error)


def _entry(key: str, value: bytes) -> Health | None:
    try:
        return Health.decode(value)
    except MalformedMessage as error:
        _log.error("an entry of the health bucket cannot be read", extra={"key": key, "why": error.reason})
        return None
