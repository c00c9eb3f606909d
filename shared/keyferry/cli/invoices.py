"""`keyferry invoices`: monthly statements of a tenant."""

from collections.abc import Sequence
from pathlib import Path

import click

from keyferry.cli.connection import Connection, run
from keyferry.cli.output_file import destination_bytes
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import format_table, json_option, tenant_option
from keyferry.contracts.analytics_answers import UsageFigures
from keyferry.contracts.statement_management import STATEMENT_GET, STATEMENT_LIST
from keyferry.contracts.statements import GetStatement, ListStatements, Statement, StatementSummary
from keyferry.invoices.csv_file import statement_csv
from keyferry.invoices.words import (
    ENTRY_WORDS,
    RECONCILIATION_WORDS,
    STATE_WORDS,
    cost_text,
    dollars,
    file_name,
    local_time,
    value_text,
)

_SECONDS = 30.0
_TAG_HELP = "Split the lines by the value of this tag, too."
_HEADS = ("MONTH", "ZONE", "STATE", "OPENING $", "CREDITED $", "CHARGED $", "CLOSING $", "REQUESTS")
_FIGURES = ("REQUESTS", "ATTEMPTS", "TOKENS", "COST $", "CHARGE $")
_MAX_ROWS = 20
"""Lines on a terminal; a file has all."""


@click.group()
def command() -> None:
    """Show and download a tenant's monthly statements: its credits, its usage, and what connects the two."""


@command.command("list")
@tenant_option
@json_option
def list_(tenant: str, as_json: bool) -> None:
    """List the months that have a statement, newest first."""
    query = ListStatements(tenant=tenant)
    found = run(lambda me: me.ask(STATEMENT_LIST, query, timeout_seconds=_SECONDS), tenant=tenant)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    empty = f"{tenant} has no statement yet: the first month is that of its first credits or of its first request"
    click.echo(format_table(_HEADS, [_month(each) for each in found.statements], empty=empty))


@command.command()
@click.argument("month", required=False)
@click.option("--tag", help=_TAG_HELP)
@tenant_option
@json_option
def show(month: str | None, tag: str | None, tenant: str, as_json: bool) -> None:
    """Show the statement of MONTH, such as 2026-11; without MONTH that of the month that lasts."""
    found = _get(tenant, month, tag)
    click.echo(found.model_dump_json(indent=2) if as_json else "\n".join(format_statement(found)))


@command.command()
@click.argument("month", required=False)
@click.option("--format", "form", type=click.Choice(["pdf", "csv", "json"]), default="pdf", show_default=True)
@click.option("--tag", help=_TAG_HELP)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write (default: keyferry-invoice-TENANT-MONTH here).",
)
@tenant_option
def download(month: str | None, form: str, tag: str | None, output: Path | None, tenant: str) -> None:
    """Write the statement of MONTH, or of the month that lasts, to a file.

    The same statement always makes the same PDF and CSV.
    """
    found = _get(tenant, month, tag)
    path = output or Path(f"{file_name(found)}.{form}")
    with destination_bytes(path) as file:
        file.write(_render(found, form))
    click.echo(f"wrote the statement of {found.tenant} for {found.month} to {path}: {STATE_WORDS[found.state]}")


def format_statement(found: Statement) -> list[str]:
    """Return a statement as lines of text."""
    account, lines = found.account, found.reconciliation
    rows = [("opening balance", "", dollars(account.opening_micro_usd))]
    rows += [
        (ENTRY_WORDS[each.kind].lower(), str(each.transfers), dollars(each.amount_micro_usd)) for each in account.sums
    ]
    rows.append(("closing balance", "", dollars(account.closing_micro_usd)))
    explained = [("charges of attempts that began in the month", "", dollars(lines.usage_micro_usd))]
    explained += [
        (RECONCILIATION_WORDS[each.kind], str(each.attempts or ""), dollars(each.amount_micro_usd))
        for each in lines.lines
    ]
    explained.append(("posted in the month", "", dollars(lines.posted_micro_usd)))
    span = f"{local_time(found.since, found.tz)} until {local_time(found.until, found.tz)}"
    return [
        f"statement of {found.tenant_name} ({found.tenant}) for {found.month}: {span} ({found.tz})",
        STATE_WORDS[found.state],
        "\nCREDITS",
        format_table(("", "NUMBER", "$"), rows, empty=""),
        "\nUSAGE",
        *_usage(found),
        "\nFROM USAGE TO POSTED CHARGES",
        format_table(("", "ATTEMPTS", "$"), explained, empty=""),
        f"\nfingerprint {found.fingerprint}",
    ]


def _usage(found: Statement) -> Sequence[str]:
    heads = [(f"tag:{found.tag}" if each.value == "tag" else each.value).upper() for each in found.by]
    blank = [""] * (len(heads) - 1)
    shown = found.lines[:_MAX_ROWS]
    rows = [(*(value_text(key) for key in row.keys), *_figures(row.figures)) for row in shown]
    rows.append(("total", *blank, *_figures(found.total)))
    more = len(found.lines) + found.lines_left_out - len(shown)
    command = f"keyferry invoices download {found.month} --tenant {found.tenant}"
    return [
        format_table((*heads, *_FIGURES), rows, empty="nothing was used"),
        *([f"and {more} more lines: `{command}` writes them to a file"] if more else []),
    ]


def _figures(figures: UsageFigures) -> tuple[str, ...]:
    counts = (figures.requests, figures.attempts, figures.total_tokens)
    return (*map(str, counts), cost_text(figures), dollars(figures.charge_micro_usd))


def _month(each: StatementSummary) -> tuple[str, ...]:
    amounts = (each.opening_micro_usd, each.credited_micro_usd, each.posted_micro_usd, each.closing_micro_usd)
    return (each.month, each.tz, each.state.value, *map(dollars, amounts), str(each.usage.requests))


def _get(tenant: str, month: str | None, tag: str | None) -> Statement:
    async def work(me: Connection) -> Statement:
        chosen = month or await _newest(me, tenant)
        query = GetStatement(tenant=tenant, month=chosen, tag=tag)
        return await me.ask(STATEMENT_GET, query, timeout_seconds=_SECONDS)

    return run(work, tenant=tenant)


async def _newest(me: Connection, tenant: str) -> str:
    found = await me.ask(STATEMENT_LIST, ListStatements(tenant=tenant), timeout_seconds=_SECONDS)
    if not found.statements:
        remedy = "The first month is that of its first credits or of its first request"
        raise Problem(f"{tenant} has no statement yet", remedy)
    return found.statements[0].month


def _render(found: Statement, form: str) -> bytes:
    if form == "json":
        return found.model_dump_json(indent=2).encode()
    if form == "csv":
        return statement_csv(found).encode()
    from keyferry.invoices.pdf_file import statement_pdf

    return statement_pdf(found)
