"""`keyferry ops`: what operators look at across all tenants."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from keyferry.cli.connection import run
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import format_table, json_option
from keyferry.cli.usage_options import (
    build,
    csv_option,
    parse_splits,
    read_filters,
    sort_option,
    span_options,
    tz_option,
)
from keyferry.cli.usage_output import (
    align,
    format_amount,
    format_breakdown,
    format_count,
    format_share,
    moments_of,
    title_of,
)
from keyferry.cli.usage_reports import ANSWER_SECONDS, show
from keyferry.contracts.analytics import MAX_ROWS, BreakDownUsage, Dimension
from keyferry.contracts.ledger_management import ANALYTICS_ANALYZE, ANALYTICS_BREAKDOWN
from keyferry.contracts.operator_analytics import AnalyzeInstallation, InstallationAnalytics, UsageShare
from keyferry.contracts.usage_rows import breakdown_csv, micro_to_usd

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


@click.group()
def command() -> None:
    """Show what concerns the whole installation."""


@command.command("analytics")
@click.option("--since", help="Start: 24h, 7d, 30d, 90d, all, a month such as 2026-11, or a date. Default: 30d.")
@click.option("--until", help="End (exclusive): a date and time, or a span back from now.")
@tz_option
@json_option
def analytics(**given: Any) -> None:
    """Show how tenants use the gateway: own keys, models, first requests, errors of own keys, savings and margin."""
    values = {**given, "tenant": None, "tag": ()}
    query = build(AnalyzeInstallation, values, datetime.now(UTC), default="30d")
    found = run(lambda me: me.ask(ANALYTICS_ANALYZE, query, timeout_seconds=2 * ANSWER_SECONDS))
    click.echo(found.model_dump_json(indent=2) if given["as_json"] else "\n".join(format_analytics(found)))


@command.command("usage")
@click.option("--by", multiple=True, metavar="WHAT", help="As for usage of one tenant, and tenant. Default: tenant.")
@click.option("--limit", type=click.IntRange(1, MAX_ROWS), default=50, show_default=True, help="Rows.")
@click.option("--of", multiple=True, metavar="TENANT", help="Only of this tenant.")
@sort_option
@span_options("30d")
@csv_option
@json_option
def usage(**given: Any) -> None:
    """Show what all tenants used and what it cost, by tenant or otherwise."""
    splits = parse_splits(given["by"], of_all_tenants=True)
    if splits.bucket is not None:
        raise Problem(
            f"--by {splits.bucket.value} is not possible here",
            "Only `keyferry usage --tenant TENANT --by day` is over time",
        )
    by = list(splits.dimensions) or [Dimension.TENANT]
    more = {} if given["sort"] is None else {"sort": given["sort"]}
    filters = read_filters(given) | ({Dimension.TENANT: list(given["of"])} if given["of"] else {})
    values = {**given, "tenant": None}
    now = datetime.now(UTC)
    query = build(
        BreakDownUsage, values, now, default="30d", by=by, tag=splits.tag, limit=given["limit"], filters=filters, **more
    )
    found = run(lambda me: me.ask(ANALYTICS_BREAKDOWN, query, timeout_seconds=ANSWER_SECONDS))
    show(found, {**given, "tenant": "all tenants"}, format_breakdown, breakdown_csv)


def format_analytics(found: InstallationAnalytics) -> list[str]:
    """Return the figures as tables and sentences."""
    shares: list[tuple[str, UsageShare]] = [(f"keys: {each.key_source}", each) for each in found.key_sources]
    shares.append(("OpenRouter", found.openrouter))
    share_rows = [
        (name, str(each.tenants), f"{each.requests:,}", format_share(each.requests, found.requests))
        for name, each in shares
    ]
    tier_rows = [
        (
            each.tier.value if each.tier else "(unknown)",
            str(each.tenants),
            str(each.tenants_with_own_keys),
            format_share(each.tenants_with_own_keys, each.tenants),
            format_share(each.own_key_requests, each.requests),
        )
        for each in found.tiers
    ]
    used = f"{format_count(found.tenants, 'tenant')}, {format_count(found.requests, 'request')}"
    return [
        title_of(found, "all tenants"),
        f"{used}, {format_count(found.attempts, 'attempt')}",
        "",
        _table(("REQUESTS ON", "TENANTS", "REQUESTS", "SHARE"), share_rows),
        "",
        _table(("TIER", "TENANTS", "WITH OWN KEYS", "ADOPTION", "OF REQUESTS"), tier_rows),
        "",
        *_sentences(found),
        *moments_of(found),
    ]


def _sentences(found: InstallationAnalytics) -> list[str]:
    onboarding, own, margin, models = found.onboarding, found.own_keys, found.margin, found.models
    effective = f"{models.effective_models_permille // 1000}.{models.effective_models_permille % 1000 // 100}"
    errors = ", ".join(
        f"{each.error_class.value if each.error_class else 'unknown'} {each.failed}" for each in own.classes[:5]
    )
    return [
        (
            f"{format_count(onboarding.tenants_created, 'tenant')} created: {onboarding.with_own_key} added a key"
            f" (median {format_wait(onboarding.median_seconds_to_key)}), {onboarding.with_request} sent a request"
            f" (median {format_wait(onboarding.median_seconds_to_request)}); by the audit log, so without tenants from before it"
        ),
        f"{format_count(models.models, 'model')} answered, as diverse as {effective} used equally",
        (
            f"own keys: {own.failed} of {format_count(own.attempts, 'attempt')} failed"
            f" ({format_share(own.failed, own.attempts)}){': ' + errors if errors else ''}"
        ),
        f"own keys saved {format_amount(found.savings.saved_usd)} against the platform's prices",
        f"platform's keys: cost {format_amount(margin.cost_usd)}, charged {format_amount(micro_to_usd(margin.charge_micro_usd))},"
        f" fees for own keys {format_amount(micro_to_usd(margin.own_key_fee_micro_usd))}, margin"
        f" {format_amount(margin.margin_usd)}"
        + (f"; without {format_count(margin.unpriced, 'attempt')} of unknown cost" if margin.unpriced else ""),
    ]


def format_wait(seconds: int | None) -> str:
    """Return a span of time in its largest unit, to one place."""
    if seconds is None:
        return "unknown"
    for unit, name in ((_DAY, "days"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= unit:
            tenths = seconds * 10 // unit
            return f"{tenths // 10}.{tenths % 10} {name}"
    return f"{seconds} s"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = align([list(heads), *map(list, rows)], labels=1)
    return format_table(lines[0], lines[1:], empty="nothing was used")
