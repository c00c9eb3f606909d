"""`keyferry audit`: who did what, and whether the log is complete and unchanged."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from keyferry.cli.connection import Connection, run
from keyferry.cli.output_file import destination
from keyferry.cli.terminal import format_table, format_time, json_option, parse_past, tenant_option
from keyferry.contracts.audit import AuditEntry, AuditVerification, ListAudit, VerifyAudit
from keyferry.contracts.audit_rows import audit_csv, audit_csv_head, audit_end_line, audit_json_lines
from keyferry.contracts.topology import AUDIT_LIST, AUDIT_VERIFY

_ALL_ENTRIES_SECONDS = 300.0
_EXPORT_PAGE = 500
_PAGE = 250
"""Tenants in one request."""
_FULL_EVERY = timedelta(days=7)
_PROGRESS_COLUMNS = 40


def _filters(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose entries."""
    for option in (
        click.option("--until", metavar="TIME", help="Only entries before this; as --since."),
        click.option(
            "--since", metavar="TIME", help="Only entries from then on: a date or time, or a span such as 7d."
        ),
        click.option("--target", help="Only what concerns this, such as a key's id."),
        click.option("--action", help="Only this action, such as key.add; or its first word, as in key."),
        click.option("--actor", help="Only what this actor did."),
    ):
        function = option(function)
    return function


@click.group()
def command() -> None:
    """Read and verify the audit log: who changed tenants, tokens, endpoints, keys and the vault."""


@command.command("list")
@tenant_option
@click.option("--limit", default=50, show_default=True, help="How many entries to show, newest first; at most 1000.")
@click.option("--before", type=int, help="Only entries before this position.")
@_filters
@json_option
def list_(tenant: str, limit: int, before: int | None, as_json: bool, **given: str | None) -> None:
    """Show a tenant's audit log, newest first."""
    command = _query(tenant, given, limit=limit, before=before)
    found = run(lambda me: me.ask(AUDIT_LIST, command), tenant=tenant)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    heads = ("POSITION", "AT", "ACTOR", "ACTION", "TARGET", "OUTCOME", "DETAILS")
    click.echo(format_table(heads, [_row(entry) for entry in found.entries], empty=f"nothing is recorded for {tenant}"))


@command.command()
@tenant_option
@_filters
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True)
@click.option(
    "--output", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Instead of the output."
)
def export(tenant: str, form: str, output: Path | None, **given: str | None) -> None:
    """Export a tenant's audit log, newest first.

    FILE appears under its name when it is complete.
    """
    query = _query(tenant, given, limit=_EXPORT_PAGE, before=None)

    async def work(me: Connection) -> None:
        with destination(output) as file:
            file.write(audit_csv_head() if form == "csv" else "")
            count = 0
            async for entries in _pages(me, query):
                file.write(audit_csv(entries) if form == "csv" else audit_json_lines(entries))
                count += len(entries)
            if form == "jsonl":
                file.write(audit_end_line(count))

    run(work, tenant=tenant)


async def _pages(me: Connection, query: ListAudit) -> AsyncIterator[list[AuditEntry]]:
    while entries := (await me.ask(AUDIT_LIST, query, timeout_seconds=_ALL_ENTRIES_SECONDS)).entries:
        yield entries
        if len(entries) < query.limit or entries[-1].position == 1:
            return
        query = query.model_copy(update={"before": entries[-1].position})


def _query(tenant: str, given: Mapping[str, str | None], *, limit: int, before: int | None) -> ListAudit:
    now = datetime.now(UTC)
    times = {name: parse_past(text, now) for name in ("since", "until") if (text := given.get(name)) is not None}
    texts = {name: given.get(name) for name in ("actor", "action", "target")}
    return ListAudit.model_validate({"tenant": tenant, "limit": limit, "before": before, **texts, **times})


@command.command()
@click.option("--tenant", help="Only this tenant's chain.")
@click.option("--full", is_flag=True, help="Recompute every entry, not only those since the last verification.")
@json_option
def verify(tenant: str | None, full: bool, as_json: bool) -> int:
    """Verify every chain. The exit status is 0 if no entry was changed, removed, reordered or cut off.

    Each chain is verified from where its last verification has ended; --full begins at its first entry, and also finds a change
    of what was verified before. Run that every week.
    """
    question = VerifyAudit(tenant=tenant, incremental=not full, limit=None if tenant else _PAGE)
    report = run(lambda me: _verify_pages(me, question), tenant=tenant)
    if as_json:
        click.echo(report.model_dump_json(indent=2))
    else:
        click.echo("\n".join(_describe(report, datetime.now(UTC))))
    return 1 if report.faults else 0


async def _verify_pages(me: Connection, question: VerifyAudit) -> AuditVerification:
    """Verify page after page of tenants, and show on a terminal how many are done."""
    pages: list[AuditVerification] = []
    while True:
        page = await me.ask(AUDIT_VERIFY, question, timeout_seconds=_ALL_ENTRIES_SECONDS)
        pages.append(page)
        if page.next is None:
            _show_progress("")
            return _sum(pages)
        _show_progress(f"{sum(done.tenants for done in pages)} of {page.of_tenants} tenants")
        question = question.model_copy(update={"after": page.next})


def _show_progress(progress: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{progress.ljust(_PROGRESS_COLUMNS)}\r", nl=False, err=True)


def _sum(pages: Sequence[AuditVerification]) -> AuditVerification:
    moments = [page.full_at for page in pages if page.full_at is not None]
    return AuditVerification(
        tenants=sum(page.tenants for page in pages),
        entries=sum(page.entries for page in pages),
        faults=[fault for page in pages for fault in page.faults],
        continued=sum(page.continued for page in pages),
        full_at=min(moments, default=None),
    )


def _describe(report: AuditVerification, now: datetime) -> Iterator[str]:
    yield f"{report.entries} entries of {report.tenants} tenants checked"
    if report.continued:
        yield f"{report.continued} chains from where they were verified before"
    yield from (f"FAULT: {fault}" for fault in report.faults)
    if not report.faults:
        yield "the audit log is complete and unchanged"
    if report.full_at is not None and now - report.full_at > _FULL_EVERY:
        yield f"a chain was last verified whole at {format_time(report.full_at)}: verify it with `--full`"


def _row(entry: AuditEntry) -> tuple[str, ...]:
    event = entry.event
    details = ", ".join(f"{name}={value}" for name, value in sorted(event.details.items()))
    return (
        str(entry.position),
        format_time(event.at),
        event.actor,
        event.action,
        event.target,
        event.outcome.value,
        details,
    )
