"""Options of `keyferry usage`, and its tables."""

from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import click
import pytest

from keyferry.cli.main import run
from keyferry.cli.problem import Problem
from keyferry.cli.usage_options import DIMENSIONS, Splits, build, parse_splits, parse_tags
from keyferry.cli.usage_output import (
    format_amount,
    format_breakdown,
    format_errors,
    format_forecast,
    format_latency,
    format_savings,
    format_series,
    format_share,
)
from keyferry.cli.usage_reports import show
from keyferry.contracts.analytics import BreakDownUsage, BucketLength, Dimension
from keyferry.contracts.analytics_answers import (
    BreakdownRow,
    BucketSpan,
    DimensionValue,
    ForecastRange,
    Percentiles,
    SeriesLine,
    UsageBreakdown,
    UsageForecast,
    UsageSavings,
    UsageSeries,
    ValueKind,
)
from keyferry.contracts.usage_rows import breakdown_csv
from tests.support.ledger.usage_figures import figures

NOW = datetime(2026, 11, 29, 10, 20, tzinfo=UTC)
SINCE, UNTIL = datetime(2026, 9, 30, 22, tzinfo=UTC), datetime(2026, 10, 31, 23, tzinfo=UTC)
ABOUT: dict[str, Any] = {
    "as_of": NOW,
    "tz": "Europe/Berlin",
    "bucket": BucketLength.QUARTER_HOUR,
    "complete_until": NOW,
    "since": SINCE,
    "until": UNTIL,
}


def value(text: str | None, dimension: Dimension = Dimension.TEAM) -> DimensionValue:
    kind = ValueKind.NONE if text is None else ValueKind.VALUE
    return DimensionValue(dimension=dimension, kind=kind, value=text)


def query(**given: Any) -> BreakDownUsage:
    options = {"tenant": "acme", "tz": "UTC", "since": None, "until": None, "tag": ()} | given
    return build(BreakDownUsage, options, NOW, default="all", by=[Dimension.MODEL])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), Splits(())),
        (("model",), Splits((Dimension.MODEL,))),
        (("team,key-source", "error"), Splits((Dimension.TEAM, Dimension.KEY_SOURCE, Dimension.ERROR_CLASS))),
        (("power_level", "client-token"), Splits((Dimension.POWER_LEVEL, Dimension.CLIENT_TOKEN))),
        (("tag:project",), Splits((Dimension.TAG,), "project")),
        (("day", "model"), Splits((Dimension.MODEL,), None, BucketLength.DAY)),
    ],
)
def test_what_usage_is_split_by(given: tuple[str, ...], expected: Splits) -> None:
    assert parse_splits(given) == expected


@pytest.mark.parametrize(
    "given", ["tenant", "tag", "tag:", "x", "", "model,model", "day,hour", "day,team,model", "15m"]
)
def test_other_splits_are_refused(given: str) -> None:
    with pytest.raises(Problem):
        parse_splits([given])


def test_every_dimension_has_a_name() -> None:
    assert set(DIMENSIONS.values()) == set(Dimension) - {Dimension.TENANT, Dimension.TAG}


def test_spans_of_time() -> None:
    assert query().period == "all"
    assert query(since="30d").period == "30d"
    assert query(since="2026-11").period == "2026-11"
    assert query(since="12h").since == datetime(2026, 11, 28, 22, 20, tzinfo=UTC)
    naive = query(since="2026-10-01", until="2026-10-02T12:30", tz="Europe/Berlin")
    assert (naive.since, naive.until) == (datetime(2026, 10, 1), datetime(2026, 10, 2, 12, 30))  # noqa: DTZ001
    month = query(since="2026-09", until="2026-11")
    assert (month.since, month.until) == (datetime(2026, 9, 1), datetime(2026, 11, 1))  # noqa: DTZ001
    assert query(since="all", until="2026-11-01").since is None


