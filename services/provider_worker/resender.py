"""Publishes finished attempts again until the ledger has confirmed them."""

import asyncio
import time
from contextlib import suppress

from keyferry.runtime.bus.publishing import BatchPublisher
from keyferry.runtime.concurrency import cancel_and_wait
from services.provider_worker.spool import Spool

_INTERVAL_SECONDS = 1.0
_POLL_SECONDS = 0.01
_MAX_RESULTS = 1000
"""Results published again per interval: what piled up in a long outage of the ledger must not crowd out what is new."""


class Resender:
    """Retries the whole path to the ledger's tables; the publisher itself retries only the publish to the stream."""

    def __init__(self, spool: Spool, publisher: BatchPublisher) -> None:
        self._spool = spool
        self._publisher = publisher
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Publish at once what an earlier process left, and from then on whatever stays unconfirmed for too long."""
        self._resend()
        self._task = asyncio.create_task(self._run(), name="resend attempts")

    async def stop(self) -> None:
        """Stop publishing."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def until_confirmed(self, within_seconds: float) -> int:
        """Wait until the ledger has confirmed everything, and return how many attempts it has not confirmed in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                while self._spool.unconfirmed:  # noqa: ASYNC110 - once, at the end of the process's life
                    await asyncio.sleep(_POLL_SECONDS)
        return self._spool.unconfirmed

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL_SECONDS)
            self._resend()

    def _resend(self) -> None:
        for result in self._spool.due(time.monotonic(), _MAX_RESULTS):
            self._publisher.put(result.line, result.attempt_id)
