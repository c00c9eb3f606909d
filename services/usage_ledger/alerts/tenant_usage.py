"""The usage of one tenant as its rules look at it, kept while attempts are recorded. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from keyferry.contracts.alert_metrics import METRICS, AlertMetric, AlertWindow, MetricKind
from keyferry.contracts.alert_rules import AlertRule, AlertRuleTerms, AlertScope
from services.usage_ledger.alerts.figures import WatchedSeries, WatchedUsage
from services.usage_ledger.alerts.windows import QUARTERS_OF_DAY, hour_span, window_span
from services.usage_ledger.analytics.periods import QuarterSpan, floor_quarter

NEW_FOR_QUARTERS = QUARTERS_OF_DAY
"""A use of a key that was new stays new for a day."""
KNOWN_FOR_DAYS = 30
KEY_HISTORY_QUARTERS = 7 * QUARTERS_OF_DAY
"""Nothing is new about a key that was not used a week before."""
_COLUMNS = {
    "provider": "provider",
    "model": "model",
    "operation": "operation",
    "team": "team",
    "member": "member",
    "client_token": "client_token_id",
    "key": "key_id",
    "key_source": "key_source",
}
_PAIR_COLUMNS = {AlertMetric.KEY_NEW_MODEL: "model", AlertMetric.KEY_NEW_CLIENT_TOKEN: "client_token_id"}
USAGE_KINDS = (MetricKind.USAGE, MetricKind.KEY_USE)


@dataclass(frozen=True, slots=True)
class UsageCell:
    """What was used in a quarter hour, or a day of UTC, with one combination of values."""

    quarter: int
    values: Mapping[str, str | None]
    usage: WatchedUsage
    by_tag: bool = False
    """Whether it is of one tag of attempts, which are in other cells as well."""


@dataclass(frozen=True, slots=True)
class NewUse:
    """The first use of a key with something."""

    key: str
    with_value: str
    quarter: int


@dataclass(slots=True)
class TenantUsage:
    """Usage by rule, as far as the tenant's rules look at it."""

    rules: Sequence[AlertRule] = ()
    kept_from: int = 0
    """Quarter hours from this one on may be read again one by one; what changes before needs all to be read."""
    history: dict[int, list[UsageCell]] = field(default_factory=dict)
    """The cells of past hours by the quarter hour in which these begin, for comparison; only of the current hour's."""
    first_quarter: int | None = None
    """Since when anything is recorded of the tenant."""
    _series: dict[str, dict[str, WatchedSeries]] = field(default_factory=dict)
    """By rule and subject."""
    _first_uses: dict[tuple[str, str, str], int] = field(default_factory=dict)
    _keys_since: dict[str, int] = field(default_factory=dict)

    def take(self, since: int, cells: Iterable[UsageCell]) -> None:
        """Replace everything from the quarter hour `since` on by these cells."""
        found: dict[tuple[str, str], dict[int, WatchedUsage]] = {
            (rule_id, subject): {} for rule_id, of_rule in self._series.items() for subject in of_rule
        }
        for cell in cells:
            self._note_use(cell)
            for rule in self.rules:
                if not matches(rule, cell):
                    continue
                subject = subject_of(rule, cell.values)
                if subject is not None:
                    of_series = found.setdefault((rule.rule_id, subject), {})
                    of_series.setdefault(cell.quarter, WatchedUsage()).add(cell.usage)
        for (rule_id, subject), of_series in found.items():
            of_rule = self._series.setdefault(rule_id, {})
            of_rule.setdefault(subject, WatchedSeries()).replace(since, of_series)

    def remember_uses(self, uses: Iterable[tuple[str, str, str, int]]) -> None:
        """Take over with what keys were used before: the key, the column, the value, and the first quarter hour."""
        for key, column, value, quarter in uses:
            known = self._first_uses.get((key, column, value))
            self._first_uses[key, column, value] = quarter if known is None else min(known, quarter)
            since = self._keys_since.get(key)
            self._keys_since[key] = quarter if since is None else min(since, quarter)

    def figures(self, rule: AlertRuleTerms, rule_id: str, now: datetime, zone: ZoneInfo) -> dict[str, WatchedUsage]:
        """Return what a rule's window has, by subject."""
        span = rule_span(rule, now, zone)
        return {subject: each.total(span) for subject, each in self._series.get(rule_id, {}).items()}

    def past_hours(self, rule: AlertRuleTerms, subject: str, hours: Sequence[QuarterSpan]) -> list[Decimal]:
        """Return the figures of past hours, of those that are after the tenant's first record."""
        first = self.first_quarter
        found = []
        for hour in hours:
            if first is None or hour.since < first:
                continue
            usage = WatchedUsage()
            for cell in self.history.get(hour.since, ()):
                if matches(rule, cell) and subject_of(rule, cell.values) == subject:
                    usage.add(cell.usage)
            found.append(usage.measure(rule.metric) or Decimal(0))
        return found

    def new_uses(self, rule: AlertRuleTerms, now: datetime) -> list[NewUse]:
        """Return the uses of keys that are new, of keys that were used for a week before."""
        column, current = _PAIR_COLUMNS[rule.metric], floor_quarter(now)
        return [
            NewUse(key, value, quarter)
            for (key, of_column, value), quarter in sorted(self._first_uses.items())
            if of_column == column
            and rule.scope.key in (None, key)
            and quarter > current - NEW_FOR_QUARTERS
            and quarter - self._keys_since[key] >= KEY_HISTORY_QUARTERS
        ]

    def has_recent(self, now: datetime, zone: ZoneInfo) -> bool:
        """Return whether a rolling window has usage, whose figures change as time passes."""
        for rule in self.rules:
            if rule.window is None or not rule.window.startswith("last"):
                continue
            if any(each.attempts for each in self.figures(rule, rule.rule_id, now, zone).values()):
                return True
        return False

    def _note_use(self, cell: UsageCell) -> None:
        key = cell.values.get("key_id")
        if key is None or cell.by_tag:
            return
        found = ((column, cell.values.get(column)) for column in _PAIR_COLUMNS.values())
        self.remember_uses((key, column, value, cell.quarter) for column, value in found if value is not None)


