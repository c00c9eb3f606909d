"""Publishes how fast targets answer: entries in the bucket `latency`, at most every ten seconds for each target.

The bucket also says after a start which targets were in use, so that their addresses are probed again.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from nats.errors import Error as NatsError
from nats.js.errors import APIError

from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.health import LatencySummary
from keyferry.contracts.topology import LATENCY_VIEW
from keyferry.runtime.backoff import Backoff
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.views import COMPLETE, SnapshotFailed, ViewWriter, snapshot
from services.health_monitor.registry import TargetHealthRegistry

_log = logging.getLogger(__name__)

_ROUND_SECONDS = 2.0
_CLEANING_ROUNDS = 30
_RETRIES = Backoff(first_seconds=0.25, longest_seconds=5.0)
_UNAVAILABLE = (NatsError, APIError, SnapshotFailed, OSError, TimeoutError)


class LatencyPublisher:
    """Keeps the bucket in line with the registry. `clock` returns the time in UTC."""

    def __init__(self, bus: Bus, registry: TargetHealthRegistry, clock: Callable[[], datetime]) -> None:
        self._bus = bus
        self._registry = registry
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start to publish in the background."""
        self._task = asyncio.create_task(self._run(), name="publish latency")

    async def stop(self) -> None:
        """Stop; the bucket stays as it is."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def _run(self) -> None:
        failures, rounds, restored = 0, 0, False
        while True:
            try:
                if not restored:
                    await self._restore()
                    restored = True
                if rounds % _CLEANING_ROUNDS == 0:
                    await self._clean()
                await self._publish()
            except _UNAVAILABLE as error:
                _log.warning("latency cannot be published, retrying", extra={"error": type(error).__name__})
                await asyncio.sleep(_RETRIES.delay_seconds(failures))
                failures += 1
                continue
            failures, rounds = 0, rounds + 1
            await asyncio.sleep(_ROUND_SECONDS)

    async def _restore(self) -> None:
        raw, _ = await snapshot(self._bus.client, LATENCY_VIEW)
        raw.pop(COMPLETE, None)
        found = (_summary(key, value) for key, value in raw.items())
        self._registry.restore_latency([summary for summary in found if summary is not None], now=self._clock())

    async def _clean(self) -> None:
        """Write what a failed round has left out, and remove the entries of targets that nobody has used for a day.

        Another process may have written newer entries, or those of targets that only it knows.
        """
        writer = ViewWriter(self._bus.client, LATENCY_VIEW)
        raw, _ = await snapshot(self._bus.client, LATENCY_VIEW)
        if raw.pop(COMPLETE, None) is None:
            await writer.complete()
        present = {key: _summary(key, value) for key, value in raw.items()}
        for key, summary in present.items():
            if summary is None or self._registry.is_forgotten(summary, self._clock()):
                await writer.delete(key)
        for key, ours in self._registry.summaries().items():
            theirs = present.get(key)
            if theirs is None or theirs.measured_at < ours.measured_at:
                await writer.put(key, ours.encode())

    async def _publish(self) -> None:
        writer = ViewWriter(self._bus.client, LATENCY_VIEW)
        for summary in self._registry.latency_changes(self._clock()):
            await writer.put(summary.target.key, summary.encode())


def _summary(key: str, value: bytes) -> LatencySummary | None:
    try:
        summary = LatencySummary.decode(value)
    except MalformedMessage as error:
        _log.error("an entry of the latency bucket cannot be read", extra={"key": key, "why": error.reason})
        return None
    return summary if summary.target.key == key else None
