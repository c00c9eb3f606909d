"""When the figures of a tenant change although nothing is recorded: a window begins, a key comes near its end. Pure."""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from keyferry.contracts.alert_metrics import METRICS, AlertMetric, MetricKind
from keyferry.contracts.alert_rules import AlertRule
from keyferry.contracts.key import KeyFacts
from services.usage_ledger.alerts.facts import TenantFacts
from services.usage_ledger.alerts.tenant_usage import has_calendar_window, rule_span
from services.usage_ledger.analytics.periods import floor_quarter, moment

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)


class DueTenants:
    """The tenants that are to be looked at at some moment, the earliest first."""

    def __init__(self) -> None:
        self._at: dict[str, datetime] = {}
        self._heap: list[tuple[datetime, str]] = []

    def set(self, tenant: str, at: datetime | None) -> None:
        """Look at a tenant then and not before; None for never."""
        if at is None:
            self._at.pop(tenant, None)
        elif self._at.get(tenant) != at:
            self._at[tenant] = at
            heapq.heappush(self._heap, (at, tenant))

    def add(self, tenant: str, at: datetime) -> None:
        """Look at a tenant then at the latest."""
        known = self._at.get(tenant)
        if known is None or at < known:
            self.set(tenant, at)

    def pop(self, now: datetime, most: int) -> list[str]:
        """Return up to `most` tenants that are due, and forget them."""
        found: list[str] = []
        while self._heap and self._heap[0][0] <= now and len(found) < most:
            at, tenant = heapq.heappop(self._heap)
            if self._at.get(tenant) == at:
                del self._at[tenant]
                found.append(tenant)
        return found

    def clear(self) -> None:
        """Forget all."""
        self._at.clear()
        self._heap.clear()


def next_change(
    rules: Sequence[AlertRule], facts: TenantFacts, open_subjects: Mapping[str, set[str]], now: datetime
) -> datetime | None:
    """Return when the alerts of a tenant have to be looked at again; None if only a change of its records can matter."""
    found = [
        at for rule in rules if rule.enabled for at in _changes(rule, facts, bool(open_subjects.get(rule.rule_id)), now)
    ]
    if facts.usage.has_recent(now, facts.zone):
        found.append(moment(floor_quarter(now) + 1))
    return min(found, default=None)


def _changes(rule: AlertRule, facts: TenantFacts, is_open: bool, now: datetime) -> Iterator[datetime]:
    kind = METRICS[rule.metric].kind
    if kind is MetricKind.KEYS:
        yield from (at for key in facts.keys if (at := _key_change(rule, key, now)) is not None)
    elif rule.metric is AlertMetric.CREDIT_DAYS_LEFT and facts.credits is not None:
        yield now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + _DAY
    elif is_open and kind is MetricKind.BUDGETS:
        yield from (state.resets_at or now + _HOUR for state in facts.budgets)
    elif is_open and rule.metric is AlertMetric.ALLOWANCE_USED_PERCENT and facts.allowance is not None:
        yield facts.allowance.resets_at
    elif is_open and kind in (MetricKind.USAGE, MetricKind.KEY_USE):
        until = rule_span(rule, now, facts.zone).until
        yield moment(until if has_calendar_window(rule) or rule.window is None else floor_quarter(now) + 1)


def _key_change(rule: AlertRule, key: KeyFacts, now: datetime) -> datetime | None:
    """Return when the days of a key reach the next whole number."""
    if rule.metric is AlertMetric.KEY_INVALID:
        return None
    if rule.metric is AlertMetric.KEY_EXPIRES_DAYS:
        ends = key.expires_at
        if ends is None or ends <= now:
            return None
        # Whole days are rounded down: one less a moment after a whole number of them is left.
        return ends - ((ends - now) // _DAY) * _DAY + timedelta(seconds=1)
    since = key.secret_set_at
    return None if since is None else since + ((now - since) // _DAY + 1) * _DAY
