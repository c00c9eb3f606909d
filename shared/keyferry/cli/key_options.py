"""Options about the properties of a provider key, and their values."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

import click

from keyferry.cli.problem import Problem
from keyferry.cli.terminal import parse_expiry
from keyferry.contracts.money import usd

F = TypeVar("F", bound=Callable[..., Any])


def scope_options(command: F) -> F:
    """Add --team and --member to a command."""
    team = click.option("--team", help="The team whose requests alone it pays for.")
    member = click.option("--member", help="The member whose requests alone it pays for.")
    return team(member(command))


def parse_key_expiry(text: str | None) -> datetime | None:
    """Parse when a key expires. Raises Problem."""
    return None if text is None else parse_expiry(text, datetime.now(UTC))


def parse_monthly_limit(text: str | None) -> Decimal | None:
    """Parse an amount of US dollars. Raises Problem."""
    try:
        amount = None if text is None else usd(text)
    except ValueError:
        raise Problem(f"{text!r} is not an amount of US dollars", "Write it like 50 or 12.50") from None
    if amount is not None and amount < 0:
        raise Problem("a monthly limit cannot be negative", "Write it like 50 or 12.50")
    return amount
