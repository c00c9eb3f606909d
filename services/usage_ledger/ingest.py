"""From the streams into the tables, each record once, and back to the workers which of theirs are safe.

Commit first, then set aside what cannot be kept, then confirm; acknowledging comes last, when a handler returns. Whatever
breaks in between, the batch comes again and finds its rows by their ids.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from nats.aio.msg import Msg
from opentelemetry.trace import SpanKind

from keyferry.contracts.topology import ATTEMPT_FINISHED, REQUEST_DECIDED
from keyferry.contracts.usage import AttemptRecord, AttemptsConfirmed, LedgerRow
from keyferry.pricing.file import PriceList
from keyferry.runtime.process.telemetry import Telemetry, trace_id
from services.usage_ledger import intake
from services.usage_ledger.dead_letter import Rejected
from services.usage_ledger.intake import Received
from services.usage_ledger.pricing import price
from services.usage_ledger.store import LedgerStore

_log = logging.getLogger(__name__)

_PART_BYTES = 2 * 1024 * 1024
"""How much goes into one transaction: some thousands of records, so that neither memory nor the event loop is held long."""

Confirm = Callable[[AttemptsConfirmed], Awaitable[None]]
Recorded = Callable[[list[LedgerRow]], None]
"""Hears of attempts that are in the tables now and were not before."""
SetAside = Callable[[Rejected], Awaitable[None]]
"""Raises when the dead letter is not stored."""


@dataclass(slots=True)
class Figures:
    """What this process has done since its start."""

    recorded: int = 0
    repeated: int = 0
    unpriced: int = 0
    decisions: int = 0
    set_aside: int = 0


class Ingest:
    """Handlers of batches. Every one raises when something is to come again."""

    def __init__(
        self,
        *,
        store: LedgerStore,
        prices: PriceList,
        confirm: Confirm,
        set_aside: SetAside,
        telemetry: Telemetry,
        clock: Callable[[], datetime],
        recorded: Recorded,
    ) -> None:
        self._store = store
        self._recorded = recorded
        self._prices = prices
        self._confirm = confirm
        self._set_aside = set_aside
        self._telemetry = telemetry
        self._clock = clock
        self.figures = Figures()

    async def on_attempts(self, messages: list[Msg]) -> None:
        """Record packs of attempts."""
        for part in _parts(messages):
            await self._attempts(part)

    async def on_decisions(self, messages: list[Msg]) -> None:
        """Record packs of decisions."""
        for part in _parts(messages):
            await self._decisions(part)

    # --- inside

    async def _attempts(self, part: list[Msg]) -> None:
        taken = intake.attempts_of((message.subject, message.data) for message in part)
        refused = await self._record(taken.received)
        await self._reject(taken.rejected + refused)
        for confirmation in _confirmations(taken.received, taken.rejected):
            await self._confirm(confirmation)

    async def _record(self, received: list[Received[AttemptRecord]]) -> list[Rejected]:
        """Price and insert; what PostgreSQL refuses."""
        began_ns = time.time_ns()
        rows = self._priced(received)
        recorded = await self._store.record_attempts(rows)
        # By id, since a record can be in a batch more than once.
        by_id = {row.record.attempt_id: row for row in rows}
        new = [by_id[attempt_id] for attempt_id in recorded.new]
        self._recorded(new)
        for row in new:
            self._trace(row, began_ns)
        self.figures.recorded += len(new)
        self.figures.repeated += len(rows) - len(new) - len(recorded.refused)
        self.figures.unpriced += sum(row.pricing == "unpriced" for row in new)
        return [intake.refused(received[at], reason, ATTEMPT_FINISHED) for at, reason in recorded.refused.items()]

    def _priced(self, received: Sequence[Received[AttemptRecord]]) -> list[LedgerRow]:
        now = self._clock()
        rows = []
        for item in received:
            found = price(item.record, self._prices)
            row = LedgerRow(
                record=item.record,
                cost_usd=found.cost_usd,
                price_version=found.version,
                pricing=found.pricing,
                trace_id=trace_id(item.record.traceparent),
                recorded_at=now,
            )
            rows.append(row)
        return rows

    def _trace(self, row: LedgerRow, began_ns: int) -> None:
        record = row.record
        span = self._telemetry.start(
            "usage_ledger.record", record.traceparent, kind=SpanKind.CONSUMER, start_time_ns=began_ns
        )
        span.set(
            keyferry__tenant=record.tenant,
            keyferry__request_id=record.request_id,
            keyferry__attempt_id=record.attempt_id,
            keyferry__outcome=record.outcome.value,
            keyferry__pricing=row.pricing,
            keyferry__price_version=row.price_version,
        )
        span.end()

    async def _decisions(self, part: list[Msg]) -> None:
        taken = intake.decisions_of((message.subject, message.data) for message in part)
        recorded = await self._store.record_decisions([item.record for item in taken.received], self._clock())
        self.figures.decisions += len(recorded.new)
        refused = (
            intake.refused(taken.received[at], reason, REQUEST_DECIDED) for at, reason in recorded.refused.items()
        )
        await self._reject([*taken.rejected, *refused])

    async def _reject(self, rejected: Iterable[Rejected]) -> None:
        for item in rejected:
            await self._set_aside(item)
            self.figures.set_aside += 1
            _log.error(
                "a record was set aside in the dead letters",
                extra={"stream": item.stream, "producer": item.producer, "reason": item.reason},
            )


def _parts(messages: Iterable[Msg]) -> Iterator[list[Msg]]:
    """Messages in order, a part for each transaction."""
    part: list[Msg] = []
    size = 0
    for message in messages:
        part.append(message)
        size += len(message.data)
        if size >= _PART_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _confirmations(
    received: Iterable[Received[AttemptRecord]], rejected: Iterable[Rejected]
) -> Iterator[AttemptsConfirmed]:
    """Everything that is safe, whether new, there already, or in the dead letters; by worker and spool."""
    seqs: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for item in received:
        if item.spool_id is not None:
            seqs[item.producer, item.spool_id].append(item.record.spool_seq)
    for bad in rejected:
        if bad.spool_id is not None and bad.spool_seq is not None:
            seqs[bad.producer, bad.spool_id].append(bad.spool_seq)
    for (worker, spool_id), spool_seqs in seqs.items():
        yield AttemptsConfirmed(worker_id=worker, spool_id=spool_id, spool_seqs=spool_seqs)
