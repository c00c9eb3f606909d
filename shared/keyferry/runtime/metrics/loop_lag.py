"""How late the event loop runs what is due: the sign that a process has more work than one core."""

import asyncio

from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.metrics import buckets
from keyferry.runtime.metrics.registry import BoundedHistogram

_EVERY_SECONDS = 0.5
_LAG = BoundedHistogram(
    "keyferry_event_loop_lag_seconds",
    "How late the event loop ran a timer; sampled twice a second.",
    buckets=buckets.LOOP_LAG,
)


class LoopLag:
    """Samples the event loop of this process."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to sample."""
        self._task = asyncio.create_task(_sample(), name="event loop lag")

    async def stop(self) -> None:
        """Stop sampling."""
        if self._task is not None:
            await cancel_and_wait(self._task)


async def _sample() -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _EVERY_SECONDS
        await asyncio.sleep(_EVERY_SECONDS)
        _LAG.observe(max(0.0, loop.time() - due))
