"""`keyferry requests`: find, follow, show and export requests."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import click
from pydantic import TypeAdapter

from keyferry.cli.connection import Connection, run
from keyferry.cli.output_file import destination
from keyferry.cli.problem import Problem
from keyferry.cli.request_content import show_content
from keyferry.cli.request_output import HEADS, format_line, format_requests, format_shown, request_cells
from keyferry.cli.terminal import format_time, json_option, parse_past, tenant_option
from keyferry.contracts.analytics import ZoneName
from keyferry.contracts.failure import FailureClass
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.ledger_management import REQUEST_LIST, REQUEST_SHOW
from keyferry.contracts.request_log import (
    MAX_PAGE,
    ListRequests,
    LoggedRequest,
    RequestOutcome,
    RequestPage,
    ShowRequest,
)
from keyferry.contracts.request_rows import csv_head, csv_lines, export_rows, json_line, json_lines
from keyferry.contracts.usage import KeySource

_SECONDS = 30.0
_POLL_SECONDS = 1.0
_LOOK_BACK = timedelta(minutes=2)
"""A tail also shows requests that began so long ago and are recorded only now."""
_MAX_LISTED = 10_000
_MOST_PAGES = 5
"""Of a tail, each time: more requests a second than that are not read."""

_FILTERS: tuple[Callable[[Any], Any], ...] = (
    click.option("--since", help="Start: 2026-01-31, 2026-01-31T12:00 (UTC), or 24h, 7d before now."),
    click.option("--until", help="End (exclusive), in the same forms."),
    click.option(
        "--outcome", type=click.Choice([each.value for each in RequestOutcome]), help="How the request ended."
    ),
    click.option("--error-class", type=click.Choice([each.value for each in FailureClass]), help="Why it failed."),
    click.option("--provider", help="A provider, or the name of the tenant's own server."),
    click.option("--model", help="The model that was asked for, called or served."),
    click.option("--operation", help="What the request was for."),
    click.option("--level", type=click.Choice([each.value for each in PowerLevel]), help="The power level."),
    click.option("--key-source", type=click.Choice([each.value for each in KeySource]), help="Whose key was used."),
    click.option("--key-id", help="The provider key that was used."),
    click.option("--token", help="The id of a client token."),
    click.option("--team", help="The team."),
    click.option("--member", help="The member."),
    click.option("--tag", metavar="NAME[=VALUE]", help="A tag of the request."),
    click.option("--min-cost", metavar="USD", help="At least this cost of one attempt: 0.05."),
    click.option("--min-latency", type=click.IntRange(0), metavar="MS", help="At least this latency of one attempt."),
    click.option("--id", "id_", help="The id of a request, attempt, decision or trace, or its beginning."),
    click.option("--text", help="Words of the failure's message."),
    tenant_option,
)


def filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that select requests."""
    for option in reversed(_FILTERS):
        command = option(command)
    return command


@click.group()
def command() -> None:
    """Find, follow, show and export requests, also those that were refused."""


@command.command("list")
@filters
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, _MAX_LISTED), help="At most so many.")
@click.option("--count", "total", is_flag=True, help="Count all that match as well, up to 10 000.")
@json_option
def list_(tenant: str, limit: int, total: bool, as_json: bool, **given: Any) -> None:
    """List requests with their attempts, newest first."""
    query = _query(tenant, given, limit=min(limit, MAX_PAGE), count=total)

    async def work(me: Connection) -> tuple[list[LoggedRequest], RequestPage]:
        found: list[LoggedRequest] = []
        first: RequestPage | None = None
        async for page in _pages(me, query):
            first = first or page
            found += page.requests
            if len(found) >= limit:
                break
        assert first is not None
        return found[:limit], first

    found, first = run(work, tenant=tenant)
    if as_json:
        shown = RequestPage(requests=found, as_of=first.as_of, total=first.total)
        click.echo(shown.model_dump_json(indent=2, exclude={"next"}))
    else:
        click.echo("\n".join(format_requests(found, first)))


@command.command()
@filters
@json_option
def tail(tenant: str, as_json: bool, **given: Any) -> None:
    """Show new requests as they are recorded, until Ctrl-C. A request that is tried again appears again."""
    if given.pop("until") is not None:
        raise Problem("`requests tail` has no end", "Leave out --until, or use `requests list`")

    async def work(me: Connection) -> None:
        now = datetime.now(UTC)
        begin = now if given["since"] is None else parse_past(given["since"], now)
        if not as_json:
            click.echo(format_line(HEADS))
        shown: dict[str, tuple[int, str, datetime]] = {}
        while True:
            since = max(begin, datetime.now(UTC) - _LOOK_BACK) if shown else begin
            query = _query(tenant, {**given, "since": since.isoformat(), "until": None}, limit=MAX_PAGE)
            for one in reversed(await _read_new(me, query, shown)):
                click.echo(one.model_dump_json(exclude_none=True) if as_json else format_line(request_cells(one)))
            _forget_old(shown, since)
            sys.stdout.flush()
            await asyncio.sleep(_POLL_SECONDS)

    run(work, tenant=tenant)


