"""Attempt and decision records, and the batches that carry them."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime

from keyferry.contracts import ids
from keyferry.contracts.route import Candidate, DecisionRecord
from keyferry.contracts.usage import AttemptRecord, BatchHead, KeySource, Outcome, TokenUsage, UsageSource

WORKER = "provider-worker-1"
_TEMPLATE = AttemptRecord(
    attempt_id="att_template",
    request_id="req_template",
    decision_id="dec_template",
    attempt_number=1,
    tenant="acme",
    client_token_id="tok_1",
    provider="echo",
    model_asked="echo",
    model="echo",
    key_source=KeySource.NONE,
    stream=True,
    outcome=Outcome.COMPLETED,
    finish_reason="stop",
    token_usage=TokenUsage(input=10, output=5),
    usage_source=UsageSource.REPORTED,
    started_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
    latency_ms=120,
    first_token_ms=40,
    tags={"team": "blue"},
    worker_id=WORKER,
    spool_seq=1,
)
_seqs = itertools.count(1)


def attempt_record(**changes: object) -> AttemptRecord:
    """Return an attempt with its own ids and spool number."""
    fresh = {
        "attempt_id": ids.new(ids.ATTEMPT),
        "request_id": ids.new(ids.REQUEST),
        "decision_id": ids.new(ids.DECISION),
        "spool_seq": next(_seqs),
    }
    return AttemptRecord.model_validate(_TEMPLATE.model_dump() | fresh | changes)


def decision_record(**changes: object) -> DecisionRecord:
    """Return a decision with its own ids."""
    kept = Candidate(provider="echo", model="echo", key_source=KeySource.NONE, kept=True, detail="the built-in echo")
    values: dict[str, object] = {
        "decision_id": ids.new(ids.DECISION),
        "request_id": ids.new(ids.REQUEST),
        "tenant": "acme",
        "router": "router",
        "model_asked": "echo",
        "stream": True,
        "decided_at": datetime(2026, 3, 1, 12, tzinfo=UTC),
        "duration_us": 80,
        "candidates": [kept],
        "order": [0],
    }
    return DecisionRecord.model_validate(values | changes)


def batch_message(lines: Sequence[bytes], *, producer: str = WORKER, spool_id: str | None = "spl_1") -> bytes:
    """Return the message that carries these lines."""
    return BatchHead(producer=producer, spool_id=spool_id, count=len(lines)).with_body(b"\n".join(lines))