def matches(rule: AlertRuleTerms, cell: UsageCell) -> bool:
    """Return whether a rule counts a cell."""
    if (rule.scope.tag is not None) != cell.by_tag:
        return False
    tag = rule.scope.tag
    if tag is not None and (cell.values.get("tag_name"), cell.values.get("tag_value")) != (tag.name, tag.value):
        return False
    return all(cell.values.get(column) == value for column, value in conditions(rule.scope))


def conditions(scope: AlertScope) -> list[tuple[str, str]]:
    """Return the columns of usage that a scope limits, and the values that they have to have."""
    found = ((column, getattr(scope, name)) for name, column in _COLUMNS.items())
    return [(column, str(value)) for column, value in found if value is not None]


def subject_of(rule: AlertRuleTerms, values: Mapping[str, str | None]) -> str | None:
    """Return about what a figure is: the key where the metric has one for each key, else nothing; None to leave it out."""
    return values.get("key_id") if METRICS[rule.metric].kind is MetricKind.KEY_USE else ""


def rule_span(rule: AlertRuleTerms, now: datetime, zone: ZoneInfo) -> QuarterSpan:
    """Return the window of a rule; the hour, for what is compared with what is usual in it."""
    return hour_span(now, zone) if rule.window is None else window_span(rule.window, now, zone)


def needs_usage(rule: AlertRuleTerms) -> bool:
    """Return whether a rule looks at usage."""
    return rule.enabled and METRICS[rule.metric].kind in USAGE_KINDS


def quarter_days(rules: Iterable[AlertRuleTerms], now: datetime, zone: ZoneInfo) -> tuple[int, set[int]]:
    """Return from which quarter hour on rules look at usage, and the days of UTC that they need by quarter hour.

    The latter are those in which a window begins, and the last two: other days are read as wholes.
    """
    current = floor_quarter(now)
    starts = [rule_span(rule, now, zone).since for rule in rules if needs_usage(rule)]
    days = {start // QUARTERS_OF_DAY for start in starts}
    today = current // QUARTERS_OF_DAY
    return min(starts, default=current), days | {today, today - 1}


def is_compared(rule: AlertRuleTerms) -> bool:
    """Return whether a rule compares an hour with past ones."""
    return rule.enabled and rule.condition.unusual is not None


def watches_new_uses(rule: AlertRuleTerms) -> bool:
    """Return whether a rule is about the first use of a key with something."""
    return rule.enabled and rule.metric in _PAIR_COLUMNS


def has_calendar_window(rule: AlertRuleTerms) -> bool:
    """Return whether the figure of a rule starts at nothing when the next window begins."""
    return rule.window in (AlertWindow.MONTH, AlertWindow.WEEK, AlertWindow.DAY, AlertWindow.HOUR)
