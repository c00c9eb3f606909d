"""Options, tables, times and amounts that several commands share."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import click

from keyferry.cli.problem import Problem
from keyferry.contracts.money import plain

tenant_option = click.option(
    "--tenant", default="demo", show_default=True, metavar="TENANT", help="The tenant that the command is about."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

_SPANS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_GAP = "  "


def format_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> str:
    """Return left-aligned columns under their heads, or `empty` if there are no rows."""
    if not rows:
        return empty
    cells = [list(heads), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(heads))]
    return "\n".join(
        _GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def format_time(when: datetime | None) -> str:
    """Return a time in UTC to the second, or a dash."""
    return "-" if when is None else when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def parse_time(text: str, now: datetime) -> datetime:
    """Parse an ISO 8601 date or time (UTC without a zone), or a span before `now` such as `30m`, `24h`, `7d`, `2w`.

    Raises Problem.
    """
    count, unit = text[:-1], text[-1:]
    try:
        if count.isdecimal() and unit in _SPANS:
            return now - timedelta(**{_SPANS[unit]: int(count)})
        parsed = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise Problem(
            f"{text!r} is not a time", "Write 2026-01-31, 2026-01-31T12:00, or a span back from now: 30m, 24h, 7d, 2w"
        ) from None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed


def format_days(count: int) -> str:
    """Return a number of days with its unit."""
    return "1 day" if count == 1 else f"{count} days"


def format_usd(amount: Decimal | None) -> str:
    """Return an exact amount of US dollars, or `unknown`."""
    return "unknown" if amount is None else f"${plain(amount)}"
