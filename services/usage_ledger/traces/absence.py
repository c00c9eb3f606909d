"""Why no span of a request is stored. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from keyferry.contracts.request_log import LoggedRequest
from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.traces import TRACES, TraceAbsence
from keyferry.contracts.usage import LedgerRow, Outcome
from keyferry.runtime.process.telemetry import parse, trace_id

_ON_THEIR_WAY = timedelta(seconds=10)
"""Spans usually arrive within two seconds."""


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What the ledger's records of a request say about its trace."""

    trace_id: str | None
    began_at: datetime
    last_at: datetime
    """When the latest of the records was made."""
    remarkable: bool
    """Whether the trace was sampled, or the request failed, was cancelled or was tried again."""


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
    sampled = any(context.trace_flags.sampled for context in map(parse, parents) if context is not None)
    unusual = (
        refusal is not None
        or len(rows) > 1
        or any(row.record.outcome is not Outcome.COMPLETED for row in rows)
        or any(each.refusal is not None or each.attempt_number > 1 for each in decisions)
    )
    return RequestFacts(
        trace_id=next(filter(None, traced), None),
        began_at=min(began),
        last_at=max([*began, *(row.recorded_at for row in rows)]),
        remarkable=sampled or unusual,
    )


def explain_absence(facts: RequestFacts | None, kept_since: datetime | None, now: datetime) -> TraceAbsence:
    """Return why there are no spans of a request. `kept_since` is when the oldest span of any trace was stored."""
    if facts is None:
        return TraceAbsence.NO_RECORD
    if facts.trace_id is None:
        return TraceAbsence.NO_TRACE_ID
    oldest = now - TRACES.max_age if TRACES.max_age is not None else facts.last_at
    if facts.last_at < max(kept_since or oldest, oldest):
        return TraceAbsence.EXPIRED
    if now - facts.last_at < _ON_THEIR_WAY:
        return TraceAbsence.PENDING
    return TraceAbsence.LOST if facts.remarkable else TraceAbsence.NOT_SAMPLED
