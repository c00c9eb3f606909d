"""The records of an attempt: its intent, written before the call, and its result. Pure."""

from datetime import datetime

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.origin import cached_origin
from keyferry.contracts.reduced_record import reduce_record
from keyferry.contracts.usage import AttemptRecord, Outcome, UsageSource
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.attempt_end import AttemptEnd
from services.provider_worker.estimate import account, estimate

_DIED = Failure(
    failure_class=FailureClass.INDETERMINATE,
    message="the worker died between calling the provider and learning the result; the provider may have charged for it",
    where=Where.NO_ANSWER,
)


def intent_record(run: AttemptRun, *, worker_id: str, spool_seq: int, started_at: datetime) -> AttemptRecord:
    """Return the record that stands if nothing more is ever known of the attempt."""
    return AttemptRecord(
        attempt_id=run.attempt_id,
        request_id=run.request_id,
        kind=run.kind,
        decision_id=run.decision_id,
        attempt_number=run.attempt_number,
        tenant=run.tenant,
        client_token_id=run.client_token_id,
        provider=run.provider,
        endpoint=run.endpoint,
        origin=None if run.base_url is None else cached_origin(run.base_url),
        model_asked=run.model_asked,
        model=run.model,
        catalog_id=run.catalog_id,
        operation=run.operation,
        power_level=run.applied_level or run.power_level,
        team=run.team,
        member=run.member,
        key_source=run.key_source,
        key_id=run.key_id,
        tier=run.tier,
        charged_level=run.charged_level,
        reservation=run.reservation and run.reservation.model_copy(update={"certificate": None}),
        stream=run.stream,
        outcome=Outcome.INDETERMINATE,
        failure=_DIED,
        started_at=started_at,
        latency_ms=0,
        tags=run.tags,
        traceparent=run.traceparent,
        worker_id=worker_id,
        spool_seq=spool_seq,
        unkept=[],
    )


def is_lost(record: AttemptRecord) -> bool:
    """Return whether a record is still the intent: its process died before the attempt had a result."""
    return record.outcome is Outcome.INDETERMINATE and record.failure == _DIED


def result_record(
    intent: AttemptRecord,
    end: AttemptEnd,
    answer: Answer,
    *,
    origin: str | None,
    body: bytes,
    deltas: int,
    latency_ms: int,
    first_token_ms: int | None,
) -> AttemptRecord:
    """Return the intent with what became of it.

    Token usage that the provider did not report, or that cannot be right, is estimated where it worked.

    `origin` is the one that answered, None if none did; `body` is the caller's, `deltas` the number of delivered chunks.
    """
    usage = account(
        answer.usage,
        lambda: estimate(body, deltas=deltas, answer_body=answer.body, late=answer.late),
        answered=deltas > 0 or answer.body != b"",
        chargeable=_may_be_charged(end, deltas),
    )
    return intent.model_copy(
        update={
            "origin": origin or intent.origin,
            "model_served": answer.model_served,
            "outcome": end.outcome,
            "failure": end.failure,
            "finish_reason": answer.finish_reason,
            "service_tier": answer.service_tier,
            "token_usage": usage.token_usage,
            "usage_source": usage.source,
            "usage_note": usage.note,
            "reported_cost_usd": answer.reported_cost_usd,
            "key_rate": answer.key_rate,
            "latency_ms": latency_ms,
            "first_token_ms": first_token_ms,
        }
    )


def reduced_result(
    intent: AttemptRecord, end: AttemptEnd, answer: Answer, *, latency_ms: int, now: datetime
) -> AttemptRecord:
    """Return a record of the result for one that cannot be written as it is: how it ended and what was used.

    `now` stands for a start that cannot be read.
    """
    values = intent.model_dump() | {
        "outcome": end.outcome,
        "failure": None if end.failure is None else end.failure.model_dump(),
        "token_usage": answer.token_usage.model_dump(),
        "usage_source": _source_of(answer),
        "latency_ms": latency_ms,
    }
    record = reduce_record(values, now) or intent
    return record.model_copy(update={"unkept": sorted({*record.unkept, *_LEFT_OUT})})


def _source_of(answer: Answer) -> UsageSource:
    doubtful = answer.usage_source is UsageSource.REPORTED and not answer.usage.exact
    return UsageSource.ESTIMATED if doubtful else answer.usage_source


_LEFT_OUT = ("first_token_ms", "finish_reason", "model_served", "origin", "reported_cost_usd", "service_tier")


def _may_be_charged(end: AttemptEnd, deltas: int) -> bool:
    if end.outcome is Outcome.COMPLETED or deltas:
        return True
    if end.failure is None:
        return False
    # An answer that broke off before its first output had begun all the same.
    return (
        end.failure.where in (Where.NO_ANSWER, Where.MID_STREAM) or end.failure.failure_class is FailureClass.TRUNCATED
    )
