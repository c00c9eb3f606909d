"""`keyferry health`: the health of providers and endpoints, live as well; outages; and overrides of circuits."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import click

from keyferry.cli.connection import Connection, run
from keyferry.cli.health_output import describe_changes, describe_outage, format_health
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import format_time, json_option, parse_past, parse_span
from keyferry.contracts.health import (
    MAX_FORCED_SECONDS,
    CircuitState,
    ForceHealth,
    HealthList,
    ListHealth,
    ListOutages,
    Override,
    ReleaseHealth,
    Selector,
)
from keyferry.contracts.topology import HEALTH_FORCE, HEALTH_LIST, HEALTH_RELEASE, OUTAGE_LIST

_WATCH_SECONDS = 1.0
_OUTAGES_SECONDS = 30.0
_DEFAULT = "list"

_target = click.argument("target", metavar="TARGET")
_owner = click.option("--tenant", help="TARGET is an endpoint of this tenant.")


class _DefaultGroup(click.Group):
    """Runs `list` where no other command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `list` in front of options, and in place of nothing."""
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)


@click.group(cls=_DefaultGroup)
def command() -> None:
    """Show the health of providers and endpoints, and force circuits open or closed.

    Without a command it does the same as `list`. TARGET is PROVIDER, PROVIDER/MODEL, or with --tenant ENDPOINT or
    ENDPOINT/MODEL; models are named as the provider names them.
    """


@command.command("list")
@click.option("--tenant", help="Only what this tenant's requests can reach.")
@click.option("--provider", help="Only this provider; `custom` for endpoints.")
@click.option("--watch", is_flag=True, help="Go on, and show every change as it happens.")
@json_option
def list_(tenant: str | None, provider: str | None, watch: bool, as_json: bool) -> None:
    """List the models at providers and endpoints that were called or probed within the last day."""
    if watch and as_json:
        raise Problem("--watch and --json exclude each other", "Ask for --json again and again instead")
    if watch:
        run(lambda me: _watch(me, tenant, provider, click.echo), tenant=tenant)
        return
    found = run(lambda me: _ask(me, tenant, provider), tenant=tenant)
    click.echo(found.model_dump_json(indent=2) if as_json else format_health(found, datetime.now(UTC)))


@command.command("open")
@_target
@_owner
@click.option("--for", "for_seconds", required=True, metavar="SPAN", help="For how long: 90s, 10m, 2h, at most 7d.")
@click.option("--reason", required=True, help="Why, for the audit log and for those whose requests it concerns.")
@click.option("--unseen", is_flag=True, help="Accept what no attempt has called within the last day.")
@json_option
def open_(target: str, tenant: str | None, for_seconds: str, reason: str, unseen: bool, as_json: bool) -> None:
    """Keep requests away from TARGET for a time, whatever its attempts show."""
    _force(target, tenant, CircuitState.OPEN, for_seconds, reason, unseen, as_json)


@command.command()
@_target
@_owner
@click.option("--for", "for_seconds", required=True, metavar="SPAN", help="For how long: 90s, 10m, 2h, at most 7d.")
@click.option("--reason", required=True, help="Why, for the audit log and for those whose requests it concerns.")
@click.option("--unseen", is_flag=True, help="Accept what no attempt has called within the last day.")
@json_option
def close(target: str, tenant: str | None, for_seconds: str, reason: str, unseen: bool, as_json: bool) -> None:
    """Send requests to TARGET for a time although its attempts fail."""
    _force(target, tenant, CircuitState.CLOSED, for_seconds, reason, unseen, as_json)


@command.command()
@_target
@_owner
@json_option
def release(target: str, tenant: str | None, as_json: bool) -> None:
    """End what forces TARGET open or closed before its time."""
    command = ReleaseHealth(**_selector(target, tenant))
    ended = run(lambda me: me.ask(HEALTH_RELEASE, command), tenant=tenant)
    click.echo(ended.model_dump_json(indent=2) if as_json else f"{Selector.__str__(ended)} is not forced any more")


@command.command()
@click.option("--tenant", help="Only what this tenant's requests can reach, with the figures of its own requests.")
@click.option("--since", default="7d", show_default=True, help="From when on: 24h or 7d ago, or 2026-01-31.")
@click.option("--until", help="Until when, in the same way (default: now).")
@click.option("--limit", default=20, show_default=True, help="How many to show, newest first; at most 200.")
@json_option
def outages(tenant: str | None, since: str, until: str | None, limit: int, as_json: bool) -> None:
    """List outages: when, of what, why, and what became of the requests."""
    now = datetime.now(UTC)
    command = ListOutages(
        tenant=tenant,
        since=parse_past(since, now),
        until=None if until is None else parse_past(until, now),
        limit=limit,
    )
    found = run(lambda me: me.ask(OUTAGE_LIST, command, timeout_seconds=_OUTAGES_SECONDS), tenant=tenant)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    blocks = ["\n".join(describe_outage(outage, now)) for outage in found.outages]
    click.echo("\n\n".join(blocks) or "there was no outage")
    if found.more:
        click.echo("\nthere are older ones: raise --limit, or give --until")


def _force(
    target: str,
    tenant: str | None,
    state: Literal[CircuitState.OPEN, CircuitState.CLOSED],
    span: str,
    reason: str,
    unseen: bool,
    as_json: bool,
) -> None:
    seconds = int(parse_span(span, timedelta(seconds=MAX_FORCED_SECONDS)).total_seconds())
    selector = _selector(target, tenant)
    command = ForceHealth(**selector, state=state, for_seconds=seconds, reason=reason, unseen=unseen)
    made = run(lambda me: me.ask(HEALTH_FORCE, command), tenant=tenant)
    click.echo(made.model_dump_json(indent=2) if as_json else _describe_override(made))


def _describe_override(override: Override) -> str:
    return f"{Selector.__str__(override)} is forced {override.state} until {format_time(override.until)}"


def _selector(target: str, tenant: str | None) -> dict[str, Any]:
    name, _, model = target.partition("/")
    if not name:
        raise Problem("TARGET is empty", "Name a provider, PROVIDER/MODEL, or with --tenant an endpoint")
    place: dict[str, Any] = (
        {"provider": name} if tenant is None else {"provider": "custom", "tenant": tenant, "endpoint": name}
    )
    return place | ({"model": model} if model else {})


async def _ask(me: Connection, tenant: str | None, provider: str | None) -> HealthList:
    found = await me.ask(HEALTH_LIST, ListHealth(tenant=tenant))
    if provider is None:
        return found
    return HealthList(
        targets=[health for health in found.targets if health.target.provider == provider],
        overrides=[override for override in found.overrides if override.provider == provider],
    )


async def _watch(
    me: Connection,
    tenant: str | None,
    provider: str | None,
    show: Callable[[str], object],
    rounds: Sequence[int] | None = None,
) -> None:
    """Show the table, then every change, until it is interrupted or so many rounds are over."""
    before = await _ask(me, tenant, provider)
    show(format_health(before, datetime.now(UTC)))
    left = iter(rounds) if rounds is not None else None
    while left is None or next(left, None) is not None:
        await asyncio.sleep(_WATCH_SECONDS)
        after = await _ask(me, tenant, provider)
        for line in describe_changes(before, after, datetime.now(UTC)):
            show(line)
        before = after
