"""Ingestion of record batches from the streams into the tables, each record once.

The order is: commit, publish dead letters, confirm to the workers, and acknowledge when the handler returns. After a failure in
between the batch is redelivered, and its rows are found by their ids.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime

from nats.aio.msg import Msg

from keyferry.billing.plan import BillingPlan
from keyferry.contracts.reduced_record import reduce_to_essentials
from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.topology import ATTEMPT_FINISHED, REQUEST_DECIDED
from keyferry.contracts.traces import SpanKind
from keyferry.contracts.usage import AttemptRecord, AttemptsConfirmed, LedgerRow
from keyferry.runtime.tracing.context import trace_id
from keyferry.runtime.tracing.telemetry import Telemetry
from services.usage_ledger.charging import bill, billed_values
from services.usage_ledger.credit.reports import ReportedWatermark, StreamMessage, newest_watermarks, reports
from services.usage_ledger.dead_letter import RejectedRecord
from services.usage_ledger.metrics import count_attempts, count_decisions, count_rejected
from services.usage_ledger.pricing import UNPRICED, Prices, price
from services.usage_ledger.record_batches import DecodedRecord, decode_attempts, decode_decisions, reject
from services.usage_ledger.replayed_record import RawRecord, RecordedAgain
from services.usage_ledger.store import LedgerStore

_log = logging.getLogger(__name__)

_TRANSACTION_BYTES = 4 * 1024 * 1024
"""Bytes of messages per transaction: some thousands of records, which limits memory and how long others wait for its locks.

The more attempts a transaction has, the more of them share a row of a projection.
"""

Confirm = Callable[[AttemptsConfirmed], Awaitable[None]]
OnNewAttempts = Callable[[list[LedgerRow]], None]
"""Receives the attempts that were new to the tables."""
OnNewDecisions = Callable[[list[DecisionRecord]], None]
"""Receives the decisions that were new to the tables."""
OnWatermarks = Callable[[list[ReportedWatermark], datetime], Awaitable[None]]
"""Records watermarks; raises if they have to come again."""
PublishDeadLetter = Callable[[RejectedRecord], Awaitable[None]]
"""Raises when the dead letter is not stored."""


class PricesUnknown(Exception):
    """Attempts that would be recorded at a wrong price."""


@dataclass(slots=True)
class IngestionCounters:
    """Counts since the start of this process."""

    recorded: int = 0
    repeated: int = 0
    unpriced: int = 0
    decisions: int = 0

    def facts(self) -> dict[str, str]:
        """Return the counts by name, for the service's status."""
        return {name: str(count) for name, count in asdict(self).items()}


@dataclass(slots=True)
class PreparedAttempts:
    """Attempts with their prices and charges, ready to be stored."""

    decoded: list[DecodedRecord[AttemptRecord]] = field(default_factory=list)
    rejected: list[RejectedRecord] = field(default_factory=list)
    rows: list[LedgerRow] = field(default_factory=list)
    """In the order of `decoded`."""
    reporting: list[StreamMessage] = field(default_factory=list)
    """Messages with the watermark of a worker."""


