"""Outages, derived from the changes of targets' health: the order in which changes arrive does not matter.

A target is out from when it stops getting attempts (its circuit opens, it asks for a pause, an operator forces it) until it is
closed again. Targets of one provider, address and key class that are out at the same time are one outage. Pure.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

_GAP = timedelta(seconds=60)
"""Times without attempts that are no further apart are one outage: a circuit closes and opens again while a provider recovers."""
_LONGEST_SILENCE = timedelta(hours=1)
"""The monitor closes a circuit at most minutes after its time: without a change for this long, it has lost the circuit."""
_MAX_REASONS = 10
CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What the targets of one outage have in common."""

    provider: str
    tenant: str | None
    endpoint: str | None
    origin: str | None
    key_class: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetChange:
    """A change of one target's health, as the ledger stores it."""

    target_key: str
    group: Group
    model: str
    state: str
    reason: str
    forced: bool
    holds_until: datetime | None
    changed_at: datetime


@dataclass(slots=True, kw_only=True)
class OutageSpan:
    """An outage: the time, its targets, and why."""

    group: Group
    began_at: datetime
    ended_at: datetime | None
    """None while it lasts."""
    models: set[str] = field(default_factory=set)
    reasons: list[str] = field(default_factory=list)
    """Oldest first, each once."""
    forced: bool = False

    def overlaps(self, since: datetime, until: datetime) -> bool:
        """Return whether some of it lies in a span of time."""
        return self.began_at < until and (self.ended_at is None or self.ended_at >= since)


def derive_outages(changes: Iterable[TargetChange], *, now: datetime) -> list[OutageSpan]:
    """Return the outages that these changes make up, newest first. A change that comes twice counts once."""
    by_target: dict[str, dict[tuple[datetime, str], TargetChange]] = {}
    for change in changes:
        by_target.setdefault(change.target_key, {})[change.changed_at, change.state] = change
    spans = [
        span
        for found in by_target.values()
        for span in _spans_of_target([found[moment] for moment in sorted(found)], now)
    ]
    # Ties are broken by the model, so that the same changes give the same reasons in the same order.
    spans.sort(key=lambda span: (span.began_at, min(span.models)))
    merged: dict[Group, list[OutageSpan]] = {}
    for span in spans:
        before = merged.setdefault(span.group, [])
        if before and _are_one(before[-1], span):
            _extend(before[-1], span)
        else:
            before.append(span)
    outages = [outage for found in merged.values() for outage in found]
    outages.sort(key=lambda outage: (outage.began_at, outage.group.provider, min(outage.models)), reverse=True)
    return outages


def _spans_of_target(changes: list[TargetChange], now: datetime) -> Iterator[OutageSpan]:
    """Yield the times in which one target was out. `changes` are in order of time."""
    current: OutageSpan | None = None
    last: TargetChange | None = None
    for change in changes:
        if current is not None and last is not None and change.changed_at > _lost_at(last):
            current.ended_at = last.holds_until or last.changed_at
            yield current
            current = None
        last = change
        if change.state != CLOSED:
            if current is None:
                current = OutageSpan(
                    group=change.group, began_at=change.changed_at, ended_at=None, models={change.model}
                )
            _add_reason(current, change.reason)
            current.forced = current.forced or change.forced
        elif current is not None:
            current.ended_at = change.changed_at
            yield current
            current = None
    if current is not None and last is not None:
        if now > _lost_at(last):
            current.ended_at = last.holds_until or last.changed_at
        yield current


def _lost_at(change: TargetChange) -> datetime:
    return (change.holds_until or change.changed_at) + _LONGEST_SILENCE


def _are_one(before: OutageSpan, span: OutageSpan) -> bool:
    return before.ended_at is None or span.began_at - before.ended_at <= _GAP


def _extend(outage: OutageSpan, span: OutageSpan) -> None:
    outage.models |= span.models
    outage.forced = outage.forced or span.forced
    for reason in span.reasons:
        _add_reason(outage, reason)
    if outage.ended_at is not None:
        outage.ended_at = None if span.ended_at is None else max(outage.ended_at, span.ended_at)


def _add_reason(span: OutageSpan, reason: str) -> None:
    if reason not in span.reasons and len(span.reasons) < _MAX_REASONS:
        span.reasons.append(reason)
