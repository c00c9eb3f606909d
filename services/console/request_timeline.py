"""Where the time of a request went, step by step, from what several processes recorded of it.

The clocks of processes differ: a step that would end before it began lasts 0 ms. Pure.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from keyferry.contracts import ids
from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.text import BIGINT_MAX, Count, Explanation, Identifier, Moment, Ordinal
from keyferry.contracts.usage import LedgerRow, Outcome
from services.console.views import View

_MILLISECOND = timedelta(milliseconds=1)
_LONGEST_WAY = timedelta(minutes=1)
"""Senders make the ids of requests: one that says another time than its first decision says nothing."""


class TimelineKind(StrEnum):
    """What a step of a request's timeline is."""

    RECEIVED = "received"
    """From the moment at which the request's id was made until a router began to decide."""
    ROUTING = "routing"
    """Choosing, checking limits and holding credit, until the decision was sent."""
    BACKOFF = "backoff"
    """A wait that the decision asked for before the provider is called again."""
    HANDOVER = "handover"
    """From the decision until a worker began the attempt."""
    ATTEMPT = "attempt"
    """The provider call, with its key's lease, until its end."""
    RECORDING = "recording"
    """From the end of the attempt until the ledger had committed its record. The caller does not wait for it."""


class TimelineStep(View):
    """One step, in the order in which steps began."""

    kind: TimelineKind
    attempt_number: Ordinal
    """Of the attempt that the step is about."""
    started_at: Moment
    offset_ms: Count
    """From the beginning of the first step."""
    duration_ms: Count
    first_token_ms: Count | None = None
    """From the beginning of an attempt to its first token; null if there was none."""
    decision_id: Identifier | None = None
    attempt_id: Identifier | None = None
    outcome: Outcome | None = None
    """Of an attempt."""
    detail: Explanation = ""


def build_timeline(
    request_id: str, decisions: Sequence[DecisionRecord], rows: Sequence[LedgerRow]
) -> list[TimelineStep]:
    """Return the steps of a request as far as they are recorded. Steps of different attempts do not overlap."""
    found = list(_steps(request_id, decisions, rows))
    if not found:
        return []
    found.sort(key=lambda step: step.started_at)
    first = found[0].started_at
    return [step.model_copy(update={"offset_ms": _between(first, step.started_at)}) for step in found]


def _steps(request_id: str, decisions: Sequence[DecisionRecord], rows: Sequence[LedgerRow]) -> Iterator[TimelineStep]:
    by_attempt = {row.record.attempt_id: row for row in rows}
    decided: set[str] = set()
    for position, decision in enumerate(sorted(decisions, key=lambda each: (each.attempt_number, each.decided_at))):
        begun = decision.decided_at - timedelta(microseconds=min(decision.duration_us, BIGINT_MAX // 10**6))
        if position == 0 and (received := _time_of(request_id, begun)) is not None:
            yield _step(TimelineKind.RECEIVED, 1, received, begun)
        yield _step(
            TimelineKind.ROUTING,
            decision.attempt_number,
            begun,
            decision.decided_at,
            decision_id=decision.decision_id,
            detail=f"decided by {decision.router}",
        )
        row = by_attempt.get(decision.attempt_id or "")
        if row is not None:
            decided.add(row.record.attempt_id)
            yield from _way_to(row, decision)
            yield from _attempt(row)
    for row in rows:
        if row.record.attempt_id not in decided:
            yield from _attempt(row)


def _way_to(row: LedgerRow, decision: DecisionRecord) -> Iterator[TimelineStep]:
    """Yield what lies between a decision and its attempt."""
    number, started_at = row.record.attempt_number, row.record.started_at
    began = decision.decided_at
    if decision.delay_ms:
        waited = min(decision.delay_ms, _between(began, started_at))
        ended = began + waited * _MILLISECOND
        yield _step(TimelineKind.BACKOFF, number, began, ended, detail=f"asked to wait {decision.delay_ms} ms")
        began = ended
    yield _step(TimelineKind.HANDOVER, number, began, started_at)


def _attempt(row: LedgerRow) -> Iterator[TimelineStep]:
    record = row.record
    ended = record.started_at + min(record.latency_ms, BIGINT_MAX // 10**6) * _MILLISECOND
    yield _step(
        TimelineKind.ATTEMPT,
        record.attempt_number,
        record.started_at,
        ended,
        first_token_ms=record.first_token_ms,
        decision_id=record.decision_id,
        attempt_id=record.attempt_id,
        outcome=record.outcome,
        detail=f"{record.endpoint or record.provider}/{record.model}",
    )
    yield _step(TimelineKind.RECORDING, record.attempt_number, ended, row.recorded_at, attempt_id=record.attempt_id)


def _step(kind: TimelineKind, number: int, began: datetime, ended: datetime, **more: object) -> TimelineStep:
    values = {"kind": kind, "attempt_number": number, "started_at": began, "offset_ms": 0}
    return TimelineStep.model_validate(values | {"duration_ms": _between(began, ended)} | more)


def _between(began: datetime, ended: datetime) -> int:
    return max((ended - began) // _MILLISECOND, 0)


def _time_of(request_id: str, begun: datetime) -> datetime | None:
    """Return when a request's id was made, if that can be true: shortly before its first decision was begun."""
    try:
        made = datetime.fromtimestamp(ids.unix_ms_of(request_id) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return made if begun - _LONGEST_WAY <= made <= begun else None
