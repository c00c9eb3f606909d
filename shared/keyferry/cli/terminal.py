"""Options, tables, times and amounts that several commands share."""

import io
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TextIO, cast

import click
from click.core import ParameterSource

from keyferry.cli.problem import Problem
from keyferry.contracts.money import plain
from keyferry.contracts.text import parse_digits, printable

_FIRST_TENANT = "demo"


def _default_tenant() -> str:
    """Return a signed-in member's own tenant, and for the operator the one that every installation begins with."""
    from keyferry.cli.member_connection import own_tenant  # the bus library, which `--help` does not need

    return own_tenant() or _FIRST_TENANT


tenant_option = click.option(
    "--tenant",
    default=_default_tenant,
    show_default=f"{_FIRST_TENANT}; signed in, your own",
    metavar="TENANT",
    help="The tenant that the command is about.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

EXPIRY_HELP = "When it expires: 12h or 7d from now, 2026-12-31, or 2026-12-31T12:00 (UTC)."

_SHORT_SPANS = {"s": "seconds"}
_SPANS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_GAP = "  "


def is_given(parameter: str) -> bool:
    """Return whether a parameter of the running command was given, and is not its default."""
    return click.get_current_context().get_parameter_source(parameter) is not ParameterSource.DEFAULT


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


def parse_past(text: str, now: datetime) -> datetime:
    """Parse an ISO 8601 date or time (UTC without a zone), or a span before `now` such as `30m`, `24h`, `7d`, `2w`.

    Raises Problem.
    """
    return _parse(text, now, -1)


def parse_expiry(text: str, now: datetime) -> datetime:
    """Parse an ISO 8601 date or time (UTC without a zone), or a span after `now` such as `30m`, `24h`, `7d`, `2w`.

    Raises Problem, also for a time that has passed.
    """
    parsed = _parse(text, now, 1)
    if parsed <= now:
        raise Problem(
            f"the expiry {text} has passed already: that is {format_time(parsed)}, and now it is {format_time(now)}",
            "Give a later date, or a span from now: 24h, 7d. A date without a time is its first minute in UTC",
        )
    return parsed


def parse_span(text: str, longest: timedelta) -> timedelta:
    """Parse a span of time such as `90s`, `10m`, `2h`, `7d`. Raises Problem, also for none and for more than `longest`."""
    number, unit = parse_digits(text[:-1]), (_SHORT_SPANS | _SPANS).get(text[-1:])
    hours = longest // timedelta(hours=1)
    most = format_days(hours // 24) if hours % 24 == 0 else f"{hours} h"
    try:
        span = timedelta(**{unit: number}) if number is not None and unit is not None else timedelta(0)
    except OverflowError:
        span = timedelta(0)
    if not timedelta(0) < span <= longest:
        raise Problem(
            f"{text!r} is not a span of time that is allowed here", f"Write 90s, 10m, 2h or 3d; at most {most}"
        )
    return span


def _parse(text: str, now: datetime, direction: int) -> datetime:
    count, unit = text[:-1], text[-1:]
    try:
        if (number := parse_digits(count)) is not None and unit in _SPANS:
            return now + direction * timedelta(**{_SPANS[unit]: number})
        parsed = datetime.fromisoformat(text)
        return (parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed).astimezone(UTC)
    except (ValueError, OverflowError):
        span = "back from now" if direction < 0 else "from now"
        raise Problem(
            f"{text!r} is not a time", f"Write 2026-01-31, 2026-01-31T12:00, or a span {span}: 30m, 24h, 7d, 2w"
        ) from None


def format_days(count: int) -> str:
    """Return a number of days with its unit."""
    return "1 day" if count == 1 else f"{count} days"


def format_usd(amount: Decimal | None) -> str:
    """Return an exact amount of US dollars, or `unknown`."""
    return "unknown" if amount is None else f"${plain(amount)}"


class TerminalText(io.TextIOBase):
    """Standard output on a terminal: shows text from outside without letting it steer the terminal.

    Names and reports are stored clean; a model's answer is not, and could hold any escape sequence.
    """

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal

    def write(self, text: str) -> int:
        """Write `text`, with U+FFFD for control characters other than line breaks and tabs."""
        self._terminal.write(printable(text))
        return len(text)

    def flush(self) -> None:
        """Flush the terminal."""
        self._terminal.flush()

    def isatty(self) -> bool:
        """Return True: this is a terminal."""
        return True

    def fileno(self) -> int:
        """Return the terminal's file descriptor."""
        return self._terminal.fileno()


def protect_terminal() -> None:
    """Protect the terminals that standard output and standard error are connected to, if they are."""
    if sys.stdout.isatty():
        sys.stdout = cast(TextIO, TerminalText(sys.stdout))
    if sys.stderr.isatty():
        sys.stderr = cast(TextIO, TerminalText(sys.stderr))
