"""Plain tables, moments and amounts as a person reads them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from keyferry.cli.problem import Problem
from keyferry.contracts.money import plain

_SPANS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_GAP = "  "


def format_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> str:
    """Left-aligned columns under their heads; `empty` where there are no rows."""
    if not rows:
        return empty
    cells = [list(heads), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(heads))]
    return "\n".join(
        _GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def format_time(when: datetime | None) -> str:
    """UTC to the second, or a dash."""
    return "-" if when is None else when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def parse_time(text: str, now: datetime) -> datetime:
    """An ISO 8601 date or time (UTC where it names no zone), or a span before `now` such as `30m`, `24h`, `7d`, `2w`.

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


def days(count: int) -> str:
    """So many days."""
    return "1 day" if count == 1 else f"{count} days"


def format_usd(amount: Decimal | None) -> str:
    """An exact amount of US dollars; what is unknown is said to be."""
    return "unknown" if amount is None else f"${plain(amount)}"
