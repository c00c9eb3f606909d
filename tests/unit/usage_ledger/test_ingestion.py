"""The order in which a batch is recorded, and what of it is confirmed to its worker.

The store and the bus record the order of calls, and fail where they should.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast

import pytest
from nats.aio.msg import Msg

from keyferry.billing.plan import BUNDLED_PLAN
from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.topology import ATTEMPT_FINISHED, REQUEST_DECIDED
from keyferry.contracts.usage import AttemptRecord, AttemptsConfirmed, LedgerRow
from keyferry.pricing.file import BUNDLED_PRICES
from keyferry.runtime.billing import load_plan
from keyferry.runtime.database.errors import DatabaseUnavailable
from keyferry.runtime.prices import load_prices
from keyferry.runtime.tracing.telemetry import Telemetry
from services.usage_ledger import ingestion
from services.usage_ledger.dead_letter import RejectedRecord
from services.usage_ledger.ingestion import Ingestion, PricesUnknown
from services.usage_ledger.store import InsertResult, LedgerStore
from tests.support.ledger.attempt_records import WORKER, attempt_record, batch_message, decision_record

NOW = datetime(2026, 3, 2, tzinfo=UTC)
SUBJECT = ATTEMPT_FINISHED.format(worker=WORKER)
PRICES = load_prices(BUNDLED_PRICES)
PLAN = load_plan(BUNDLED_PLAN)


class Ledger:
    """An ingestion with its tables, its stream of dead letters and the workers that it confirms to."""

    def __init__(self) -> None:
        self.telemetry = Telemetry("usage_ledger")
        self.steps: list[str] = []
        self.rows: dict[str, LedgerRow] = {}
        self.refused: set[str] = set()
        """Ids of the attempts and decisions that the tables take in no other form than a reduced one."""
        self.letters: list[RejectedRecord] = []
        self.confirmed: list[AttemptsConfirmed] = []
        self.new: list[LedgerRow] = []
        self.failing = ""
        self.prices_known = True
        self.ingestion = Ingestion(
            store=cast(LedgerStore, self),
            prices=PRICES,
            plan=PLAN,
            prices_known=lambda: self.prices_known,
            confirm=self._confirm,
            publish_dead_letter=self._publish_dead_letter,
            telemetry=self.telemetry,
            clock=lambda: NOW,
            on_new_attempts=self.new.extend,
        )

    async def record_attempts(self, rows: Sequence[LedgerRow]) -> InsertResult:
        if rows:
            self._step("commit")
        result = InsertResult()
        for index, row in enumerate(rows):
            if row.record.attempt_id in self.refused and not row.record.unkept:
                result.rejected[index] = "PostgreSQL rejects it"
            elif row.record.attempt_id not in self.rows:
                self.rows[row.record.attempt_id] = row
                result.new.add(row.record.attempt_id)
        return result

    async def record_decisions(self, records: Sequence[DecisionRecord], now: datetime) -> InsertResult:
        self._step("commit")
        refused = [index for index, record in enumerate(records) if record.decision_id in self.refused]
        return InsertResult(rejected=dict.fromkeys(refused, "PostgreSQL rejects it"))

    async def take(self, *records: AttemptRecord | bytes, worker: str = WORKER, spool_id: str | None = "spl_1") -> None:
        lines = [record if isinstance(record, bytes) else record.encode() for record in records]
        data = batch_message(lines, producer=worker, spool_id=spool_id)
        await self.ingestion.on_attempts([message(ATTEMPT_FINISHED.format(worker=worker), data)])

    async def _publish_dead_letter(self, rejected: RejectedRecord) -> None:
        self._step("dead letter")
        self.letters.append(rejected)

    async def _confirm(self, confirmation: AttemptsConfirmed) -> None:
        self._step("confirm")
        self.confirmed.append(confirmation)

    def _step(self, step: str) -> None:
        self.steps.append(step)
        if self.failing == step:
            raise DatabaseUnavailable(step)


def message(subject: str, data: bytes) -> Msg:
    return cast(Msg, SimpleNamespace(subject=subject, data=data))


async def test_a_worker_gets_its_confirmation_only_once_everything_is_stored() -> None:
    ledger, good = Ledger(), attempt_record()
    await ledger.take(good, b'{"spool_seq": 77}')
    assert ledger.steps == ["commit", "dead letter", "confirm"]
    assert [(one.worker_id, one.spool_id, one.spool_seqs) for one in ledger.confirmed] == [
        (WORKER, "spl_1", [good.spool_seq, 77])
    ]


@pytest.mark.parametrize("failing", ["commit", "dead letter"])
async def test_nothing_is_confirmed_of_what_could_not_be_stored(failing: str) -> None:
    ledger = Ledger()
    ledger.failing = failing
    with pytest.raises(DatabaseUnavailable):
        await ledger.take(attempt_record(), b"}{")
    assert ledger.confirmed == []


async def test_attempts_of_one_batch_have_a_span_each_in_their_own_traces_that_says_how_many_they_were() -> None:
    ledger = Ledger()
    traces = [f"{number:032x}" for number in (1, 2)]
    records = [attempt_record(traceparent=f"00-{trace}-00000000000000aa-01") for trace in traces]
    await ledger.take(*records)
    spans = ledger.telemetry.take()
    found = {span.named_attributes()["keyferry.attempt_id"]: (span.trace_id, span.parent_span_id) for span in spans}
    assert found == {
        record.attempt_id: (trace, "00000000000000aa") for record, trace in zip(records, traces, strict=True)
    }
    assert [span.named_attributes()["messaging.batch.message_count"] for span in spans] == [2, 2]


async def test_nothing_is_recorded_before_the_operators_prices_are_known() -> None:
    """A row is never changed, so an attempt that is priced without them would keep a wrong cost."""
    ledger, record = Ledger(), attempt_record()
    ledger.prices_known = False
    with pytest.raises(PricesUnknown):
        await ledger.take(record)
    assert (ledger.steps, ledger.confirmed) == ([], [])
    ledger.prices_known = True
    await ledger.take(record)
    assert ledger.rows.keys() == {record.attempt_id}


async def test_a_row_that_the_table_refuses_is_recorded_in_part_kept_whole_and_confirmed() -> None:
    ledger, good, bad = Ledger(), attempt_record(), attempt_record()
    ledger.refused = {bad.attempt_id}
    await ledger.take(good, bad)
    assert ledger.rows.keys() == {good.attempt_id, bad.attempt_id}
    reduced = ledger.rows[bad.attempt_id]
    assert (reduced.pricing, reduced.cost_usd) == ("unpriced", None)
    assert "cost_usd" in reduced.record.unkept
    assert reduced.record.token_usage == bad.token_usage
    assert [(letter.original, letter.reason) for letter in ledger.letters] == [(bad.encode(), "PostgreSQL rejects it")]
    assert ledger.confirmed[0].spool_seqs == [good.spool_seq, bad.spool_seq]
    assert {row.record.attempt_id: row.pricing for row in ledger.new} == {
        good.attempt_id: "priced",
        bad.attempt_id: "unpriced",
    }
    counters = ledger.ingestion.counters
    assert (counters.recorded, counters.repeated, counters.unpriced) == (2, 0, 1)


async def test_a_repeated_attempt_is_confirmed_again_and_counts_once() -> None:
    ledger, record = Ledger(), attempt_record()
    await ledger.take(record, record)
    await ledger.take(record)
    assert [one.spool_seqs[-1] for one in ledger.confirmed] == [record.spool_seq] * 2
    assert [row.record for row in ledger.new] == [record]
    assert (ledger.ingestion.counters.recorded, ledger.ingestion.counters.repeated) == (1, 2)


async def test_each_spool_of_each_worker_gets_the_confirmation_of_its_own_records() -> None:
    ledger = Ledger()
    mine, renewed, others = attempt_record(), attempt_record(), attempt_record(worker_id="provider-worker-2")
    batches = [(WORKER, mine, "spl_1"), (WORKER, renewed, "spl_2"), ("provider-worker-2", others, "spl_3")]
    await ledger.ingestion.on_attempts(
        [
            message(
                ATTEMPT_FINISHED.format(worker=worker),
                batch_message([record.encode()], producer=worker, spool_id=spool),
            )
            for worker, record, spool in batches
        ]
    )
    assert [(one.worker_id, one.spool_id, one.spool_seqs) for one in ledger.confirmed] == [
        (worker, spool, [record.spool_seq]) for worker, record, spool in batches
    ]


async def test_records_without_a_spool_are_stored_and_confirmed_to_nobody() -> None:
    ledger = Ledger()
    await ledger.take(attempt_record(), spool_id=None)
    assert (len(ledger.rows), ledger.confirmed) == (1, [])


async def test_a_large_delivery_is_stored_and_confirmed_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingestion, "_TRANSACTION_BYTES", 1)
    ledger = Ledger()
    batches = [message(SUBJECT, batch_message([attempt_record().encode()])) for _ in range(3)]
    await ledger.ingestion.on_attempts(batches)
    assert ledger.steps == ["commit", "confirm"] * 3


async def test_a_decision_that_cannot_be_stored_is_a_dead_letter_after_the_others_are_stored() -> None:
    ledger, good, bad = Ledger(), decision_record(), decision_record()
    ledger.refused = {bad.decision_id}
    subject = REQUEST_DECIDED.format(service="router")
    batch = batch_message([b"}{", good.encode(), bad.encode()], producer="router", spool_id=None)
    await ledger.ingestion.on_decisions([message(subject, batch)])
    assert ledger.steps == ["commit", "dead letter", "dead letter"]
    assert [letter.original for letter in ledger.letters] == [b"}{", bad.encode()]
