"""The commands below `keyferry usage`: errors, latency, savings, the forecast, and names of tags."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from keyferry.cli.connection import run
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import json_option, tenant_option
from keyferry.cli.usage_options import (
    build,
    csv_option,
    filter_options,
    parse_query,
    parse_splits,
    read_filters,
    span_options,
    tz_option,
)
from keyferry.cli.usage_output import (
    format_errors,
    format_forecast,
    format_latency,
    format_savings,
    format_tags,
    is_final,
    moments_of,
)
from keyferry.contracts.analytics import (
    MAX_ROWS,
    BreakDownUsage,
    ComputeSavings,
    Dimension,
    ForecastUsage,
    ListTagNames,
    Measure,
)
from keyferry.contracts.analytics_answers import AnalyticsAnswer, UsageBreakdown
from keyferry.contracts.ledger_management import (
    ANALYTICS_BREAKDOWN,
    ANALYTICS_FORECAST,
    ANALYTICS_SAVINGS,
    ANALYTICS_TAGS,
)
from keyferry.contracts.usage_rows import breakdown_csv

A = TypeVar("A", bound=AnalyticsAnswer)

ANSWER_SECONDS = 30.0
OVER_TIME = "Only `keyferry usage --tenant TENANT --by day` is over time"
_DEFAULT = "30d"
_BY_HELP = "Split by model, provider, operation, key-source, ..., tag:NAME; several as in `--by provider,model`."
_limit_option = click.option("--limit", type=click.IntRange(1, MAX_ROWS), default=50, show_default=True, help="Rows.")


@click.command("errors")
@click.option("--by", multiple=True, metavar="WHAT", help=f"What else to split by. {_BY_HELP}")
@_limit_option
@span_options(_DEFAULT)
@csv_option
@json_option
@tenant_option
def errors(**given: Any) -> None:
    """Show how many attempts failed, by class of error."""
    _show_breakdown(given, (Dimension.ERROR_CLASS, *_dimensions(given)), format_errors, sort=Measure.FAILED)


@click.command("latency")
@click.option("--by", multiple=True, metavar="WHAT", help=f"{_BY_HELP} Default: model.")
@_limit_option
@span_options(_DEFAULT)
@csv_option
@json_option
@tenant_option
def latency(**given: Any) -> None:
    """Show how long attempts took, and how long until the first token: P50, P95 and P99."""
    by = _dimensions(given) or (Dimension.MODEL,)
    _show_breakdown(given, by, format_latency, sort=Measure.ATTEMPTS, percentiles=True)


@click.command("savings")
@click.option(
    "--baseline",
    metavar="PROVIDER/MODEL",
    help="Compare everything with what this model would have cost: openai/gpt-5.",
)
@span_options(_DEFAULT)
@json_option
@tenant_option
def savings(**given: Any) -> None:
    """Estimate what own keys saved against the platform's price."""
    provider, slash, model = (given["baseline"] or "").partition("/")
    if given["baseline"] is not None and not (provider and slash and model):
        raise Problem(f"{given['baseline']!r} is not a provider and a model", "Write --baseline openai/gpt-5")
    names = {"baseline_provider": provider or None, "baseline_model": model or None}
    query = build(ComputeSavings, given, datetime.now(UTC), default=_DEFAULT, **names)
    found = run(lambda me: me.ask(ANALYTICS_SAVINGS, query, timeout_seconds=ANSWER_SECONDS), tenant=given["tenant"])
    show(found, given, format_savings)


@click.command("forecast")
@tz_option
@filter_options
@json_option
@tenant_option
def forecast(**given: Any) -> None:
    """Estimate, as a range, what the month that lasts now will come to."""
    values = {"tenant": given["tenant"], "tz": given["tz"], "filters": read_filters(given)}
    query = parse_query(ForecastUsage, values)
    found = run(lambda me: me.ask(ANALYTICS_FORECAST, query, timeout_seconds=ANSWER_SECONDS), tenant=given["tenant"])
    show(found, given, format_forecast)


@click.command("tags")
@span_options(_DEFAULT)
@json_option
@tenant_option
def tags(**given: Any) -> None:
    """List the names of tags that requests have: `--by tag:NAME` splits by one."""
    query = build(ListTagNames, given, datetime.now(UTC), default=_DEFAULT)
    found = run(lambda me: me.ask(ANALYTICS_TAGS, query, timeout_seconds=ANSWER_SECONDS), tenant=given["tenant"])
    show(found, given, format_tags)


COMMANDS = (errors, latency, savings, forecast, tags)


def show(
    found: A,
    given: dict[str, Any],
    render: Callable[[A, str], list[str]],
    as_csv: Callable[[A], str] | None = None,
) -> None:
    """Print an answer in the form that the options name. Raises Problem for two forms."""
    if given.get("as_csv") and given["as_json"]:
        raise Problem("--csv and --json exclude each other", "Give one of them")
    if as_csv is not None and given.get("as_csv"):
        click.echo(as_csv(found), nl=False)
        if not is_final(found):
            click.echo("\n".join(moments_of(found)), err=True)
    else:
        click.echo(found.model_dump_json(indent=2) if given["as_json"] else "\n".join(render(found, given["tenant"])))


def _dimensions(given: dict[str, Any]) -> tuple[Dimension, ...]:
    splits = parse_splits(given["by"])
    if splits.bucket is not None:
        raise Problem(
            f"--by {splits.bucket.value} is not possible here",
            "Only `keyferry usage --tenant TENANT --by day` is over time",
        )
    return splits.dimensions


def _show_breakdown(
    given: dict[str, Any],
    by: tuple[Dimension, ...],
    render: Callable[[UsageBreakdown, str], list[str]],
    **more: object,
) -> None:
    tag = parse_splits(given["by"]).tag
    query = build(
        BreakDownUsage, given, datetime.now(UTC), default=_DEFAULT, by=list(by), tag=tag, limit=given["limit"], **more
    )
    found = run(lambda me: me.ask(ANALYTICS_BREAKDOWN, query, timeout_seconds=ANSWER_SECONDS), tenant=given["tenant"])
    show(found, given, render, breakdown_csv)
