"""`keyferry prices`: list prices that an operator sets."""

from datetime import UTC, datetime
from typing import Any

import click

from keyferry.cli.connection import run
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import format_table, format_time, json_option
from keyferry.contracts.money import plain, usd
from keyferry.contracts.price_edits import (
    ListPriceEntries,
    PriceEntry,
    RemovePrice,
    SetPrice,
    TokenPrices,
)
from keyferry.contracts.routing_management import PRICE_LIST, PRICE_REMOVE, PRICE_SET

_KINDS = tuple(TokenPrices.model_fields)


@click.group()
def command() -> None:
    """Set, list and remove list prices, in US dollars per million tokens."""


def _price_options(function: Any) -> Any:
    """Add one option for each kind of token."""
    for kind in reversed(_KINDS):
        note = "Dollars per million requests, in addition." if kind == "per_request" else None
        function = click.option(f"--{kind.replace('_', '-')}", kind, metavar="USD", help=note)(function)
    return function


@command.command("set")
@click.argument("provider")
@click.argument("model")
@_price_options
@click.option("--base", metavar="MODEL", help="The price is a multiple of this model's, as for a fine-tuned one.")
@click.option("--factor", help="How many times the base's price (default: 1).")
@click.option("--from", "effective", metavar="TIME", help="When it begins (UTC; default: now): 2027-01-01.")
@json_option
def set_(
    provider: str,
    model: str,
    base: str | None,
    factor: str | None,
    effective: str | None,
    as_json: bool,
    **amounts: str | None,
) -> None:
    """Set the price of MODEL, as PROVIDER calls it. Earlier attempts keep their price."""
    given = {kind: amount for kind, amount in amounts.items() if amount is not None}
    request = SetPrice(
        provider=provider,
        model=model,
        effective=None if effective is None else parse_moment(effective),
        prices=TokenPrices.model_validate(given) if given else None,
        base=base,
        factor=None if factor is None else usd(factor),
    )
    saved = run(lambda me: me.ask(PRICE_SET, request))
    if as_json:
        click.echo(saved.model_dump_json(indent=2, exclude_none=True))
        return
    click.echo(f"set {saved.provider}/{saved.model} from {format_time(saved.effective)}: {_amounts(saved)}")
    for warning in saved.warnings:
        click.echo(f"warning: {warning}", err=True)


@command.command("list")
@click.option("--provider", metavar="NAME", help="Only prices of this provider.")
@click.option("--model", metavar="MODEL", help="Only prices of this model, as its provider calls it.")
@json_option
def list_(provider: str | None, model: str | None, as_json: bool) -> None:
    """List the prices that operators set. They take precedence over the price file and the price package."""
    found = run(lambda me: me.ask(PRICE_LIST, ListPriceEntries(provider=provider, model=model)))
    if as_json:
        click.echo(found.model_dump_json(indent=2, exclude_none=True))
        return
    heads = ("PROVIDER", "MODEL", "FROM", "PRICE", "VERSION", "SET BY")
    rows = [
        (one.provider, one.model, format_time(one.effective), _amounts(one), f"operator {one.revision}", one.changed_by)
        for one in found.prices
    ]
    click.echo(format_table(heads, rows, empty="no operator has set a price: those of the price package are in force"))


@command.command()
@click.argument("provider")
@click.argument("model")
@click.option("--from", "effective", metavar="TIME", required=True, help="When it begins, as the list shows it.")
@json_option
def rm(provider: str, model: str, effective: str, as_json: bool) -> None:
    """Remove one price of MODEL. Costs that are recorded stay as they are."""
    request = RemovePrice(provider=provider, model=model, effective=parse_moment(effective))
    removed = run(lambda me: me.ask(PRICE_REMOVE, request))
    if as_json:
        click.echo(removed.model_dump_json(indent=2, exclude_none=True))
        return
    click.echo(f"removed {removed.provider}/{removed.model} from {format_time(removed.effective)}: {_amounts(removed)}")


def parse_moment(text: str) -> datetime:
    """Parse an ISO 8601 date or time, in UTC without a zone. Raises Problem."""
    try:
        parsed = datetime.fromisoformat(text.replace(" ", "T", 1))
        return (parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Problem(f"{text!r} is not a time", "Write 2027-01-31, or 2027-01-31T12:00 (UTC)") from None


def _amounts(entry: PriceEntry) -> str:
    if entry.prices is not None:
        return ", ".join(f"{kind} {plain(price)}" for kind, price in entry.prices.given().items())
    return f"{plain(entry.factor) if entry.factor is not None else '1'} times {entry.base}"
