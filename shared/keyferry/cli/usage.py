"""`keyferry usage`."""

from datetime import UTC, datetime

import click

from keyferry.cli.connection import run
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import format_table, format_time, json_option, parse_past, tenant_option
from keyferry.contracts.money import describe_sum
from keyferry.contracts.topology import USAGE_SUMMARIZE
from keyferry.contracts.usage import SummarizeUsage, UsageRow, UsageSummary

_HEADS = ("PROVIDER", "MODEL", "ATTEMPTS", "COMPLETED", "FAILED", "CANCELLED", "UNKNOWN", "TOKENS", "COST")


@click.command()
@tenant_option
@click.option("--since", help="Start: 2026-01-31, 2026-01-31T12:00 (UTC), or 24h, 7d before now.")
@click.option("--until", help="End (exclusive), in the same forms.")
@json_option
def command(tenant: str, since: str | None, until: str | None, as_json: bool) -> None:
    """Show what a tenant used and what it cost, by provider and model."""
    now = datetime.now(UTC)
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