@pytest.mark.parametrize(
    "given",
    [
        {"since": "yesterday"},
        {"since": "2026-13"},
        {"since": "\u0663d"},
        {"since": "999999w"},
        {"since": "99999999999d"},
        {"until": "x\x00"},
        {"tz": "Berlin"},
        {"tz": "../../etc/passwd"},
        {"team": ("a\x00",)},
        {"team": ("\udc80",)},
        {"team": ("x" * 301,)},
        {"outcome": ("lost",)},
        {"tag": ("project",)},
        {"tag": ("a b=c",)},
        {"tag": tuple(f"t{number}=x" for number in range(5))},
    ],
)
def test_hostile_options_are_problems(given: dict[str, Any]) -> None:
    with pytest.raises(Problem):
        query(**given)


def test_filters_and_tags() -> None:
    found = query(team=("red", ""), key_source=("byok",), tag=("project=a=b", "project="))
    assert found.filters == {Dimension.TEAM: ["red", ""], Dimension.KEY_SOURCE: ["byok"]}
    assert found.tags == parse_tags(["project=a=b", "project="]) == {"project": ["a=b", ""]}


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (None, "unknown"),
        ("0", "$0.00"),
        ("0.000000000001", "<$0.000001"),
        ("-0.0000001", ">-$0.000001"),
        ("0.0000015", "$0.000002"),
        ("1234567.5", "$1,234,567.50"),
        ("-2.25", "-$2.25"),
        ("999999999999999", "$999,999,999,999,999.00"),
    ],
)
def test_amounts_for_people(amount: str | None, shown: str) -> None:
    assert format_amount(None if amount is None else Decimal(amount)) == shown


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [
        (0, 0, "-"),
        (0, 5, "0.0 %"),
        (1, 3, "33.3 %"),
        (1, 10**6, "<0.1 %"),
        (10**6 - 1, 10**6, ">99.9 %"),
        (2, 2, "100.0 %"),
    ],
)
def test_shares(part: int, whole: int, shown: str) -> None:
    assert format_share(part, whole) == shown


def test_a_breakdown() -> None:
    unknown = figures(cost_usd=None, unpriced=1, failed=1, completed=0, spend_micro_usd=None, spend_unknown=1)
    found = UsageBreakdown(
        **ABOUT,
        by=[Dimension.TEAM],
        rows=[
            BreakdownRow(keys=[value("red")], figures=figures(charged=1, charge_micro_usd=1400, cost_usd="0.0012")),
            BreakdownRow(keys=[value(None)], figures=unknown),
        ],
        rest_count=3,
        rest=figures(attempts=3, requests=3, cost_usd="2"),
        total=figures(
            attempts=5, requests=5, failed=1, cost_usd="2.0012", unpriced=1, charged=1, charge_micro_usd=1400
        ),
    )
    title, table, *notes = format_breakdown(found, "acme")
    assert title == "acme, 2026-10-01 00:00 to 2026-11-01 00:00 (Europe/Berlin)"
    heads, red, none, rest, total = (line.split("  ") for line in table.splitlines())
    assert heads[0] == "TEAM"
    assert [each.strip() for each in red if each] == ["red", "1", "1", "0", "15", "$0.0012", "$0.0014", "$0.001"]
    assert [each.strip() for each in none if each][-3:] == ["unknown", "-", "unknown"]
    assert "1 (100.0 %)" in "  ".join(none)
    assert rest[0] == "(3 more)"
    assert "$2.0012 + 1 unknown" in "  ".join(total)
    assert notes[0].startswith("the cost of 1 attempt is unknown")
    assert notes[1] == "as of 2026-11-29 11:20:00"


def test_what_is_not_complete_is_said() -> None:
    empty = {"by": [Dimension.TEAM], "rows": [], "total": figures(requests=0, attempts=0, completed=0, cost_usd="0")}
    unknown = format_breakdown(UsageBreakdown(**ABOUT | {"complete_until": None}, **empty), "acme")
    assert unknown[1] == "nothing was used"
    assert unknown[-1].endswith("some attempts may not be recorded yet")
    earlier = ABOUT | {"complete_until": SINCE}
    assert format_breakdown(UsageBreakdown(**earlier, **empty), "acme")[-1].endswith(
        "attempts that began after 2026-10-01 00:00:00 may not be recorded yet"
    )