@command.command()
@click.argument("request_id")
@click.option(
    "--content", is_flag=True, help="Show what is stored of prompt and answer; the audit records who read it."
)
@tenant_option
@json_option
def show(request_id: str, content: bool, tenant: str, as_json: bool) -> None:
    """Show the request REQUEST_ID: decisions in short, attempts, and how cost and charge come about."""
    if content:
        show_content(request_id, tenant, as_json)
        return
    question = ShowRequest(tenant=tenant, request_id=request_id)
    shown = run(lambda me: me.ask(REQUEST_SHOW, question, timeout_seconds=_SECONDS), tenant=tenant)
    if shown.request is None and not shown.decisions:
        raise Problem(
            f"the ledger has no record of {request_id} for the tenant {tenant}",
            "Check the id and --tenant; records arrive about a second after a request. `requests list --id` finds a"
            " request by the beginning of an id",
        )
    click.echo(shown.model_dump_json(indent=2) if as_json else "\n".join(format_shown(shown, request_id)))


@command.command()
@filters
@click.option(
    "--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True, help="The format."
)
@click.option("--tz", default="UTC", show_default=True, help="The zone whose offset times have: Europe/Berlin.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file to write (default: standard output)."
)
@click.option("--quiet", is_flag=True, help="Show no progress.")
def export(tenant: str, form: Literal["csv", "jsonl"], tz: str, output: Path | None, quiet: bool, **given: Any) -> None:
    """Export every attempt of the requests, and refused requests, as of two seconds ago.

    FILE appears under its name when it is complete.
    """
    zone = ZoneInfo(TypeAdapter(ZoneName).validate_python(tz))
    query = _query(tenant, given, limit=MAX_PAGE, settled=True)

    async def work(me: Connection) -> str:
        requests = rows = 0
        with destination(output) as file:
            file.write(csv_head() if form == "csv" else "")
            async for page in _pages(me, query):
                found = [row for request in page.requests for row in export_rows(request, zone)]
                file.write(csv_lines(found) if form == "csv" else json_lines(found))
                requests, rows = requests + len(page.requests), rows + len(found)
                if not quiet and page.requests and sys.stderr.isatty():
                    reached = format_time(page.requests[-1].started_at)
                    click.echo(f"\r{requests} requests, {rows} rows, back to {reached}", err=True, nl=False)
            if form == "jsonl":
                end = {"end": True, "as_of": page.as_of.isoformat(), "requests": requests, "rows": rows}
                file.write(json_line(end))
        return f"exported {requests} requests, {rows} rows, as of {format_time(page.as_of)}"

    summary = run(work, tenant=tenant)
    if not quiet:
        click.echo(f"\r{summary}" if sys.stderr.isatty() else summary, err=True)


def _query(tenant: str, given: dict[str, Any], **paging: Any) -> ListRequests:
    now = datetime.now(UTC)
    times = {name: parse_past(text, now) for name in ("since", "until") if (text := given.get(name)) is not None}
    name, equals, value = (given["tag"] or "").partition("=")
    same = (
        "outcome",
        "error_class",
        "provider",
        "model",
        "operation",
        "level",
        "key_source",
        "key_id",
        "team",
        "member",
        "text",
    )
    return ListRequests.model_validate(
        {
            "tenant": tenant,
            **times,
            **{field: given[field] for field in same},
            "client_token_id": given["token"],
            "min_cost_usd": given["min_cost"],
            "min_latency_ms": given["min_latency"],
            "id": given["id_"],
            "tag_name": name or None,
            "tag_value": value if equals else None,
            **paging,
        }
    )


async def _pages(me: Connection, query: ListRequests) -> AsyncIterator[RequestPage]:
    """Yield every page of a query."""
    while True:
        page = await me.ask(REQUEST_LIST, query, timeout_seconds=_SECONDS)
        yield page
        if page.next is None:
            return
        query = query.model_copy(update={"after": page.next, "count": False})


async def _read_new(
    me: Connection, query: ListRequests, shown: dict[str, tuple[int, str, datetime]]
) -> list[LoggedRequest]:
    """Return the requests that were not shown as they are now, newest first, and note them as shown."""
    new: list[LoggedRequest] = []
    pages = 0
    async for page in _pages(me, query):
        before = len(new)
        for one in page.requests:
            state = (len(one.attempts), one.outcome.value, one.started_at)
            if shown.get(one.request_id) != state:
                shown[one.request_id] = state
                new.append(one)
        pages += 1
        if len(new) == before or pages == _MOST_PAGES:
            break
    return new


def _forget_old(shown: dict[str, tuple[int, str, datetime]], since: datetime) -> None:
    for request_id in [one for one, state in shown.items() if state[2] < since - _LOOK_BACK]:
        del shown[request_id]
