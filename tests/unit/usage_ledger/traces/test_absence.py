"""The records of a request say why it has no spans."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.traces import TraceAbsence
from keyferry.contracts.usage import LedgerRow, Outcome
from services.usage_ledger.traces.absence import explain_absence, request_facts
from tests.support.ledger.attempt_records import attempt_record, decision_record
from tests.support.traces.spans import TRACE

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(hours=1)
KEPT_SINCE = NOW - timedelta(hours=3)


def row(flags: str = "00", **changes: Any) -> LedgerRow:
    traceparent = f"00-{TRACE}-b7ad6b7169203331-{flags}"
    record = attempt_record(**{"request_id": "req_1", "started_at": EARLIER, "traceparent": traceparent, **changes})
    return LedgerRow(
        record=record, pricing="free", trace_id=TRACE, recorded_at=record.started_at + timedelta(seconds=1)
    )


def absence(rows: list[LedgerRow], kept_since: datetime | None = KEPT_SINCE) -> TraceAbsence:
    return explain_absence(request_facts(rows, [], None), kept_since, NOW)


def test_each_reason() -> None:
    failure = Failure(failure_class=FailureClass.OVERLOADED, message="busy")
    assert absence([]) is TraceAbsence.NO_RECORD
    assert absence([row()]) is TraceAbsence.NOT_SAMPLED
    assert absence([row("01")]) is TraceAbsence.LOST
    assert absence([row(outcome=Outcome.FAILED, failure=failure)]) is TraceAbsence.LOST
    assert absence([row(), row(attempt_number=2)]) is TraceAbsence.LOST
    assert absence([row("01", started_at=NOW - timedelta(seconds=3))]) is TraceAbsence.PENDING
    assert absence([row("01", started_at=KEPT_SINCE - timedelta(minutes=5))]) is TraceAbsence.EXPIRED
    assert absence([row("01", started_at=NOW - timedelta(hours=25))], None) is TraceAbsence.EXPIRED
    assert absence([row().model_copy(update={"trace_id": None})]) is TraceAbsence.NO_TRACE_ID


@pytest.mark.parametrize("traceparent", [None, "00-nonsense", f"00-{TRACE}-b7ad6b7169203331-00"])
def test_a_decision_alone_names_the_trace(traceparent: str | None) -> None:
    decision = decision_record(request_id="req_1", decided_at=EARLIER, traceparent=traceparent)
    facts = request_facts([], [decision], None)
    assert facts is not None
    assert (facts.trace_id, facts.remarkable) == (TRACE if traceparent and TRACE in traceparent else None, False)
