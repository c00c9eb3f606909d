"""Returns the rests of ended leases to their accounts, each second in one process of the ledger, by rule `released_until_ms`."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import Error as JetStreamError

from keyferry.contracts.topology import ATTEMPT_FINISHED, Role, consumer_of
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.usage_ledger.credit.reports import describe_replaced, find_replaced
from services.usage_ledger.credit.rules import StreamMark, passed, released_until_ms
from services.usage_ledger.credit.store import CreditLeaseStore
from services.usage_ledger.credit.worker_store import CreditWorkerStore

_log = logging.getLogger(__name__)

_INTERVAL_SECONDS = 1.0
_CLEAN_EVERY = 60
"""Rounds from one removal of what is no longer needed to the next."""
_MAX_MARKS = 300


@dataclass(frozen=True, slots=True)
class StreamProgress:
    """The last position of the stream of attempts, and how far the ledger has processed it."""

    last: int
    processed: int


ReadProgress = Callable[[], Awaitable[StreamProgress]]
"""Reads the stream's last position first. Raises nats-py's errors."""


async def read_progress(jetstream: JetStreamContext) -> StreamProgress:
    """Read how far the ledger has processed the stream of attempts. Raises nats-py's errors."""
    consumer = consumer_of(Role.USAGE_LEDGER, ATTEMPT_FINISHED)
    stream = await jetstream.stream_info(consumer.stream)
    info = await jetstream.consumer_info(consumer.stream, consumer.durable)
    return StreamProgress(stream.state.last_seq, (info.ack_floor.stream_seq if info.ack_floor else 0) or 0)


class CreditRelease:
    """The job of one process; of several only one finds an ended lease that nobody has locked."""

    def __init__(
        self,
        leases: CreditLeaseStore,
        workers: CreditWorkerStore,
        read: ReadProgress,
        clock: Callable[[], datetime],
        on_released: Callable[[], None] = lambda: None,
        collect_debts: Callable[[datetime], Awaitable[object]] | None = None,
    ) -> None:
        """Release leases; `on_released` is called after some were, and `collect_debts` in each round."""
        self._collect_debts = collect_debts
        self._on_released = on_released
        self._leases = leases
        self._workers = workers
        self._read = read
        self._clock = clock
        self._marks: list[StreamMark] = []
        self._rounds = 0
        self._replaced: dict[tuple[str, str], str] = {}
        self._task: asyncio.Task[None] | None = None
        self.released_until_ms = 0
        """Before this moment leases must have ended to be released, as far as was known in the last round."""

    async def start(self) -> None:
        """Begin to release."""
        self._task = asyncio.create_task(self._run(), name="release credit leases")

    async def stop(self) -> None:
        """Stop releasing."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    def degraded(self) -> list[str]:
        """Return what an operator has to know of spools that others have replaced."""
        return [describe_replaced(worker, spool_id, by) for (worker, spool_id), by in self._replaced.items()]

    def settled_until(self) -> datetime | None:
        """Return the moment before which no known worker has begun an attempt whose record is missing; None if unknown."""
        until_ms = self.released_until_ms
        return datetime.fromtimestamp(until_ms / 1000, UTC) if until_ms > 0 else None

    async def run_round(self) -> int:
        """Release what may be released now; return how many leases that were. Raises DatabaseUnavailable and nats-py's errors."""
        now = self._clock()
        # The time is read before the position, so that whatever the stream had by then is at or below it.
        progress = await self._read()
        if len(self._marks) < _MAX_MARKS:
            self._marks.append(StreamMark(int(now.timestamp() * 1000), progress.last))
        watermarks = await self._workers.list_watermarks()
        self.released_until_ms = released_until_ms(watermarks, self._marks, progress.processed)
        self._marks = passed(self._marks, progress.processed)
        released = await self._leases.release(self.released_until_ms, now)
        if self._collect_debts is not None:
            await self._collect_debts(now)
        if released:
            self._on_released()
        if self._rounds % _CLEAN_EVERY == 0:
            known, self._replaced = self._replaced, find_replaced(await self._workers.list_reports(), now)
            for worker, spool_id in self._replaced.keys() - known.keys():
                _log.warning(describe_replaced(worker, spool_id, self._replaced[worker, spool_id]))
        self._rounds += 1
        await self._workers.remove_passed(progress.processed, now)
        if self._rounds % _CLEAN_EVERY == 0:
            await self._leases.remove_closed(now)
        return released

    async def _run(self) -> None:
        failing = False
        while True:
            try:
                await self.run_round()
                failing = False
            except (DatabaseUnavailable, NatsError, JetStreamError, TimeoutError) as error:
                if not failing:
                    _log.warning("cannot release ended credit leases", extra={"error": type(error).__name__})
                failing = True
            except Exception:  # the edge of the loop: what cannot be released stays leased
                _log.exception("cannot release ended credit leases")
            await asyncio.sleep(_INTERVAL_SECONDS)
