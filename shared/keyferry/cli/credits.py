"""`keyferry credits`: what tenants have, and what an operator gives or takes."""

from typing import TypeVar

import click

from keyferry.cli.connection import Connection, run
from keyferry.cli.credits_workers import declare_lost, workers
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import format_days, format_table, format_time, format_usd, json_option
from keyferry.contracts import ids
from keyferry.contracts.credit_management import (
    AdjustCredits,
    CreditBalance,
    CreditEntry,
    CreditHistory,
    CreditsChanged,
    CreditState,
    GetCredits,
    GrantCredits,
    ListCreditHistory,
    SetCreditThreshold,
)
from keyferry.contracts.ledger_management import (
    CREDIT_ADJUST,
    CREDIT_GET,
    CREDIT_GRANT,
    CREDIT_HISTORY,
    CREDIT_THRESHOLD,
)
from keyferry.contracts.money import plain
from keyferry.contracts.topology import Subject
from keyferry.runtime.bus.requests import BusError

C = TypeVar("C", GrantCredits, AdjustCredits)

_KEY_HELP = "A name for this change: repeating the command with it has no effect."
_REASON_HELP = "Why, for the history and the audit."
_DEFAULT = "default"
_STATES = {
    CreditState.NONE: "it never had any",
    CreditState.OK: "ok",
    CreditState.LOW: "low",
    CreditState.EMPTY: "empty, so requests that need credits are refused",
}
_NEGATIVE = {"ignore_unknown_options": True}
"""So that `-250` is read as a number."""


@click.group()
def command() -> None:
    """Show, grant and correct a tenant's credits. A thousand credits are one US dollar."""


command.add_command(workers)
command.add_command(declare_lost)


@command.command()
@click.argument("tenant")
@json_option
def show(tenant: str, as_json: bool) -> None:
    """Show what TENANT has, what of it is held for running requests, and for about how long it lasts."""
    found = run(lambda me: me.ask(CREDIT_GET, GetCredits(tenant=tenant)), tenant=tenant)
    click.echo(found.model_dump_json(indent=2) if as_json else "\n".join(format_balance(found)))


@command.command(context_settings=_NEGATIVE)
@click.argument("tenant")
@click.argument("amount", metavar="CREDITS")
@click.option("--reason", required=True, help=_REASON_HELP)
@click.option("--idempotency-key", help=_KEY_HELP)
@click.option("--source", help="The system that the grant comes from, such as a payment provider.")
@click.option("--source-id", help="Its id there: only the first grant of one source and id has an effect.")
@json_option
def grant(
    tenant: str,
    amount: str,
    reason: str,
    idempotency_key: str | None,
    source: str | None,
    source_id: str | None,
    as_json: bool,
) -> None:
    """Give TENANT credits: `keyferry credits grant acme 50000 --reason welcome` gives 50 dollars."""
    query = GrantCredits.model_validate(
        {
            "tenant": tenant,
            "credits": amount,
            "reason": reason,
            "idempotency_key": idempotency_key or ids.new("cli"),
            "source": source,
            "source_id": source_id,
        }
    )
    done = run(lambda me: _change(me, CREDIT_GRANT, query), tenant=tenant)
    click.echo(done.model_dump_json(indent=2) if as_json else format_change(done, f"granted {plain(query.credits)}"))


@command.command(context_settings=_NEGATIVE)
@click.argument("tenant")
@click.argument("amount", metavar="CREDITS")
@click.option("--reason", required=True, help=_REASON_HELP)
@click.option("--idempotency-key", help=_KEY_HELP)
@json_option
def adjust(tenant: str, amount: str, reason: str, idempotency_key: str | None, as_json: bool) -> None:
    """Correct TENANT's credits by CREDITS, such as 250 or -250; what is not available cannot be taken away."""
    query = AdjustCredits.model_validate(
        {
            "tenant": tenant,
            "credits": amount,
            "reason": reason,
            "idempotency_key": idempotency_key or ids.new("cli"),
        }
    )
    done = run(lambda me: _change(me, CREDIT_ADJUST, query), tenant=tenant)
    click.echo(
        done.model_dump_json(indent=2) if as_json else format_change(done, f"adjusted by {plain(query.credits)}")
    )


@command.command()
@click.argument("tenant")
@click.argument("amount", metavar="CREDITS")
@json_option
def threshold(tenant: str, amount: str, as_json: bool) -> None:
    """Count TENANT's credits as low at or below CREDITS; `default` for the default."""
    query = SetCreditThreshold.model_validate({"tenant": tenant, "credits": None if amount == _DEFAULT else amount})
    found = run(lambda me: me.ask(CREDIT_THRESHOLD, query), tenant=tenant)
    click.echo(found.model_dump_json(indent=2) if as_json else "\n".join(format_balance(found)))


@command.command()
@click.argument("tenant")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 200), help="Entries of one page.")
@click.option("--after", help="Continue behind this cursor, which the page before shows.")
@json_option
def history(tenant: str, limit: int, after: str | None, as_json: bool) -> None:
    """Show what happened to TENANT's credits, newest first, with the balance after each entry."""
    query = ListCreditHistory(tenant=tenant, limit=limit, after=after)
    found = run(lambda me: me.ask(CREDIT_HISTORY, query), tenant=tenant)
    click.echo(found.model_dump_json(indent=2) if as_json else "\n".join(format_history(found)))


async def _change(me: Connection, subject: Subject[C, CreditsChanged], query: C) -> CreditsChanged:
    """Make a change. Raises Problem with its key where it is not known whether it was made: a new key would make it twice."""
    try:
        return await me.ask(subject, query)
    except BusError as error:
        remedy = f"Repeat the command with `--idempotency-key {query.idempotency_key}`: then it is made once, whatever happened"
        raise Problem(f"{error}; the change may have been made", remedy) from None


def format_balance(found: CreditBalance) -> list[str]:
    """Return the lines about what a tenant has."""
    lasts = "unknown" if found.days_left is None else f"about {format_days(found.days_left)}"
    return [
        f"{found.tenant} has {plain(found.balance)} credits ({format_usd(found.balance_usd)})",
        f"  available   {plain(found.available)}",
        f"  held        {plain(found.held)}",
        f"  state       {_STATES[found.state]} (low at {plain(found.low_below)} or below)",
        f"  spent       {plain(found.spent_7_days)} in the last 7 days",
        f"  lasts       {lasts}",
        *([f"  owed        {plain(found.owed)}, which credits that come pay first"] if found.owed else []),
    ]


def format_change(done: CreditsChanged, what: str) -> str:
    """Return one line about a grant or an adjustment."""
    verb = f"{what} before, so nothing has changed" if done.repeated else what
    return f"{verb}: {done.credits.tenant} has {plain(done.credits.balance)} credits (entry {done.entry_id})"


def format_history(found: CreditHistory) -> list[str]:
    """Return the table of entries, and how to see more."""
    heads = ("AT", "KIND", "CREDITS", "BALANCE", "BY", "REASON")
    table = format_table(heads, [_row(entry) for entry in found.entries], empty="nothing has happened yet")
    return [table, *([f"`--after {found.next}` shows those before"] if found.next else [])]


def _row(entry: CreditEntry) -> tuple[str, ...]:
    sign = "+" if entry.credits > 0 else ""
    return (
        format_time(entry.at),
        entry.kind.value,
        f"{sign}{plain(entry.credits)}" if entry.owed is None or entry.credits else f"owed {plain(entry.owed)}",
        plain(entry.balance),
        entry.source or entry.actor or "-",
        entry.reason or "-",
    )
