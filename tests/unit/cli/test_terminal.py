"""Tables, times, amounts and usage as text."""

import io
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import click
import pytest

from keyferry.cli.problem import Problem
from keyferry.cli.terminal import format_table, format_time, format_usd, parse_expiry, parse_past, protect_terminal
from keyferry.cli.usage import format_summary
from keyferry.contracts.usage import SummarizeUsage, TokenUsage, UsageRow, UsageSummary

_NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def test_columns_line_up_without_trailing_blanks() -> None:
    assert format_table(("A", "LONG"), [("wide", "x"), ("y", "")], empty="-").splitlines() == [
        "A     LONG",
        "wide  x",
        "y",
    ]
    assert format_table(("A",), [], empty="nothing") == "nothing"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("30m", _NOW - timedelta(minutes=30)),
        ("24h", _NOW - timedelta(hours=24)),
        ("7d", _NOW - timedelta(days=7)),
        ("2w", _NOW - timedelta(weeks=2)),
        ("2026-01-01", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01T10:00", datetime(2026, 1, 1, 10, tzinfo=UTC)),
        ("2026-01-01T10:00+02:00", datetime(2026, 1, 1, 8, tzinfo=UTC)),
    ],
)
def test_times_are_parsed(text: str, meant: datetime) -> None:
    assert parse_past(text, _NOW) == meant


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("30m", _NOW + timedelta(minutes=30)),
        ("12h", _NOW + timedelta(hours=12)),
        ("7d", _NOW + timedelta(days=7)),
        ("2w", _NOW + timedelta(weeks=2)),
        ("2026-02-01", datetime(2026, 2, 1, tzinfo=UTC)),
        ("2026-01-31T13:00", datetime(2026, 1, 31, 13, tzinfo=UTC)),
        ("2026-01-31T12:30+00:00", datetime(2026, 1, 31, 12, 30, tzinfo=UTC)),
    ],
)
def test_an_expiry_is_in_the_future(text: str, meant: datetime) -> None:
    assert parse_expiry(text, _NOW) == meant


@pytest.mark.parametrize("text", ["0d", "2026-01-31", "2026-01-31T12:00", "2020-12-31", "2026-01-31T13:30+02:00"])
def test_an_expiry_that_has_passed_is_refused(text: str) -> None:
    with pytest.raises(Problem, match="has passed already") as problem:
        parse_expiry(text, _NOW)
    assert "7d" in problem.value.remedy


@pytest.mark.parametrize(
    "text", ["", "yesterday", "d", "-1d", "7y", "2026-13-01", "99999999999d", "\u0667d", "0001-01-01T00:00+23:59"]
)
@pytest.mark.parametrize("parse", [parse_past, parse_expiry])
def test_invalid_time_is_rejected_with_examples(text: str, parse: Callable[[str, datetime], datetime]) -> None:
    with pytest.raises(Problem, match="is not a time") as problem:
        parse(text, _NOW)
    assert "7d" in problem.value.remedy


def test_times_and_amounts_are_formatted_exactly() -> None:
    assert format_time(_NOW.astimezone()) == "2026-01-31 12:00:00Z"
    assert format_time(None) == "-"
    assert format_usd(Decimal("0.000000000001")) == "$0.000000000001"
    assert format_usd(None) == "unknown"


def test_usage_shows_totals_and_unpriced_attempts() -> None:
    row = UsageRow(
        provider="echo",
        model="echo",
        attempts=3,
        completed=1,
        failed=1,
        cancelled=1,
        indeterminate=0,
        token_usage=TokenUsage(input=10, output=5),
        priced_cost_usd=Decimal("1.5"),
        unpriced=2,
    )
    summary = UsageSummary(
        tenant="demo", requests=2, attempts=3, priced_cost_usd=Decimal("1.5"), unpriced=2, rows=[row]
    )
    lines = "\n".join(format_summary(summary, SummarizeUsage(tenant="demo", since=_NOW))).splitlines()
    assert lines[0] == "demo, 2026-01-31 12:00:00Z to -"
    assert lines[2].split() == ["echo", "echo", "3", "1", "1", "1", "0", "15", "$1.5", "+", "2", "unknown"]
    assert lines[3].startswith("2 requests, 3 attempts, cost $1.5 + 2 unknown; the cost of 2 attempts is unknown")
    (*_, last) = format_summary(summary.model_copy(update={"unpriced": 1}), SummarizeUsage(tenant="demo"))
    assert "the cost of 1 attempt is unknown" in last
    unknown = summary.model_copy(
        update={
            "priced_cost_usd": None,
            "unpriced": 3,
            "rows": [row.model_copy(update={"priced_cost_usd": None, "unpriced": 3})],
        }
    )
    lines = "\n".join(format_summary(unknown, SummarizeUsage(tenant="demo"))).splitlines()
    assert lines[2].endswith("  unknown")
    assert "3 attempts, cost unknown; " in lines[3]
    assert "$" not in "".join(lines)
    nothing = UsageSummary(tenant="demo", requests=0, attempts=0, priced_cost_usd=Decimal(0), unpriced=0, rows=[])
    assert format_summary(nothing, SummarizeUsage(tenant="demo"))[:2] == ["demo, all time", "nothing was used"]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_text_from_outside_cannot_steer_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    protect_terminal()
    click.echo("a\x1b]0;title\x07\tb\n\x9b31m\u202e\ud800 ok 模型")
    click.echo("\x1b[2J", err=True)
    assert out.getvalue() == "a\ufffd]0;title\ufffd\tb\n\ufffd31m\ufffd\ufffd ok 模型\n"
    assert err.getvalue() == "\ufffd[2J\n"


def test_a_pipe_gets_the_text_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    protect_terminal()
    click.echo("\x9b2J\u202e")
    assert out.getvalue() == "\x9b2J\u202e\n"
