"""Reports to the ledger how far this worker's attempts that hold credit are settled.

The watermark travels in the heads of the batches of attempts, and in a batch of its own while there are none. The ledger gives
credit back that nobody has spent only once every worker it knows has come so far; so a worker begins no attempt that holds
credit before the stream has its first watermark.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from keyferry.contracts.credit import LEASE_MS, RETIRED_UNIX_MS, Reservation
from keyferry.contracts.usage import AttemptRecord
from keyferry.runtime.bus.publishing import BatchPublisher
from keyferry.runtime.concurrency import cancel_and_wait
from services.provider_worker.settlement import SettlementTracker

_log = logging.getLogger(__name__)

_BUSY_SECONDS = 1.0
_START_SECONDS = 2.0
"""So long a starting worker waits for its first watermark to be stored."""
_IDLE_SECONDS = 5.0
"""Without attempts that hold credit: others' leases are given back so much later."""


class Watermarks:
    """The unsettled attempts of one worker process, and the reports about them."""

    def __init__(self, unix_ms: Callable[[], int]) -> None:
        self._unix_ms = unix_ms
        self._tracker = SettlementTracker()
        self._left_over: dict[int, str] = {}
        """By place in the spool, what an earlier process left: it may be confirmed before it is published again."""
        self._is_known = False
        """Whether the stream has a watermark of this process."""
        self._known = asyncio.Event()
        self._generation = 0
        """How often the clock was set back so far that the earlier watermarks do not count any more."""
        self._reported = 0
        """The generation of the watermark in the batch that is published."""
        self._publisher: BatchPublisher | None = None
        self._retired = False
        self._busy_until = 0.0
        self._task: asyncio.Task[None] | None = None

    def restore(self, left_over: Iterable[AttemptRecord]) -> None:
        """Count what an earlier process left in the spool as unsettled."""
        holding = [(record, record.reservation) for record in left_over if record.reservation is not None]
        self._left_over = {record.spool_seq: record.attempt_id for record, _ in holding}
        self._tracker.restore((record.attempt_id, reservation) for record, reservation in holding)

    def on_confirmed(self, spool_seqs: Iterable[int]) -> None:
        """Note that the ledger has these records of the spool."""
        for seq in spool_seqs if self._left_over else ():
            if (attempt_id := self._left_over.pop(seq, None)) is not None:
                self._tracker.settled(attempt_id)

    def begin(self, attempt_id: str, reservation: Reservation | None) -> bool:
        """Count an attempt as unsettled, before its intent is written; return False if it may not be begun."""
        if reservation is None:
            return True
        if not self._is_known or self._retired:
            return False
        now_ms = self._unix_ms()
        if self._tracker.forget_false_promise(now_ms):
            self._report_anew()
            return False
        self._busy_until = time.monotonic() + LEASE_MS / 1000
        return self._tracker.begin(attempt_id, reservation, now_ms)

    def abandon(self, attempt_id: str) -> None:
        """Note that an attempt was not begun after all."""
        self._tracker.settled(attempt_id)

    def current(self) -> int:
        """Return the watermark for the head of the next batch."""
        self._reported = self._generation
        return RETIRED_UNIX_MS if self._retired else self._tracker.watermark(self._unix_ms())

    def on_stored(self, attempt_ids: Sequence[str]) -> None:
        """Note that the stream has a batch with the records of these attempts."""
        self._is_known = self._reported == self._generation
        self._known.set()
        for attempt_id in attempt_ids:
            self._tracker.settled(attempt_id)

    async def start(self, publisher: BatchPublisher) -> None:
        """Begin to report, and wait a moment until the stream knows the worker: it would refuse what it gets before."""
        self._publisher = publisher
        publisher.put_mark()
        self._task = asyncio.create_task(self._report(publisher), name="report watermarks")
        with suppress(TimeoutError):
            async with asyncio.timeout(_START_SECONDS):
                await self._known.wait()

    async def stop(self) -> None:
        """Stop reporting."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def retire(self, publisher: BatchPublisher, within_seconds: float) -> None:
        """Report that no attempt begins here any more, if every record is stored: no credit waits for this worker then."""
        if self._tracker.retire() is None:
            return
        self._retired = True
        publisher.put_mark()
        await publisher.flush(within_seconds)

    def _report_anew(self) -> None:
        """Begin as a new process does, since the clock was ahead until now: wait for a watermark to be stored."""
        _log.warning(
            "the clock was set back by minutes; no credit is spent until the ledger's stream has a new watermark"
        )
        self._is_known = False
        self._generation += 1
        if self._publisher is not None:
            self._publisher.put_mark()

    async def _report(self, publisher: BatchPublisher) -> None:
        since = 0.0
        while True:
            await asyncio.sleep(_BUSY_SECONDS)
            since += _BUSY_SECONDS
            if time.monotonic() < self._busy_until or since >= _IDLE_SECONDS:
                publisher.put_mark()
                since = 0.0
