"""Options that say what an alert rule watches, and the terms that they make."""

from collections.abc import Callable
from typing import Any

import click

from keyferry.cli.problem import Problem
from keyferry.contracts.alert_metrics import METRICS, AlertMetric, AlertWindow
from keyferry.contracts.alert_rules import AlertSeverity, Sensitivity

_SCOPES = ("provider", "model", "operation", "team", "member", "key", "budget")
_PLAIN = (
    "name",
    "severity",
    "window",
    "least_attempts",
    "cooldown_seconds",
    "margin_percent",
    "disable_key",
    "enabled",
)
_OPTIONS = (
    click.option("--name", help="A name for people."),
    click.option("--threshold", metavar="NUMBER", help="In the unit of the metric: 250, 0.5."),
    click.option(
        "--unusual", type=click.Choice([each.value for each in Sensitivity]), help="How sensitive to the unusual."
    ),
    click.option("--window", type=click.Choice([each.value for each in AlertWindow]), help="The time that is counted."),
    click.option("--provider", help="Of this provider."),
    click.option("--model", help="Of this model, as its provider names it."),
    click.option("--operation", help="Of requests with this operation."),
    click.option("--team", help="Of this team."),
    click.option("--member", help="Of this member."),
    click.option("--token", help="Of this client token, by its id."),
    click.option("--key", help="Of this provider key, by its id."),
    click.option("--key-source", help="Of platform or byok keys."),
    click.option("--tag", metavar="NAME=VALUE", help="Of requests with this tag."),
    click.option("--budget", help="Of this budget, by its id."),
    click.option("--least-attempts", type=int, help="Fewer attempts say nothing."),
    click.option("--severity", type=click.Choice([each.value for each in AlertSeverity]), help="How urgent it is."),
    click.option("--channel", "channels", multiple=True, help="Where to send it; the usual channels unless given."),
    click.option("--quiet", is_flag=True, help="Send it nowhere: it is only listed."),
    click.option("--cooldown", "cooldown_seconds", type=int, help="Seconds until it may fire again."),
    click.option("--margin", "margin_percent", type=int, help="Percent beyond the threshold at which it is over."),
    click.option(
        "--disable-key/--keep-key", "disable_key", default=None, help="Whether an unusually used key is disabled."
    ),
    click.option("--enable/--disable", "enabled", default=None, help="Whether it may fire."),
)
metric_argument = click.argument("metric", type=click.Choice([each.value for each in AlertMetric]))


def rule_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a rule to a command, which gets their values by name."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def given_terms(values: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Return the terms of a rule: what the options say, else as they were before. Raises Problem."""
    terms = dict(before)
    terms.update({name: values[name] for name in _PLAIN if values[name] is not None})
    scope = {name: values[name] for name in _SCOPES if values[name] is not None}
    if values["token"] is not None:
        scope["client_token"] = values["token"]
    if values["key_source"] is not None:
        scope["key_source"] = values["key_source"]
    if values["tag"] is not None:
        scope["tag"] = _parse_tag(values["tag"])
    terms["scope"] = {**terms.get("scope", {}), **scope}
    condition = {name: values[name] for name in ("threshold", "unusual") if values[name] is not None}
    terms["condition"] = {**terms.get("condition", {}), **condition}
    if values["quiet"] or values["channels"]:
        terms["channels"] = list(values["channels"])
    return terms


def default_name(metric: str, terms: dict[str, Any]) -> str:
    """Return a name for a rule that was given none."""
    scope = ", ".join(str(value) for value in terms["scope"].values())
    found = f"{metric.replace('_', ' ')}{f' of {scope}' if scope else ''}"
    return found[:100]


def describe_metrics() -> list[tuple[str, str, str, str]]:
    """Return a row for each metric: its name, unit, windows and scopes."""
    return [
        (metric.value, terms.unit.value, " ".join(terms.windows) or "-", " ".join(sorted(terms.scopes)) or "-")
        for metric, terms in METRICS.items()
    ]


def _parse_tag(text: str) -> dict[str, str]:
    name, found, value = text.partition("=")
    if not found:
        raise Problem("that is no tag", "Give its name and its value: --tag project=alpha")
    return {"name": name, "value": value}
