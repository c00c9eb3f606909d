"""Why no span of a request is stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from keyferry.contracts.request_log import LoggedRequest
from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.traces import TRACES, TraceAbsence
from keyferry.contracts.usage import LedgerRow, Outcome
from keyferry.runtime.tracing.context import parse, trace_id
from keyferry.runtime.tracing.sampling import keep_reason

_ON_THEIR_WAY = timedelta(seconds=10)
"""Spans usually arrive within two seconds."""
_NEVER_SLOW = float("inf")
_LONGEST_MS = 24 * 3600 * 1000
"""Longer latencies count as a day."""


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What the ledger's records of a request say about its trace."""

    trace_id: str | None
    began_at: datetime
    last_at: datetime
    """When its last attempt ended, or its last decision was made."""
    remarkable: bool
    """Whether its trace is one of those that are kept, as far as the records say: how long it took altogether they do not."""


def request_facts(
    rows: Sequence[LedgerRow], decisions: Sequence[DecisionRecord], refusal: LoggedRequest | None
) -> RequestFacts | None:
    """Return the facts about a request; None if nothing is recorded of it."""
    began = [row.record.started_at for row in rows] + [each.decided_at for each in decisions]
    began += [refusal.started_at] if refusal is not None else []
    if not began:
        return None
    traced = [row.trace_id for row in rows] + [trace_id(each.traceparent) for each in decisions]
    traced += [refusal.trace_id] if refusal is not None else []
    parents = [row.record.traceparent for row in rows] + [each.traceparent for each in decisions]
    sampled = any(context.sampled for context in map(parse, parents) if context is not None)
    failures = [row.record.failure.failure_class for row in rows if row.record.failure is not None]
    failures += [each.refusal.failure_class for each in decisions if each.refusal is not None]
    failures += [refusal.error_class] if refusal is not None and refusal.error_class is not None else []
    unusual = (
        len(rows) > 1
        or any(row.record.outcome in (Outcome.CANCELLED, Outcome.INDETERMINATE) for row in rows)
        or any(keep_reason(failure, 0, _NEVER_SLOW) is not None for failure in failures)
    )
    return RequestFacts(
        trace_id=next(filter(None, traced), None),
        began_at=min(began),
        last_at=max([*began, *(_end(row) for row in rows)]),
        remarkable=sampled or unusual,
    )


def _end(row: LedgerRow) -> datetime:
    return row.record.started_at + timedelta(milliseconds=min(row.record.latency_ms, _LONGEST_MS))


def explain_absence(facts: RequestFacts | None, kept_since: datetime | None, now: datetime) -> TraceAbsence:
    """Return why there are no spans of a request. `kept_since` is None if no message made way for others."""
    if facts is None:
        return TraceAbsence.NO_RECORD
    if facts.trace_id is None:
        return TraceAbsence.NO_TRACE_ID
    oldest = now - TRACES.max_age
    if facts.last_at < max(kept_since or oldest, oldest):
        return TraceAbsence.EXPIRED
    if now - facts.last_at < _ON_THEIR_WAY:
        return TraceAbsence.PENDING
    return TraceAbsence.LOST if facts.remarkable else TraceAbsence.NOT_SAMPLED
