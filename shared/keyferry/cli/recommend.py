"""`keyferry recommend`: what would have made a tenant's traffic cheaper, and the rule that makes a change."""

from collections.abc import Iterator
from decimal import Decimal

import click

from keyferry.cli.connection import Connection, run
from keyferry.cli.problem import Problem
from keyferry.cli.rule_output import format_findings
from keyferry.cli.terminal import format_days, format_table, format_usd, json_option, tenant_option
from keyferry.contracts.credit import MICRO
from keyferry.contracts.power_comparison import DAYS_OF_MONTH, MAX_DAYS
from keyferry.contracts.recommendation_management import RECOMMENDATION_DRAFT, RECOMMENDATION_LIST
from keyferry.contracts.recommendations import (
    DraftRecommendedRule,
    ListRecommendations,
    Recommendation,
    Recommendations,
)
from keyferry.contracts.rule_management import SavedRuleDraft

_HEADS = ("SAVES", "OF", "CONFIDENCE", "REQUESTS", "RECOMMENDATION", "ID")
_SECONDS = 60.0
"""Hundreds of past requests are planned again, in short slices."""
_days = click.option(
    "--days", type=click.IntRange(1, MAX_DAYS), default=DAYS_OF_MONTH, show_default=True, help="How far back to look."
)


@click.group()
def command() -> None:
    """Show what would have made a tenant's traffic cheaper, and draft the routing rule that makes a change."""


@command.command("list")
@_days
@tenant_option
@json_option
def show(days: int, tenant: str, as_json: bool) -> None:
    """List recommendations with their amounts over the last days, the greatest first."""
    found = run(lambda me: _fetch(me, tenant, days), tenant=tenant)
    click.echo(found.model_dump_json(indent=2) if as_json else "\n".join(format_recommendations(found, days)))


@command.command()
@click.argument("recommendation_id", metavar="ID")
@_days
@tenant_option
@json_option
def draft(recommendation_id: str, days: int, tenant: str, as_json: bool) -> None:
    """Put the rule of the recommendation ID before the others of the draft; `keyferry route` tries and publishes it."""
    saved = run(lambda me: _draft(me, tenant, days, recommendation_id), tenant=tenant)
    if as_json:
        click.echo(saved.model_dump_json(indent=2))
        return
    click.echo(
        f"the draft of {tenant} begins with it now (revision {saved.draft.revision}):"
        f" `keyferry route dry-run --tenant {tenant}` tries it on past requests,"
        f" `keyferry route publish --tenant {tenant}` publishes it"
    )
    for line in format_findings(saved.findings):
        click.echo(line)


async def _fetch(me: Connection, tenant: str, days: int) -> Recommendations:
    return await me.ask(RECOMMENDATION_LIST, ListRecommendations(tenant=tenant, days=days), timeout_seconds=_SECONDS)


async def _draft(me: Connection, tenant: str, days: int, recommendation_id: str) -> SavedRuleDraft:
    found = (await _fetch(me, tenant, days)).recommendations
    chosen = next((each for each in found if each.recommendation_id == recommendation_id), None)
    remedy = f"`keyferry recommend list --tenant {tenant}` shows the present ones, with their ids"
    if chosen is None:
        raise Problem("there is no such recommendation now", remedy)
    if chosen.rule is None:
        raise Problem("a routing rule cannot make this change", chosen.action)
    return await me.ask(
        RECOMMENDATION_DRAFT, DraftRecommendedRule(tenant=tenant, rule=chosen.rule), timeout_seconds=_SECONDS
    )


def format_recommendations(found: Recommendations, days: int) -> list[str]:
    """Return the table of recommendations, each with its details, and what was not looked at."""
    spend = _usd(found.spend_micro_usd)
    total = f"{found.requests} requests come to {spend} at today's prices ({found.sampled} planned again)"
    lines = [
        f"{found.tenant}, last {format_days(days)}: {total}",
        format_table(_HEADS, [_row(each) for each in found.recommendations], empty="nothing to recommend"),
    ]
    for each in found.recommendations:
        lines += ["", *_details(each)]
    return [*lines, *(["", *found.notes] if found.notes else [])]


def _row(each: Recommendation) -> tuple[str, ...]:
    return (
        _usd(each.saved_micro_usd),
        _usd(each.spend_micro_usd),
        each.confidence.value,
        str(each.requests),
        each.title,
        each.recommendation_id,
    )


def _details(each: Recommendation) -> Iterator[str]:
    yield f"{each.title}: {each.detail}"
    if each.quality is not None and each.to_quality is not None:
        yield f"  quality {each.quality} now, {each.to_quality} then"
    if each.p95_ms is not None and each.to_p95_ms is not None:
        yield f"  95 of 100 answers within {each.p95_ms} ms now, {each.to_p95_ms} ms then"
    yield f"  confidence {each.confidence}: {each.confidence_detail}"
    yield f"  {each.action}"


def _usd(micro_usd: int) -> str:
    return format_usd(Decimal(micro_usd) / MICRO)