class Ingestion:
    """Handlers of batches. Each raises when its batch has to be redelivered."""

    def __init__(
        self,
        *,
        store: LedgerStore,
        prices: Prices,
        plan: BillingPlan,
        prices_known: Callable[[], bool] = lambda: True,
        confirm: Confirm,
        publish_dead_letter: PublishDeadLetter,
        telemetry: Telemetry,
        clock: Callable[[], datetime],
        on_new_attempts: OnNewAttempts,
        on_watermarks: OnWatermarks | None = None,
        on_new_decisions: OnNewDecisions | None = None,
    ) -> None:
        self._store = store
        self._on_new_attempts = on_new_attempts
        self._on_watermarks = on_watermarks
        self._on_new_decisions = on_new_decisions
        self._prices = prices
        self._plan = plan
        self._prices_known = prices_known
        self._confirm = confirm
        self._publish_dead_letter = publish_dead_letter
        self._telemetry = telemetry
        self._clock = clock
        self.counters = IngestionCounters()

    async def on_attempts(self, messages: list[Msg]) -> None:
        """Record batches of attempts. Raises PricesUnknown until the prices that operators set have arrived."""
        if not self._prices_known():
            raise PricesUnknown("the prices that operators set are not known yet; the attempts are delivered again")
        storing: asyncio.Task[None] | None = None
        try:
            for part in _split(messages):
                prepared = await self._prepare(part)
                if storing is not None:
                    await storing
                # The next part is decoded and priced while PostgreSQL stores this one.
                storing = asyncio.create_task(self._ingest_attempts(prepared), name="store attempts")
        finally:
            if storing is not None:
                await storing

    async def on_decisions(self, messages: list[Msg]) -> None:
        """Record batches of decisions."""
        for part in _split(messages):
            await self._ingest_decisions(part)

    async def replay_attempts(self, record: RawRecord) -> RecordedAgain:
        """Record the attempts of a dead letter as any others, but confirm them to nobody. Raises PricesUnknown."""
        if not self._prices_known():
            raise PricesUnknown("the prices that operators set are not known yet")
        batches = decode_attempts([(record.subject, record.data)], self._clock())
        rejected, new = await self._record(batches.valid, self._price(batches.valid))
        again = RecordedAgain(new=new, known=len(batches.valid) - new, rejected=batches.rejected + rejected)
        unkept = await self._store.list_unkept([item.record.attempt_id for item in batches.valid])
        again.unkept = {name for names in unkept.values() for name in names}
        return again

    async def replay_decisions(self, record: RawRecord) -> RecordedAgain:
        """Record the decisions of a dead letter as any others."""
        batches = decode_decisions([(record.subject, record.data)])
        rejected, new = await self._record_decisions(batches.valid)
        known = len(batches.valid) - len(rejected) - new
        return RecordedAgain(new=new, known=known, rejected=batches.rejected + rejected)

    async def _prepare(self, part: list[Msg]) -> PreparedAttempts:
        """Decode, price and charge attempts; other tasks run after each message."""
        prepared = PreparedAttempts()
        for message in part:
            batches = decode_attempts([(message.subject, message.data)], self._clock())
            prepared.decoded += batches.valid
            prepared.rejected += batches.rejected
            prepared.rows += self._price(batches.valid)
            if reports(message.data):
                position = message.metadata.sequence.stream
                prepared.reporting.append(StreamMessage(message.subject, message.data, position))
            await asyncio.sleep(0)
        return prepared

    async def _ingest_attempts(self, prepared: PreparedAttempts) -> None:
        rejected, _ = await self._record(prepared.decoded, prepared.rows)
        await self._publish_dead_letters(prepared.rejected + rejected)
        for confirmation in _confirmations(prepared.decoded, prepared.rejected):
            await self._confirm(confirmation)
        if prepared.reporting and self._on_watermarks is not None:
            # After the records and before the messages are acknowledged: the ledger counts what is acknowledged.
            now = self._clock()
            await self._on_watermarks(newest_watermarks(prepared.reporting, int(now.timestamp() * 1000)), now)

    async def _record(
        self, decoded: Sequence[DecodedRecord[AttemptRecord]], rows: list[LedgerRow]
    ) -> tuple[list[RejectedRecord], int]:
        """Insert attempts; return those that PostgreSQL rejects, and how many were new.

        What it rejects is inserted in a reduced form.
        """
        began_ns = time.time_ns()
        result = await self._store.record_attempts(rows)
        reduced = {index: bill(_reduce(rows[index]), UNPRICED, self._plan) for index in result.rejected}
        second = await self._store.record_attempts(list(reduced.values()))
        rows = [reduced.get(index, row) for index, row in enumerate(rows)]
        # By id, since a record can be in a batch more than once: the first is recorded.
        by_id = {row.record.attempt_id: row for row in reversed(rows)}
        new = [by_id[attempt_id] for attempt_id in result.new | second.new]
        self._on_new_attempts(new)
        for row in new if self._telemetry.records else ():
            self._trace(row, began_ns, len(rows))
        repeated = len(rows) - len(new) - len(second.rejected)
        count_attempts(new, repeated, self._clock())
        self.counters.recorded += len(new)
        self.counters.repeated += repeated
        self.counters.unpriced += sum(row.pricing == "unpriced" for row in new)
        rejected = [reject(decoded[index], reason, ATTEMPT_FINISHED) for index, reason in result.rejected.items()]
        return rejected, len(new)

    def _price(self, decoded: Sequence[DecodedRecord[AttemptRecord]]) -> list[LedgerRow]:
        now = self._clock()
        rows = []
        for item in decoded:
            found = price(item.record, self._prices)
            # Everything in it was validated or computed here, so it is not validated again.
            row = LedgerRow.model_construct(
                cost_usd=found.cost_usd,
                price_version=found.version,
                pricing=found.pricing,
                trace_id=trace_id(item.record.traceparent),
                recorded_at=now,
                **billed_values(item.record, found, self._plan),
            )
            rows.append(row)
        return rows

    def _trace(self, row: LedgerRow, began_ns: int, batch_size: int) -> None:
        record = row.record
        self._telemetry.record(
            "usage_ledger.record",
            record.traceparent,
            began_ns,
            kind=SpanKind.CONSUMER,
            keyferry__tenant=record.tenant,
            keyferry__request_id=record.request_id,
            keyferry__attempt_id=record.attempt_id,
            keyferry__outcome=record.outcome.value,
            keyferry__pricing=row.pricing,
            keyferry__price_version=row.price_version,
            # Its span lasts as long as the write of the batch, which it shares with those of so many attempts.
            messaging__batch__message_count=batch_size,
        )

    async def _ingest_decisions(self, part: list[Msg]) -> None:
        batches = decode_decisions((message.subject, message.data) for message in part)
        rejected, _ = await self._record_decisions(batches.valid)
        await self._publish_dead_letters(batches.rejected + rejected)

    async def _record_decisions(self, decoded: list[DecodedRecord[DecisionRecord]]) -> tuple[list[RejectedRecord], int]:
        """Insert decisions; return those that PostgreSQL rejects, and how many were new."""
        result = await self._store.record_decisions([item.record for item in decoded], self._clock())
        count_decisions(len(result.new), len(decoded) - len(result.new) - len(result.rejected))
        self.counters.decisions += len(result.new)
        if self._on_new_decisions is not None:
            self._on_new_decisions([item.record for item in decoded if item.record.decision_id in result.new])
        rejected = [reject(decoded[index], reason, REQUEST_DECIDED) for index, reason in result.rejected.items()]
        return rejected, len(result.new)

    async def _publish_dead_letters(self, rejected: Iterable[RejectedRecord]) -> None:
        for item in rejected:
            await self._publish_dead_letter(item)
            count_rejected(item.stream)
            _log.error(
                "a record was rejected and stored in the dead letters",
                extra={"stream": item.stream, "producer": item.producer, "reason": item.reason},
            )


