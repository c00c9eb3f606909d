"""How far attempts are recorded: from the position of the ledger's consumer in their stream, and the watermarks of workers.

A worker that has died with records in its spool reports no newer watermark, so nothing is complete that began later: until it
runs again, or an operator declares it lost.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import APIError

from keyferry.contracts.credit import LEASE_MS
from keyferry.contracts.topology import ATTEMPT_FINISHED, Role
from keyferry.runtime.concurrency import cancel_and_wait

_log = logging.getLogger(__name__)

_EVERY_SECONDS = 1.0
_MAX_MARKS = 3_600
_LEASE = timedelta(milliseconds=LEASE_MS)
"""An attempt that is unsettled at a watermark began at most so long before its reservation ends."""
_SPOOL = timedelta(seconds=5)
"""From the end of an attempt until its record is in the stream, as long as its worker runs and reaches the bus."""


class IngestMarks:
    """Moments with the last record that was in the stream then: once all up to it are recorded, so is all of before."""

    def __init__(self) -> None:
        self._marks: deque[tuple[datetime, int]] = deque(maxlen=_MAX_MARKS)
        self.recorded_until: datetime | None = None

    def note(self, at: datetime, last: int, recorded: int) -> None:
        """Note that at a moment `last` was the last record in the stream, and that all up to `recorded` are recorded."""
        self._marks.append((at, last))
        while self._marks and self._marks[0][1] <= recorded:
            self.recorded_until = self._marks.popleft()[0]


class IngestPosition:
    """Follows the consumer of attempts of all ledger processes together."""

    def __init__(
        self,
        jetstream: Callable[[], JetStreamContext],
        clock: Callable[[], datetime],
        longest_attempt: timedelta,
        settled_until: Callable[[], datetime | None],
    ) -> None:
        self._jetstream = jetstream
        self._clock = clock
        self._longest_attempt = max(longest_attempt, _LEASE)
        self._settled_until = settled_until
        self.marks = IngestMarks()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to follow it."""
        self._task = asyncio.create_task(self._follow(), name="follow the position of ingestion")

    async def stop(self) -> None:
        """Stop following it."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    def complete_until(self) -> datetime | None:
        """Return before when every attempt began that is recorded; an attempt in progress may have begun later."""
        recorded, settled = self.marks.recorded_until, self._settled_until()
        if recorded is None or settled is None:
            return None
        return min(recorded, settled) - self._longest_attempt - _SPOOL

    async def _follow(self) -> None:
        while True:
            try:
                await self._note()
            except (NatsError, APIError, TimeoutError) as error:
                _log.debug("the position of ingestion is not known: %s", type(error).__name__)
            await asyncio.sleep(_EVERY_SECONDS)

    async def _note(self) -> None:
        at = self._clock().astimezone(UTC)
        found = await self._jetstream().consumer_info(ATTEMPT_FINISHED.stream or "", Role.USAGE_LEDGER.value)
        if found.delivered is None or found.ack_floor is None:
            return
        last = found.delivered.stream_seq + (found.num_pending or 0)
        # The floor stands still at the last message once everything is acknowledged.
        recorded = last if not found.num_pending and not found.num_ack_pending else found.ack_floor.stream_seq
        self.marks.note(at, last, recorded)
