"""Alerts and their rules as a terminal shows them. Pure."""

from decimal import Decimal

from keyferry.cli.terminal import format_table, format_time
from keyferry.contracts.alert_metrics import METRICS, AlertUnit, Comparison
from keyferry.contracts.alert_rules import AlertPreview, AlertRule, AlertRules, AlertRuleStatus
from keyferry.contracts.alerts import Alert, Alerts
from keyferry.contracts.money import plain

_SHOWN = 20


def format_alerts(found: Alerts) -> str:
    """Return a table of alerts, and how many are open."""
    heads = ("ALERT", "STATE", "SEVERITY", "SINCE", "TITLE")
    rows = [
        (alert.alert_id, alert.state.value, alert.severity.value, format_time(alert.fired_at), alert.title)
        for alert in found.alerts
    ]
    table = format_table(heads, rows, empty=f"{found.tenant} has no alerts")
    more = f"\nmore: --after {found.next}" if found.next else ""
    return f"{table}\n{found.open} open{more}" if rows else table


def format_alert(alert: Alert) -> str:
    """Return an alert and its history."""
    lines = [
        f"{alert.alert_id}: {alert.title}",
        f"  rule       {alert.rule_name} ({alert.rule_id})",
        f"  state      {alert.state.value}, {alert.severity.value}",
    ]
    if alert.value is not None:
        limit = "" if alert.threshold is None else f", threshold {format_number(alert.threshold, alert.unit)}"
        lines.append(f"  value      {format_number(alert.value, alert.unit)}{limit}")
    if alert.key_disabled is not None:
        lines.append(f"  key        {'disabled' if alert.key_disabled else 'not disabled'}")
    lines.append(f"  {alert.text}")
    for step in alert.steps:
        by = f" by {step.actor}" if step.actor else ""
        lines.append(f"  {format_time(step.at)}  {step.state.value}{by}")
    return "\n".join(lines)


def format_rules(found: AlertRules) -> str:
    """Return a table of rules, and why those that are broken are."""
    heads = ("RULE", "STATE", "OPEN", "WHEN", "NAME")
    rows = [
        (
            status.rule_id,
            status.state.value,
            str(status.open_alerts),
            format_condition(status.rule) if status.rule is not None else "-",
            status.name,
        )
        for status in found.rules
    ]
    reasons = [f"{status.rule_id}: {status.reason}" for status in found.rules if status.reason is not None]
    return "\n".join((format_table(heads, rows, empty="there are no rules"), *reasons))


def format_rule(status: AlertRuleStatus) -> str:
    """Return a rule."""
    lines = [f"{status.rule_id}: {status.name}", f"  state      {status.state.value}"]
    if status.reason:
        lines.append(f"             {status.reason}")
    if status.rule is not None:
        lines.append(f"  when       {format_condition(status.rule)}")
        lines.append(f"  severity   {status.rule.severity.value}")
        lines.append(f"  channels   {format_channels(status.rule)}")
    return "\n".join(lines)


def format_channels(rule: AlertRule) -> str:
    """Return where the alerts of a rule are sent."""
    if rule.channels is None:
        return "the usual ones"
    return ", ".join(rule.channels) or "none"


def format_condition(rule: AlertRule) -> str:
    """Return when a rule fires, as its options say it."""
    terms = METRICS[rule.metric]
    parts = [rule.metric.value]
    if rule.condition.threshold is not None:
        sign = "<=" if terms.compared is Comparison.AT_MOST else ">="
        parts.append(f"{sign} {format_number(rule.condition.threshold, terms.unit)}")
    if rule.condition.unusual is not None:
        parts.append(f"unusual ({rule.condition.unusual.value})")
    if rule.window is not None:
        parts.append(f"per {rule.window.value}")
    for name, value in rule.scope.model_dump(mode="json", exclude_none=True).items():
        parts.append(f"{name}={value['name']}:{value['value']}" if isinstance(value, dict) else f"{name}={value}")
    return " ".join(parts)


def format_preview(found: AlertPreview) -> str:
    """Return when a rule would have fired."""
    if not found.can_be_previewed:
        return found.reason or "this cannot be tested"
    times = "once" if found.fired == 1 else f"{found.fired} times"
    lines = [f"would have fired {times} since {format_time(found.since)}"]
    for alert in found.alerts[-_SHOWN:]:
        value = "" if alert.value is None else f"  {format_number(alert.value, found.unit)}"
        limit = "" if alert.threshold is None else f" (limit {format_number(alert.threshold, found.unit)})"
        about = f"  {alert.subject}" if alert.subject else ""
        end = format_time(alert.resolved_at) if alert.resolved_at else "open"
        lines.append(f"  {format_time(alert.fired_at)} to {end}{value}{limit}{about}")
    return "\n".join(lines)


def format_number(value: Decimal, unit: AlertUnit) -> str:
    """Return a figure with its unit."""
    if unit is AlertUnit.USD:
        return f"${plain(value)}"
    return plain(value) if unit is AlertUnit.NONE else f"{plain(value)} {unit.value}"
