"""Decision records and ledger rows of one request, as the services make them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

from keyferry.contracts.failure import Failure
from keyferry.contracts.route import Candidate, DecisionRecord, DropReason
from keyferry.contracts.usage import AttemptRecord, KeySource, LedgerRow, Outcome, TokenUsage, UsageSource

REQUEST_ID = "req_00000000000000000000000001"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"
AT = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)

ECHO = Candidate(
    provider="echo",
    model="echo",
    key_source=KeySource.NONE,
    kept=True,
    detail="the built-in echo was requested by name",
)
DROPPED = Candidate(
    provider="custom",
    endpoint="ollama",
    model="echo",
    key_source=KeySource.CUSTOM,
    kept=False,
    reason=DropReason.MODEL_NOT_OFFERED,
    detail="the endpoint ollama does not list echo",
)


def decision(
    candidates: list[Candidate] | None = None,
    order: list[int] | None = None,
    refusal: Failure | None = None,
    *,
    request_id: str = REQUEST_ID,
    decided_at: datetime = AT,
) -> DecisionRecord:
    """Return a decision, by default one that kept the echo and dropped an endpoint."""
    return DecisionRecord(
        decision_id="dec_1",
        request_id=request_id,
        tenant="demo",
        router="router",
        model_asked="echo",
        stream=True,
        decided_at=decided_at,
        duration_us=1234,
        candidates=[DROPPED, ECHO] if candidates is None else candidates,
        order=[1] if order is None else order,
        refusal=refusal,
        traceparent=TRACEPARENT,
    )


def ledger_row(
    *,
    attempt_id: str = "att_1",
    number: int = 1,
    outcome: Outcome = Outcome.COMPLETED,
    failure: Failure | None = None,
    cost_usd: Decimal | None = Decimal("0.000012"),
    pricing: Literal["priced", "unpriced", "free"] = "priced",
    price_version: str | None = "2026-01",
    request_id: str = REQUEST_ID,
) -> LedgerRow:
    """Return an attempt through the echo as the ledger stores it."""
    record = AttemptRecord(
        attempt_id=attempt_id,
        request_id=request_id,
        decision_id="dec_1",
        attempt_number=number,
        tenant="demo",
        provider="echo",
        model_asked="echo",
        model="echo",
        key_source=KeySource.NONE,
        stream=True,
        outcome=outcome,
        failure=failure,
        finish_reason="stop" if outcome is Outcome.COMPLETED else None,
        token_usage=TokenUsage(input=5, cached_read=2, output=7),
        usage_source=UsageSource.REPORTED,
        started_at=AT,
        latency_ms=40,
        first_token_ms=9 if outcome is Outcome.COMPLETED else None,
        traceparent=TRACEPARENT,
        worker_id="provider-worker-1",
        spool_seq=1,
    )
    return LedgerRow(
        record=record,
        cost_usd=cost_usd,
        price_version=price_version,
        pricing=pricing,
        trace_id=TRACE_ID,
        recorded_at=AT + timedelta(milliseconds=140),
    )
