"""Replays what was recorded through the evaluation of a rule: when it would have fired. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from keyferry.contracts.alert_metrics import METRICS, Comparison
from keyferry.contracts.alert_rules import AlertRule, PreviewedAlert, PreviewedPoint
from keyferry.contracts.health import Outage
from services.usage_ledger.alerts.conditions import AlertFinding, find_moves
from services.usage_ledger.alerts.facts import TenantFacts, WatchedCredits
from services.usage_ledger.alerts.findings import find_all
from services.usage_ledger.alerts.tenant_usage import (
    NEW_FOR_QUARTERS,
    TenantUsage,
    UsageCell,
    is_compared,
)
from services.usage_ledger.alerts.windows import QUARTERS_OF_HOUR, compared_hours
from services.usage_ledger.analytics.periods import moment

MAX_PREVIEWED = 200
_WITHIN = timedelta(seconds=899)
"""A quarter hour is looked at in its last second."""


@dataclass(slots=True)
class Replay:
    """What a rule would have done so far."""

    rule: AlertRule
    alerts: list[PreviewedAlert] = field(default_factory=list)
    points: list[PreviewedPoint] = field(default_factory=list)
    _open: dict[str, int] = field(default_factory=dict)
    """The positions of open alerts by subject."""
    _resolved: dict[str, datetime] = field(default_factory=dict)

    def step(self, facts: TenantFacts, at: datetime) -> Sequence[AlertFinding]:
        """Evaluate the rule at a moment, which is later than that of the step before."""
        findings = find_all(self.rule, facts, at) or []
        for finding in findings:
            self._note_extreme(finding)
        for move in find_moves(self.rule, findings, self._open.keys(), self._resolved, at).moves:
            if not move.fires:
                position = self._open.pop(move.subject)
                self.alerts[position] = self.alerts[position].model_copy(update={"resolved_at": at})
                self._resolved[move.subject] = at
            elif move.finding is not None:
                self._open[move.subject] = len(self.alerts)
                self.alerts.append(_previewed(move.finding, at))
        return findings

    def add_point(self, findings: Sequence[AlertFinding], at: datetime) -> None:
        """Add a point of a chart, if the rule is about one subject."""
        if len(findings) == 1 and findings[0].subject == "":
            self.points.append(PreviewedPoint(at=at, value=findings[0].value, limit=findings[0].limit))

    def _note_extreme(self, finding: AlertFinding) -> None:
        position = self._open.get(finding.subject)
        if position is None or finding.value is None:
            return
        known = self.alerts[position].highest
        is_further = known is None or (
            finding.value < known if METRICS[self.rule.metric].compared is Comparison.AT_MOST else finding.value > known
        )
        if is_further:
            self.alerts[position] = self.alerts[position].model_copy(update={"highest": finding.value})


def replay_usage(
    rule: AlertRule, cells: Iterable[UsageCell], first: int, last: int, first_recorded: int | None, zone: ZoneInfo
) -> Replay:
    """Replay usage by quarter hour, from the quarter hour `first` to `last`. `cells` begin with the first window."""
    replay, usage = Replay(rule), TenantUsage(rules=[rule], first_quarter=first_recorded)
    by_quarter: dict[int, list[UsageCell]] = {}
    for cell in cells:
        by_quarter.setdefault(cell.quarter, []).append(cell)
    usage.take(0, [cell for quarter, found in by_quarter.items() if quarter < first for cell in found])
    facts = TenantFacts(zone=zone, usage=usage)
    for quarter in range(first, last + 1):
        at = moment(quarter) + _WITHIN
        usage.take(quarter, by_quarter.get(quarter, ()))
        if is_compared(rule):
            _compare_with(usage, by_quarter, at, zone)
        findings = replay.step(facts, at)
        if quarter % QUARTERS_OF_HOUR == QUARTERS_OF_HOUR - 1:
            replay.add_point(findings, at)
    return replay


def _compare_with(usage: TenantUsage, cells: Mapping[int, list[UsageCell]], at: datetime, zone: ZoneInfo) -> None:
    hours = [hour.since for hour in compared_hours(at, zone)]
    if usage.history.keys() == set(hours):
        return
    usage.history = {
        hour: [cell for number in range(QUARTERS_OF_HOUR) for cell in cells.get(hour + number, ())] for hour in hours
    }


def replay_uses(
    rule: AlertRule, uses: Sequence[tuple[str, str, str, int]], first: int, last: int, facts: TenantFacts
) -> Replay:
    """Replay the first uses of keys with something."""
    replay = Replay(rule)
    pending = sorted(uses, key=lambda use: use[3])
    moments = {use[3] for use in pending} | {use[3] + NEW_FOR_QUARTERS for use in pending}
    position = 0
    for quarter in sorted(moments):
        while position < len(pending) and pending[position][3] <= quarter:
            facts.usage.remember_uses([pending[position]])
            position += 1
        if first <= quarter <= last:
            replay.step(facts, moment(quarter))
    return replay


def replay_balances(
    rule: AlertRule, balances: Iterable[tuple[datetime, Decimal]], low_below: Decimal, zone: ZoneInfo
) -> Replay:
    """Replay balances of credits, oldest first."""
    replay = Replay(rule)
    for at, balance in balances:
        has = WatchedCredits(balance=balance, low_below=low_below, days_left=None)
        replay.add_point(replay.step(TenantFacts(zone=zone, credits=has), at), at)
    return replay


def replay_outages(rule: AlertRule, outages: Sequence[Outage], since: datetime, zone: ZoneInfo) -> Replay:
    """Replay outages, with all requests that each affected."""
    replay = Replay(rule)
    for at in sorted(set(_limits(outages, since))):
        lasting = [each for each in outages if each.began_at <= at and (each.ended_at is None or each.ended_at > at)]
        replay.step(TenantFacts(zone=zone, outages=lasting), at)
    return replay


def _limits(outages: Iterable[Outage], since: datetime) -> Iterator[datetime]:
    for outage in outages:
        yield max(outage.began_at, since)
        if outage.ended_at is not None:
            yield max(outage.ended_at, since)


def _previewed(finding: AlertFinding, at: datetime) -> PreviewedAlert:
    return PreviewedAlert(
        subject=finding.subject, fired_at=at, value=finding.value, threshold=finding.limit, highest=finding.value
    )
