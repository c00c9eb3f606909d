"""`keyferry usage`: what a tenant used and what it cost, split and filtered, and what is computed from that."""

from datetime import UTC, datetime
from typing import Any

import click

from keyferry.cli import usage_reports
from keyferry.cli.connection import run
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import format_table, format_time, is_given, json_option, parse_past, tenant_option
from keyferry.cli.usage_options import Splits, build, csv_option, is_month, parse_splits, sort_option, span_options
from keyferry.cli.usage_output import format_breakdown, format_series
from keyferry.cli.usage_reports import ANSWER_SECONDS
from keyferry.contracts.analytics import MAX_LINES, MAX_ROWS, BreakDownUsage, Dimension, ListSeries
from keyferry.contracts.ledger_management import ANALYTICS_BREAKDOWN, ANALYTICS_SERIES
from keyferry.contracts.money import describe_sum
from keyferry.contracts.topology import USAGE_SUMMARIZE
from keyferry.contracts.usage import SummarizeUsage, UsageRow, UsageSummary
from keyferry.contracts.usage_rows import breakdown_csv, series_csv

_HEADS = ("PROVIDER", "MODEL", "ATTEMPTS", "COMPLETED", "FAILED", "CANCELLED", "UNKNOWN", "TOKENS", "COST")
_EXACT = ("tenant", "since", "until", "as_json")
"""Options of a summary of the attempts themselves; any other asks the rollups."""
_EVERYTHING = "all"
_DEFAULT_LINES = 8


@click.group(invoke_without_command=True)
@click.option(
    "--by",
    multiple=True,
    metavar="WHAT",
    help="Split by model, provider, operation, level, key-source, key, token, team, member, tag:NAME, error, outcome, tier or"
    " endpoint; up to three, as in `--by team,model`. With hour, day, week or month: over time, and by one of these.",
)
@span_options("all; 30d over time")
@sort_option
@click.option("--limit", type=click.IntRange(1, MAX_ROWS), help="Rows, or lines over time; the rest is one more.")
@csv_option
@json_option
@tenant_option
@click.pass_context
def command(context: click.Context, /, **given: Any) -> None:
    """Show what a tenant used and what it cost: by provider and model, or by --by.

    Without further options the times are exact; with --by, filters or --tz they are rounded to quarter hours. COST is what
    providers take at list prices, CHARGE what credits paid, SPEND what counts in budgets: the charge on the platform's keys,
    the cost on own ones. The rows, with one for what has no value, add up to the total.
    """
    used = [name for name in given if is_given(name)]
    if context.invoked_subcommand is not None:
        if used:
            command = f"keyferry usage {context.invoked_subcommand}"
            raise Problem("options before a command are not its own", f"Give them after it: `{command} ...`")
        return
    now = datetime.now(UTC)
    since: str | None = given["since"]
    if not set(used) <= set(_EXACT) or is_month(since) or since == _EVERYTHING:
        _show_rollups(given, now)
    else:
        _show_attempts(given["tenant"], since, given["until"], now, as_json=given["as_json"])


def _show_rollups(given: dict[str, Any], now: datetime) -> None:
    splits = parse_splits(given["by"])
    more = {} if given["sort"] is None else {"sort": given["sort"]}
    if splits.bucket is not None:
        series = _series_query(given, splits, now, more)
        lines = run(lambda me: me.ask(ANALYTICS_SERIES, series, timeout_seconds=ANSWER_SECONDS), tenant=given["tenant"])
        usage_reports.show(lines, given, format_series, series_csv)
        return
    by = splits.dimensions or (Dimension.PROVIDER, Dimension.ENDPOINT, Dimension.MODEL)
    limit = given["limit"] or MAX_ROWS
    query = build(BreakDownUsage, given, now, default=_EVERYTHING, by=list(by), tag=splits.tag, limit=limit, **more)
    rows = run(lambda me: me.ask(ANALYTICS_BREAKDOWN, query, timeout_seconds=ANSWER_SECONDS), tenant=given["tenant"])
    usage_reports.show(rows, given, format_breakdown, breakdown_csv)


def _series_query(given: dict[str, Any], splits: Splits, now: datetime, more: dict[str, Any]) -> ListSeries:
    lines = given["limit"] or _DEFAULT_LINES
    if lines > MAX_LINES:
        raise Problem(f"--limit {lines} is too many lines over time", f"At most {MAX_LINES}, and one for the rest")
    by = splits.dimensions[0] if splits.dimensions else None
    values = {"by": by, "tag": splits.tag, "bucket": splits.bucket, "lines": lines, **more}
    return build(ListSeries, given, now, default="30d", **values)


def _show_attempts(tenant: str, since: str | None, until: str | None, now: datetime, *, as_json: bool) -> None:
    if since is not None and parse_past(since, now) > now:
        raise Problem(f"--since {since} is in the future", "Give a time until now, or a span back from now: 24h, 7d")
    query = SummarizeUsage(
        tenant=tenant,
        since=None if since is None else parse_past(since, now),
        until=None if until is None else parse_past(until, now),
    )
    found = run(lambda me: me.ask(USAGE_SUMMARIZE, query), tenant=tenant)
    click.echo(found.model_dump_json(indent=2) if as_json else "\n".join(format_summary(found, query)))


def format_summary(found: UsageSummary, query: SummarizeUsage) -> list[str]:
    """Return the table of a summary and its totals."""
    when = f"{format_time(query.since)} to {format_time(query.until)}" if query.since or query.until else "all time"
    lines = [
        f"{found.tenant}, {when}",
        format_table(_HEADS, [_row(row) for row in found.rows], empty="nothing was used"),
    ]
    total = f"{found.requests} requests, {found.attempts} attempts, cost {describe_sum(found.priced_cost_usd, found.unpriced)}"
    if found.unpriced:
        attempts = "1 attempt" if found.unpriced == 1 else f"{found.unpriced} attempts"
        total += f"; the cost of {attempts} is unknown: no price for the model, or unknown usage"
    return [*lines, total]


def _row(row: UsageRow) -> tuple[str, ...]:
    counts = (row.attempts, row.completed, row.failed, row.cancelled, row.indeterminate, row.token_usage.total)
    return (row.endpoint or row.provider, row.model, *map(str, counts), describe_sum(row.priced_cost_usd, row.unpriced))


for _each in usage_reports.COMMANDS:
    command.add_command(_each)
