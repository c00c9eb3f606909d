"""What a rule says about the figures of a tenant: each subject, compared with its limit. Pure."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType

from keyferry.contracts.alert_metrics import METRICS, AlertMetric, MetricKind, ScopeField
from keyferry.contracts.alert_references import MissingReference
from keyferry.contracts.alert_rules import MAX_SUBJECT, AlertRule
from keyferry.contracts.budget import BudgetState
from keyferry.contracts.health import Outage
from keyferry.contracts.key import KeyFacts, KeyStatus
from keyferry.contracts.tenancy import PLATFORM_TENANT
from services.usage_ledger.alerts.conditions import AlertFinding, compare_threshold, compare_unusual
from services.usage_ledger.alerts.facts import TenantFacts
from services.usage_ledger.alerts.references import scope_names
from services.usage_ledger.alerts.windows import compared_hours

_INVALID = {
    KeyStatus.INVALID: "its provider does not accept it",
    KeyStatus.EXPIRED: "it has expired",
    KeyStatus.UNDECRYPTABLE: "it cannot be decrypted",
}
_DAY = timedelta(days=1)

Finder = Callable[[AlertRule, TenantFacts, datetime], Iterable[AlertFinding]]


def find_all(rule: AlertRule, facts: TenantFacts, now: datetime) -> list[AlertFinding] | None:
    """Return what a rule finds; None while it cannot be known, when open alerts stay as they are."""
    kind = METRICS[rule.metric].kind
    if kind is MetricKind.KEYS and not facts.keys_are_known:
        return None
    if _lacks_key(rule, facts) and not facts.keys_are_all:
        return None
    if find_missing(rule, facts):
        return []
    return list(_FINDERS[kind](rule, facts, now))


def find_missing(rule: AlertRule, facts: TenantFacts) -> list[MissingReference]:
    """Return what the scope of a rule names and what does not exist, or not any more."""
    key, budget = rule.scope.key, rule.scope.budget
    missing = [each for each in facts.missing if scope_names(rule.scope, each)]
    if key is not None and facts.keys_are_all and _lacks_key(rule, facts):
        reason = f"there is no provider key {key} (any more)"
        missing.append(MissingReference(field=ScopeField.KEY, value=key, reason=reason))
    if budget is not None and all(each.budget.budget_id != budget for each in facts.budgets):
        reason = f"there is no budget {budget} (any more)"
        missing.append(MissingReference(field=ScopeField.BUDGET, value=budget, reason=reason))
    return missing


def _lacks_key(rule: AlertRule, facts: TenantFacts) -> bool:
    key = rule.scope.key
    return key is not None and all(each.key_id != key for each in facts.keys)


def _usage(rule: AlertRule, facts: TenantFacts, now: datetime) -> Iterable[AlertFinding]:
    for subject, used in facts.usage.figures(rule, rule.rule_id, now, facts.zone).items():
        value = used.measure(rule.metric)
        if rule.condition.unusual is not None:
            history = facts.usage.past_hours(rule, subject, compared_hours(now, facts.zone))
            yield compare_unusual(rule, value or Decimal(0), used.requests, history, subject)
        elif value is not None and rule.condition.threshold is not None and _is_enough(rule, used.attempts):
            yield compare_threshold(rule, value, rule.condition.threshold, subject)


def _is_enough(rule: AlertRule, attempts: int) -> bool:
    return attempts >= (rule.least_attempts if rule.metric in _OF_ATTEMPTS else 1)


def _key_use(rule: AlertRule, facts: TenantFacts, now: datetime) -> Iterable[AlertFinding]:
    if rule.metric is AlertMetric.KEY_BURST:
        yield from _usage(rule, facts, now)
        return
    for use in facts.usage.new_uses(rule, now):
        if rule.scope.provider is None or _provider_of(facts, use.key) == rule.scope.provider:
            subject = f"{use.key}:{use.with_value}"[:MAX_SUBJECT]
            yield AlertFinding(subject, None, None, holds=True, is_clear=False, detail=use.with_value)


def _provider_of(facts: TenantFacts, key_id: str) -> str | None:
    return next((key.provider for key in facts.keys if key.key_id == key_id), None)


def _credits(rule: AlertRule, facts: TenantFacts, now: datetime) -> Iterable[AlertFinding]:
    if rule.metric is AlertMetric.ALLOWANCE_USED_PERCENT:
        yield from _allowance(rule, facts)
        return
    has = facts.credits
    if has is None:
        return
    value: Decimal | None
    limit = rule.condition.threshold
    if rule.metric is AlertMetric.CREDIT_BALANCE:
        value, limit = has.balance, has.low_below if limit is None else limit
    else:
        value = None if has.days_left is None else Decimal(has.days_left)
    if value is not None and limit is not None:
        yield compare_threshold(rule, value, limit)


def _allowance(rule: AlertRule, facts: TenantFacts) -> Iterable[AlertFinding]:
    has, limit = facts.allowance, rule.condition.threshold
    if has is not None and has.requests and limit is not None:
        used = round(Decimal(100 * has.used) / has.requests, 2)
        yield compare_threshold(rule, used, limit, detail=f"{has.used} of {has.requests}")


def _budgets(rule: AlertRule, facts: TenantFacts, now: datetime) -> Iterable[AlertFinding]:
    for state in facts.budgets:
        if rule.scope.budget not in (None, state.budget.budget_id) or not state.budget.enabled:
            continue
        thresholds = state.budget.thresholds
        limits = (
            [Decimal(each) for each in thresholds] if rule.condition.threshold is None else [rule.condition.threshold]
        )
        for limit in limits:
            subject = f"{state.budget.budget_id}:{limit}"
            yield compare_threshold(rule, _percent(state), limit, subject, state.budget.name or state.budget.budget_id)


def _percent(state: BudgetState) -> Decimal:
    return round(Decimal(100 * state.spent_micro_usd) / state.budget.limit_micro_usd, 2)


def _keys(rule: AlertRule, facts: TenantFacts, now: datetime) -> Iterable[AlertFinding]:
    for key in facts.keys:
        if rule.scope.key not in (None, key.key_id) or rule.scope.provider not in (None, key.provider):
            continue
        found = _compare_key(rule, key, now)
        if found is not None:
            yield found


def _compare_key(rule: AlertRule, key: KeyFacts, now: datetime) -> AlertFinding | None:
    name = f"{key.provider} key {key.label}"
    if rule.metric is AlertMetric.KEY_INVALID:
        why = _INVALID.get(key.status)
        detail = None if why is None else f"{name}: {why}"
        return AlertFinding(key.key_id, None, None, holds=why is not None, is_clear=why is None, detail=detail)
    limit, days = rule.condition.threshold, key_days(rule.metric, key, now)
    if limit is None or days is None or key.status is KeyStatus.DISABLED:
        return None
    return compare_threshold(rule, days, limit, key.key_id, name)


def key_days(metric: AlertMetric, key: KeyFacts, now: datetime) -> Decimal | None:
    """Return for how many days a key is valid, or how old its secret is, in whole days; None if that is unknown or over."""
    if metric is AlertMetric.KEY_EXPIRES_DAYS:
        ends = key.expires_at
        return None if ends is None or ends <= now else Decimal((ends - now) // _DAY)
    since = key.secret_set_at
    return None if since is None else Decimal(max(now - since, timedelta(0)) // _DAY)


def _outages(rule: AlertRule, facts: TenantFacts, now: datetime) -> Iterable[AlertFinding]:
    for outage in facts.outages:
        if rule.scope.provider not in (None, outage.provider):
            continue
        affected = Decimal(outage.affected_requests)
        least = rule.condition.threshold
        if least is None:
            least = Decimal(0 if rule.tenant == PLATFORM_TENANT else 1)
        holds = affected >= least
        yield AlertFinding(
            outage_subject(outage), affected, least, holds=holds, is_clear=False, detail=_describe(outage)
        )


def outage_subject(outage: Outage) -> str:
    """Return what distinguishes an outage from others that last at the same time."""
    place = outage.endpoint or outage.provider
    subject = f"{place}:{outage.key_class}:{outage.tenant or '-'}:{int(outage.began_at.timestamp())}"
    return subject[:MAX_SUBJECT]


def _describe(outage: Outage) -> str:
    models = ", ".join(outage.models[:5])
    reason = f": {outage.reasons[0]}" if outage.reasons else ""
    return f"{outage.endpoint or outage.provider} ({models}){reason}"


def _reported(rule: AlertRule, facts: TenantFacts, now: datetime) -> Iterable[AlertFinding]:
    for report in facts.reports:
        if report.metric == rule.metric:
            yield AlertFinding(report.subject, None, None, holds=True, is_clear=False, detail=report.text)


_OF_ATTEMPTS = (AlertMetric.FAILED_PERCENT, AlertMetric.LATENCY_P95)
_FINDERS: Mapping[MetricKind, Finder] = MappingProxyType(
    {
        MetricKind.USAGE: _usage,
        MetricKind.KEY_USE: _key_use,
        MetricKind.CREDITS: _credits,
        MetricKind.BUDGETS: _budgets,
        MetricKind.KEYS: _keys,
        MetricKind.OUTAGES: _outages,
        MetricKind.REPORTED: _reported,
    }
)