def _reduce(row: LedgerRow) -> LedgerRow:
    """Return a row for one that PostgreSQL rejects: the attempt and what it used count, at no known price."""
    record = reduce_to_essentials(row.record, row.recorded_at)
    if row.pricing == "priced":
        record = record.model_copy(update={"unkept": sorted({*record.unkept, "cost_usd"})})
    return LedgerRow(record=record, pricing="unpriced", recorded_at=row.recorded_at)


def _split(messages: Iterable[Msg]) -> Iterator[list[Msg]]:
    """Split messages into parts of one transaction each, in order."""
    part: list[Msg] = []
    size = 0
    for message in messages:
        part.append(message)
        size += len(message.data)
        if size >= _TRANSACTION_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _confirmations(
    decoded: Iterable[DecodedRecord[AttemptRecord]], rejected: Iterable[RejectedRecord]
) -> Iterator[AttemptsConfirmed]:
    """Confirm every durable record by worker and spool: new ones, known ones, and dead letters."""
    seqs: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for item in decoded:
        if item.spool_id is not None:
            seqs[item.producer, item.spool_id].append(item.record.spool_seq)
    for bad in rejected:
        if bad.spool_id is not None and bad.spool_seq is not None:
            seqs[bad.producer, bad.spool_id].append(bad.spool_seq)
    for (worker, spool_id), spool_seqs in seqs.items():
        yield AttemptsConfirmed(worker_id=worker, spool_id=spool_id, spool_seqs=spool_seqs)
