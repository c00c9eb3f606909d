"""The record of an attempt that a worker did not make: the decision that ends its request. Pure."""

from datetime import datetime

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure
from keyferry.contracts.route import DecisionRecord


def refusal_record(
    run: AttemptRun, refusal: Failure, *, worker_id: str, decision_id: str, now: datetime
) -> DecisionRecord:
    """Return the record for the ledger, which has no row of an attempt that called nobody."""
    return DecisionRecord(
        decision_id=decision_id,
        request_id=run.request_id,
        tenant=run.tenant,
        client_token_id=run.client_token_id,
        router=worker_id,
        kind=run.kind,
        model_asked=run.model_asked,
        operation=run.operation,
        tags=run.tags,
        team=run.team,
        member=run.member,
        power_level=run.applied_level or run.power_level,
        conversation=run.conversation,
        stream=run.stream,
        decided_at=now,
        duration_us=0,
        candidates=[],
        order=[],
        refusal=refusal,
        attempt_number=run.attempt_number + 1,
        attempt_refused=True,
        traceparent=run.traceparent,
    )
