"""Whether a figure is worth an alert, and which alerts that opens and resolves.

The same functions look at what happens now and what a preview replays. An alert opens when its condition holds, and is resolved
once the figure is beyond the threshold by the rule's margin, or when there is no such figure any more: a new month has begun, a
key is gone. While it is open nothing fires about its subject again; after it was resolved, not before the cooldown is over.
Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from statistics import median

from keyferry.contracts.alert_metrics import METRICS, Comparison
from keyferry.contracts.alert_rules import AlertRuleTerms, Sensitivity

FEWEST_HOURS = 4
"""Hours of history without which nothing is unusual."""
MAX_OPEN_OF_RULE = 100
"""Subjects of one rule with open alerts; further ones wait until some are resolved."""
_SPREADS = {Sensitivity.LOW: 8, Sensitivity.MEDIUM: 5, Sensitivity.HIGH: 3}
_OF_NORMAL = Decimal("1.4826")
"""A normal distribution's standard deviation in median absolute deviations."""
_LEAST_SPREAD = Decimal("0.1")
_PLACES = 6


@dataclass(frozen=True, slots=True)
class AlertFinding:
    """A figure about one subject, compared with the limit of a rule."""

    subject: str
    value: Decimal | None
    limit: Decimal | None
    holds: bool
    """Whether it is worth an alert."""
    is_clear: bool
    """Whether an open alert is over: the figure is beyond the limit by the margin."""
    detail: str | None = None
    """For people: what it is about."""


@dataclass(frozen=True, slots=True)
class AlertMove:
    """An alert that opens, or is resolved."""

    subject: str
    fires: bool
    finding: AlertFinding | None
    """None if there is no such figure any more."""


@dataclass(frozen=True, slots=True)
class Moves:
    """What follows from the figures of a rule."""

    moves: Sequence[AlertMove]
    due_at: datetime | None
    """When the end of a cooldown may open an alert."""


def usual_limit(history: Sequence[Decimal], sensitivity: Sensitivity) -> Decimal | None:
    """Return above what an hour is unusual, given the hours that it is compared with; None for too few of them.

    The median and some multiples of the spread around it, which is the median absolute deviation times 1.4826, and at least a
    tenth of the median: one outlier among the hours moves neither.
    """
    if len(history) < FEWEST_HOURS:
        return None
    middle = Decimal(median(history))
    deviation = Decimal(median([abs(value - middle) for value in history]))
    spread = max(deviation * _OF_NORMAL, middle * _LEAST_SPREAD)
    return round(middle + _SPREADS[sensitivity] * spread, _PLACES)


def compare_unusual(
    terms: AlertRuleTerms, value: Decimal, requests: int, history: Sequence[Decimal], subject: str = ""
) -> AlertFinding:
    """Finder the figure of an hour by those of the hours that it is compared with.

    The hour need not be over: its figure only grows. Few requests are never unusual, whatever was usual.
    """
    sensitivity = terms.condition.unusual
    limit = None if sensitivity is None else usual_limit(history, sensitivity)
    if limit is None:
        return AlertFinding(subject, value, None, holds=False, is_clear=True)
    enough = requests >= terms.least_attempts and value >= (terms.condition.threshold or 0)
    holds = enough and value > limit
    return AlertFinding(subject, value, limit, holds=holds, is_clear=not holds)


def compare_threshold(
    terms: AlertRuleTerms, value: Decimal, limit: Decimal, subject: str = "", detail: str | None = None
) -> AlertFinding:
    """Finder a figure by a threshold."""
    margin = limit * terms.margin_percent / 100
    if METRICS[terms.metric].compared is Comparison.AT_MOST:
        holds, is_clear = value <= limit, value > limit + margin
    else:
        holds, is_clear = value >= limit, value < limit - margin if margin else value < limit
    return AlertFinding(subject, value, limit, holds=holds, is_clear=is_clear, detail=detail)


def find_moves(
    terms: AlertRuleTerms,
    findings: Iterable[AlertFinding],
    open_subjects: Iterable[str],
    resolved_at: Mapping[str, datetime],
    now: datetime,
) -> Moves:
    """Return which alerts open and which are resolved, given what is open and when others were resolved."""
    found = {each.subject: each for each in findings}
    still_open = set(open_subjects)
    moves: list[AlertMove] = []
    for subject in sorted(still_open):
        each = found.get(subject)
        if each is None or (each.is_clear and not each.holds):
            moves.append(AlertMove(subject, fires=False, finding=each))
            still_open.discard(subject)
    due: list[datetime] = []
    just_resolved = {move.subject for move in moves}
    for subject, each in found.items():
        if not each.holds or subject in still_open or subject in just_resolved:
            continue
        may_fire_at = _may_fire_at(terms, resolved_at.get(subject))
        if may_fire_at is not None and now < may_fire_at:
            due.append(may_fire_at)
        elif len(still_open) < MAX_OPEN_OF_RULE:
            moves.append(AlertMove(subject, fires=True, finding=each))
            still_open.add(subject)
    return Moves(moves, min(due, default=None))


def _may_fire_at(terms: AlertRuleTerms, resolved_at: datetime | None) -> datetime | None:
    return None if resolved_at is None else resolved_at + timedelta(seconds=terms.cooldown_seconds)
