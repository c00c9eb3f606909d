"""What alerts say to people. Pure."""

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

from keyferry.contracts.alert_metrics import METRICS, AlertMetric, AlertUnit, AlertWindow
from keyferry.contracts.alert_rules import AlertRule, AlertScope
from keyferry.contracts.money import plain
from keyferry.contracts.text import clean
from services.usage_ledger.alerts.conditions import AlertFinding

_TITLE = 300
_TEXT = 4000
_WINDOWS: Mapping[AlertWindow, str] = MappingProxyType(
    {
        AlertWindow.MONTH: "in this month",
        AlertWindow.WEEK: "in this week",
        AlertWindow.DAY: "today",
        AlertWindow.HOUR: "in this hour",
        AlertWindow.LAST_QUARTER_HOUR: "in the last 15 minutes",
        AlertWindow.LAST_HOUR: "in the last hour",
        AlertWindow.LAST_DAY: "in the last 24 hours",
    }
)
_FIGURES: Mapping[AlertMetric, str] = MappingProxyType(
    {
        AlertMetric.SPEND: "{value} spent{window}",
        AlertMetric.REQUESTS: "{value} requests{window}",
        AlertMetric.TOKENS: "{value} tokens{window}",
        AlertMetric.FAILED_PERCENT: "{value} of the attempts failed{window}",
        AlertMetric.LATENCY_P95: "95 % of the attempts took up to {value}{window}",
        AlertMetric.CREDIT_BALANCE: "{value} credits are left",
        AlertMetric.CREDIT_DAYS_LEFT: "the credits last for {value} days",
        AlertMetric.ALLOWANCE_USED_PERCENT: "{detail} free requests of this month are used",
        AlertMetric.BUDGET_USED_PERCENT: "{value} of the budget {detail} are spent",
        AlertMetric.KEY_INVALID: "{detail}",
        AlertMetric.KEY_EXPIRES_DAYS: "{detail} expires in {value} days",
        AlertMetric.KEY_AGE_DAYS: "{detail} is {value} days old",
        AlertMetric.KEY_BURST: "{value} requests with the key {subject} in this hour",
        AlertMetric.KEY_NEW_MODEL: "the key {key} is used with the model {detail} for the first time in 30 days",
        AlertMetric.KEY_NEW_CLIENT_TOKEN: "the key {key} is used by the client token {detail} for the first time in 30 days",
        AlertMetric.PROVIDER_OUTAGE: "{detail}; {value} requests are affected so far",
    }
)
_ADVICE: Mapping[AlertMetric, str] = MappingProxyType(
    {
        AlertMetric.CREDIT_BALANCE: "Buy credits before they are used up: requests that need credits are then refused.",
        AlertMetric.CREDIT_DAYS_LEFT: "Buy credits before they are used up.",
        AlertMetric.ALLOWANCE_USED_PERCENT: "Requests beyond the free ones take credits.",
        AlertMetric.KEY_INVALID: "Requests use other keys, or fail: replace the key or test it again.",
        AlertMetric.KEY_EXPIRES_DAYS: "Rotate the key before then.",
        AlertMetric.KEY_AGE_DAYS: "Rotate the key.",
        AlertMetric.KEY_BURST: "If nobody knows why, disable the key and rotate it.",
        AlertMetric.KEY_NEW_MODEL: "If nobody knows why, disable the key and rotate it.",
        AlertMetric.KEY_NEW_CLIENT_TOKEN: "If nobody knows why, revoke the token and rotate the key.",
        AlertMetric.PROVIDER_OUTAGE: "Requests go to other targets where the rules allow it.",
    }
)


def describe_title(rule: AlertRule, finding: AlertFinding) -> str:
    """Return one line: the rule's name and what it has found."""
    return clean(f"{rule.name}: {_describe(rule, finding)}", _TITLE)


def describe_alert(rule: AlertRule, finding: AlertFinding) -> str:
    """Return what was found, what it was compared with, of what, and what to do."""
    sentences = [_sentence(_describe(rule, finding))]
    if finding.limit is not None and finding.value is not None:
        compared = "Unusual for the hour is more than" if rule.condition.unusual is not None else "The threshold is"
        sentences.append(f"{compared} {format_figure(finding.limit, unit_of(rule))}.")
    if scope := describe_scope(rule.scope):
        sentences.append(f"It counts {scope}.")
    if advice := _ADVICE.get(rule.metric):
        sentences.append(advice)
    return clean(" ".join(sentences), _TEXT)


def describe_resolved(rule_name: str) -> str:
    """Return the title of an alert that is over."""
    return clean(f"{rule_name}: resolved", _TITLE)


def describe_scope(scope: AlertScope) -> str:
    """Return what a scope limits to; empty if it limits nothing."""
    parts = []
    for name, value in scope.model_dump(mode="json", exclude_none=True).items():
        shown = f"{value['name']}={value['value']}" if isinstance(value, dict) else value
        parts.append(f"{name.replace('_', ' ')} {shown}")
    return ", ".join(parts)


def format_figure(value: Decimal, unit: AlertUnit) -> str:
    """Return a figure with its unit, as sentences have it."""
    if unit is AlertUnit.USD:
        return f"${plain(round(value, 6))}"
    if unit is AlertUnit.PERCENT:
        return f"{plain(value)} %"
    return f"{plain(value)} ms" if unit is AlertUnit.MILLISECONDS else plain(value)


def unit_of(rule: AlertRule) -> AlertUnit:
    """Return the unit of a rule's figures."""
    return METRICS[rule.metric].unit


def _describe(rule: AlertRule, finding: AlertFinding) -> str:
    template = _FIGURES.get(rule.metric)
    if template is None:
        return finding.detail or "it is so"
    value = "" if finding.value is None else format_figure(finding.value, unit_of(rule))
    window = "" if rule.window is None else f" {_WINDOWS[rule.window]}"
    key, _, _ = finding.subject.partition(":")
    return template.format(value=value, window=window, detail=finding.detail or "", subject=finding.subject, key=key)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"