def test_a_series_has_the_days_of_the_zone() -> None:
    line = SeriesLine(total=figures(requests=2, attempts=2), points=[figures(), figures()])
    bounds = [SINCE, datetime(2026, 10, 1, 22, tzinfo=UTC), datetime(2026, 10, 2, 22, tzinfo=UTC)]
    spans = [BucketSpan(start=start, end=end) for start, end in pairwise(bounds)]
    found = UsageSeries(**ABOUT | {"bucket": BucketLength.DAY}, buckets=spans, lines=[line])
    rows = format_series(found, "acme")[1].splitlines()
    assert [row.split("  ")[0] for row in rows] == ["DAY", "2026-10-01 Thu", "2026-10-02 Fri", "total"]


def test_errors_and_latency() -> None:
    percentiles = Percentiles(count=9, p50_ms=10, p95_ms=2000, p99_ms=30000)
    rows = [
        BreakdownRow(keys=[value("timeout", Dimension.ERROR_CLASS)], figures=figures(failed=1, completed=0)),
        BreakdownRow(keys=[value(None, Dimension.ERROR_CLASS)], figures=figures(attempts=9, latency=percentiles)),
    ]
    total = figures(attempts=10, failed=1, indeterminate=1)
    found = UsageBreakdown(**ABOUT, by=[Dimension.ERROR_CLASS], rows=rows, total=total)
    lines = format_errors(found, "acme")
    assert lines[1].splitlines()[1].split() == ["timeout", "1", "10.0", "%"]
    assert lines[2] == "1 of 10 attempts failed (10.0 %); of 1 the end is unknown"
    assert format_latency(found, "acme")[1].splitlines()[2].split() == ["(none)", "9", "10", "2,000", "30,000", *"---"]


def test_savings_and_the_forecast() -> None:
    saved = UsageSavings(
        **ABOUT, own_key_attempts=3, own_cost_usd="1", own_fee_micro_usd=0, platform_price_usd=None, uncounted=1
    )
    text = "\n".join(format_savings(saved, "acme"))
    assert "the platform's price        unknown" in text
    assert "without 1 attempt of unknown cost" in text
    assert "baseline" not in text
    spend = ForecastRange(so_far_micro_usd=1, low_micro_usd=2, likely_micro_usd=3, high_micro_usd=4_000_000)
    forecast = UsageForecast(**ABOUT, days_seen=28, spend=spend, unknown=2)
    lines = format_forecast(forecast, "acme")
    assert lines[0] == "acme, 2026-10 (Europe/Berlin), from 28 days before today"
    assert lines[1].splitlines()[1].split() == ["spend", "$0.000001", "$0.000002", "$0.000003", "$4.00"]
    assert lines[1].splitlines()[3].split() == ["cost", *["unknown"] * 4]
    assert "without 2 attempts of unknown cost" in "\n".join(lines)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--by", "day", "--limit", "21"],
        ["--tz", "Europe/Berlin", "--csv", "--json"],
        ["--by", "nothing"],
        ["--tz", "UTC", "savings"],
        ["savings", "--baseline", "gpt-5"],
        ["errors", "--by", "day"],
    ],
)
def test_impossible_combinations_are_problems(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYFERRY_NATS_URL", "nats://127.0.0.1:1")
    assert run(["usage", *arguments]) == 1
    assert "->" in capsys.readouterr().err
    assert click.get_current_context(silent=True) is None


@pytest.mark.parametrize(
    ("complete", "note"), [(UNTIL, ""), (SINCE, "may not be recorded yet"), (None, "some attempts")]
)
def test_a_file_that_is_not_final_is_said_to_be_so(
    complete: datetime | None, note: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [BreakdownRow(keys=[value("red")], figures=figures())]
    about = ABOUT | {"complete_until": complete}
    found = UsageBreakdown(**about, by=[Dimension.TEAM], rows=rows, total=figures())
    show(found, {"as_csv": True, "as_json": False, "tenant": "acme"}, format_breakdown, breakdown_csv)
    printed = capsys.readouterr()
    assert printed.out.startswith("since,until,row,team,requests")
    assert printed.out.count("\n") == 3
    assert note in printed.err
    assert bool(printed.err) is bool(note)
