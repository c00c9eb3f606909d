"""Requests of the log, made of what was just recorded, without a look at the tables.

Everything in them was validated or computed when it was recorded, so it is not validated again: that would take longer than
to record them. A test compares them with the rows of the log. Pure.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from pydantic import TypeAdapter

from keyferry.contracts.live_events import CommittedRequest
from keyferry.contracts.money import bounded, sum_known
from keyferry.contracts.request_log import LoggedAttempt, LoggedRequest, RequestOutcome, ShownError
from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.text import BIGINT_MAX
from keyferry.contracts.usage import LedgerRow

_MILLISECOND = timedelta(milliseconds=1)
_SHOWN_ERROR: TypeAdapter[str] = TypeAdapter(ShownError)


def committed_request(rows: Sequence[LedgerRow]) -> CommittedRequest:
    """Return a request by those of its attempts that are known here, in order."""
    numbers = [row.record.attempt_number for row in rows]
    complete = numbers == list(range(1, len(rows) + 1))
    return CommittedRequest.model_construct(complete=complete, request=_request(rows))


def refused_request(record: DecisionRecord, trace: str | None) -> CommittedRequest | None:
    """Return a request that no attempt was made for; None if the decision refused none. `trace` is the id of its trace."""
    if record.refusal is None or record.attempt_number != 1:
        return None
    refused = LoggedRequest(
        request_id=record.request_id,
        started_at=record.decided_at,
        outcome=RequestOutcome.REFUSED,
        error_class=record.refusal.failure_class,
        error=_SHOWN_ERROR.validate_python(record.refusal.message),
        decision_id=record.decision_id,
        kind=record.kind,
        stream=record.stream,
        model_asked=record.model_asked,
        operation=record.operation,
        power_level=record.power_level,
        team=record.team,
        member=record.member,
        client_token_id=record.client_token_id,
        tags=record.tags,
        trace_id=trace,
        cost_usd=Decimal(0),
    )
    return CommittedRequest(complete=True, request=refused)


def _request(rows: Sequence[LedgerRow]) -> LoggedRequest:
    first, last = rows[0].record, rows[-1].record
    charges = [row.charge_micro_usd for row in rows if row.charge_micro_usd is not None]
    failure = last.failure
    return LoggedRequest.model_construct(
        request_id=first.request_id,
        started_at=first.started_at,
        outcome=RequestOutcome(last.outcome.value),
        error_class=None if failure is None else failure.failure_class,
        error=None if failure is None else _SHOWN_ERROR.validate_python(failure.message),
        decision_id=last.decision_id,
        kind=first.kind,
        stream=first.stream,
        model_asked=first.model_asked,
        model_served=last.model_served or last.model,
        provider=last.provider,
        endpoint=last.endpoint,
        key_source=last.key_source,
        operation=first.operation,
        power_level=first.power_level,
        team=first.team,
        member=first.member,
        client_token_id=first.client_token_id,
        tags=first.tags,
        trace_id=rows[-1].trace_id,
        tokens=min(sum(row.record.token_usage.total for row in rows), BIGINT_MAX),
        cost_usd=bounded(sum_known(row.cost_usd for row in rows)),
        unpriced=sum(row.pricing == "unpriced" for row in rows),
        charge_micro_usd=min(sum(charges), BIGINT_MAX) if charges else None,
        latency_ms=_since(first.started_at, last.started_at, last.latency_ms),
        first_token_ms=None
        if last.first_token_ms is None
        else _since(first.started_at, last.started_at, last.first_token_ms),
        attempts=[_attempt(row) for row in rows],
    )


def _attempt(row: LedgerRow) -> LoggedAttempt:
    record = row.record
    failure = record.failure
    return LoggedAttempt.model_construct(
        attempt_id=record.attempt_id,
        attempt_number=record.attempt_number,
        decision_id=record.decision_id,
        provider=record.provider,
        endpoint=record.endpoint,
        model=record.model,
        model_served=record.model_served,
        power_level=record.power_level,
        charged_level=record.charged_level,
        key_source=record.key_source,
        key_id=record.key_id,
        outcome=record.outcome,
        error_class=None if failure is None else failure.failure_class,
        error=None if failure is None else _SHOWN_ERROR.validate_python(failure.message),
        finish_reason=record.finish_reason,
        token_usage=record.token_usage,
        usage_source=record.usage_source,
        pricing=row.pricing,
        cost_usd=row.cost_usd,
        price_version=row.price_version,
        charge_micro_usd=row.charge_micro_usd,
        absorbed_micro_usd=row.absorbed_micro_usd,
        spend_micro_usd=row.spend_micro_usd,
        plan_version=row.plan_version,
        started_at=record.started_at,
        latency_ms=record.latency_ms,
        first_token_ms=record.first_token_ms,
        recorded_at=row.recorded_at,
    )


def _since(begin: datetime, last: datetime, within_ms: int) -> int:
    """Return the time from `begin` until so long after the last attempt began; workers' clocks may differ, so at least that."""
    return min(max((last - begin) // _MILLISECOND, 0) + within_ms, BIGINT_MAX)
