"""`keyferry alerts`: what is wrong or unusual, and the rules that say so."""

from typing import Any

import click

from keyferry.cli.alert_options import default_name, describe_metrics, given_terms, metric_argument, rule_options
from keyferry.cli.alert_output import format_alert, format_alerts, format_preview, format_rule, format_rules
from keyferry.cli.connection import Connection, run
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import format_table, json_option, tenant_option
from keyferry.contracts.alert_management import (
    ALERT_ACKNOWLEDGE,
    ALERT_LIST,
    ALERT_RULE_LIST,
    ALERT_RULE_PREVIEW,
    ALERT_RULE_REMOVE,
    ALERT_RULE_SAVE,
)
from keyferry.contracts.alert_rules import (
    AlertRuleStatus,
    AlertRuleTerms,
    ListAlertRules,
    PreviewAlertRule,
    RemoveAlertRule,
    SaveAlertRule,
)
from keyferry.contracts.alerts import AcknowledgeAlert, ListAlerts

_PREVIEW_SECONDS = 60.0


@click.group()
def command() -> None:
    """Show and acknowledge alerts; show, test, add and change the rules that they come from.

    Every tenant has rules without writing any: about low credits, free requests, budgets, keys and outages.
    """


@command.command("list")
@click.option("--state", type=click.Choice(["open", "fired", "acknowledged", "resolved"]), help="Only those.")
@click.option("--rule", "rule_id", help="Only those of this rule, by its id.")
@click.option("--after", help="Only those older than this alert.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="How many at most.")
@tenant_option
@json_option
def list_(state: str | None, rule_id: str | None, after: str | None, limit: int, tenant: str, as_json: bool) -> None:
    """List a tenant's alerts, newest first."""
    query = ListAlerts.model_validate(
        {"tenant": tenant, "state": state, "rule_id": rule_id, "after": after, "limit": limit}
    )
    found = run(lambda me: me.ask(ALERT_LIST, query), tenant=tenant)
    click.echo(found.model_dump_json(indent=2) if as_json else format_alerts(found))


@command.command("show")
@click.argument("alert_id")
@tenant_option
@json_option
def show(alert_id: str, tenant: str, as_json: bool) -> None:
    """Show the alert ALERT_ID with its history."""
    query = ListAlerts(tenant=tenant, alert_id=alert_id, limit=1)
    found = run(lambda me: me.ask(ALERT_LIST, query), tenant=tenant).alerts
    if not found:
        raise Problem("there is no such alert", f"`keyferry alerts list --tenant {tenant}` shows those that there are")
    click.echo(found[0].model_dump_json(indent=2) if as_json else format_alert(found[0]))


@command.command("acknowledge")
@click.argument("alert_id")
@tenant_option
@json_option
def acknowledge(alert_id: str, tenant: str, as_json: bool) -> None:
    """Say that somebody has seen the alert ALERT_ID; it stays open until its cause is over."""
    query = AcknowledgeAlert(tenant=tenant, alert_id=alert_id)
    alert = run(lambda me: me.ask(ALERT_ACKNOWLEDGE, query), tenant=tenant)
    click.echo(alert.model_dump_json(indent=2) if as_json else format_alert(alert))


@command.command("metrics")
def metrics() -> None:
    """List what rules can watch."""
    click.echo(format_table(("METRIC", "UNIT", "WINDOWS", "LIMITED BY"), describe_metrics(), empty=""))


@command.command("rules")
@tenant_option
@json_option
def rules(tenant: str, as_json: bool) -> None:
    """List a tenant's alert rules: its own, and those that every tenant has."""
    found = run(lambda me: me.ask(ALERT_RULE_LIST, ListAlertRules(tenant=tenant)), tenant=tenant)
    click.echo(found.model_dump_json(indent=2) if as_json else format_rules(found))


@command.command("create")
@metric_argument
@rule_options
@tenant_option
@json_option
def create(metric: str, tenant: str, as_json: bool, **values: Any) -> None:
    """Add a rule that watches METRIC. `keyferry alerts metrics` lists them, `keyferry alerts test` tries a rule first."""
    command = SaveAlertRule.model_validate({"tenant": tenant, **_new_terms(metric, values)})
    saved = run(lambda me: me.ask(ALERT_RULE_SAVE, command), tenant=tenant)
    click.echo(saved.model_dump_json(indent=2) if as_json else format_rule(saved))


@command.command("change")
@click.argument("rule_id")
@rule_options
@tenant_option
@json_option
def change(rule_id: str, tenant: str, as_json: bool, **values: Any) -> None:
    """Change the rule RULE_ID, one that every tenant has as well. What is not given stays as it is."""

    async def change_it(me: Connection) -> AlertRuleStatus:
        before = (await me.ask(ALERT_RULE_LIST, ListAlertRules(tenant=tenant, rule_id=rule_id))).rules[0]
        if before.rule is None:
            raise Problem(before.reason or "the rule cannot be read", "Remove it, and create another")
        terms = before.rule.model_dump(mode="json", include=set(AlertRuleTerms.model_fields), exclude_none=True)
        own = {"tenant": tenant, "rule_id": rule_id, "expected_revision": before.revision}
        return await me.ask(ALERT_RULE_SAVE, SaveAlertRule.model_validate(given_terms(values, terms) | own))

    saved = run(change_it, tenant=tenant)
    click.echo(saved.model_dump_json(indent=2) if as_json else format_rule(saved))


@command.command("test")
@metric_argument
@rule_options
@click.option("--days", type=click.IntRange(1, 30), default=30, show_default=True, help="How far back.")
@tenant_option
@json_option
def test(metric: str, days: int, tenant: str, as_json: bool, **values: Any) -> None:
    """Show when a rule that watches METRIC would have fired. Nothing is saved."""
    command = PreviewAlertRule.model_validate({"tenant": tenant, "days": days, **_new_terms(metric, values)})
    found = run(lambda me: me.ask(ALERT_RULE_PREVIEW, command, timeout_seconds=_PREVIEW_SECONDS), tenant=tenant)
    click.echo(found.model_dump_json(indent=2) if as_json else format_preview(found))


@command.command("remove")
@click.argument("rule_id")
@tenant_option
@json_option
def remove(rule_id: str, tenant: str, as_json: bool) -> None:
    """Remove the rule RULE_ID, and resolve its alerts; or restore the usual terms of one that every tenant has."""
    query = RemoveAlertRule(tenant=tenant, rule_id=rule_id)
    removed = run(lambda me: me.ask(ALERT_RULE_REMOVE, query), tenant=tenant)
    done = f"removed {removed.rule_id}; {removed.resolved} alerts were resolved"
    click.echo(removed.model_dump_json(indent=2) if as_json else done)


def _new_terms(metric: str, values: dict[str, Any]) -> dict[str, Any]:
    terms = given_terms(values, {}) | {"metric": metric}
    return terms | {"name": terms.get("name") or default_name(metric, terms)}
