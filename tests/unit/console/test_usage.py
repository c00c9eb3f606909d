"""Routes for usage: what the ledger is asked, strict queries, and CSV."""

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from keyferry.contracts.analytics import (
    BreakDownUsage,
    BucketLength,
    ComputeSavings,
    Dimension,
    ForecastUsage,
    ListSeries,
    Measure,
    SummarizeAnalytics,
)
from keyferry.contracts.analytics_answers import (
    AnalyticsSummary,
    BreakdownRow,
    BucketSpan,
    DimensionValue,
    SeriesLine,
    UsageBreakdown,
    UsageSeries,
    ValueKind,
)
from keyferry.contracts.ledger_management import (
    ANALYTICS_ANALYZE,
    ANALYTICS_BREAKDOWN,
    ANALYTICS_FORECAST,
    ANALYTICS_SAVINGS,
    ANALYTICS_SERIES,
    ANALYTICS_SUMMARIZE,
)
from keyferry.contracts.operator_analytics import AnalyzeInstallation
from keyferry.contracts.service import ErrorCode, Refusal
from services.console.negotiation import wants_csv
from tests.support.ledger.usage_figures import figures
from tests.unit.console.surface import AUTHORIZED, KEY, Surface, error

USAGE = "/api/v1/ops/tenants/acme/usage"
SINCE, UNTIL = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
ABOUT: dict[str, Any] = {
    "as_of": UNTIL,
    "tz": "Europe/Berlin",
    "bucket": BucketLength.QUARTER_HOUR,
    "complete_until": UNTIL,
    "since": SINCE,
    "until": UNTIL,
}


def key(value: str | None, dimension: Dimension = Dimension.TEAM) -> DimensionValue:
    kind = ValueKind.NONE if value is None else ValueKind.VALUE
    return DimensionValue(dimension=dimension, kind=kind, value=value)


BREAKDOWN = UsageBreakdown(
    **ABOUT,
    by=[Dimension.TEAM],
    rows=[
        BreakdownRow(keys=[key("=cmd|' /C calc'!A0")], figures=figures(attempts=2, cost_usd="0.000000000001")),
        BreakdownRow(keys=[key(None)], figures=figures(attempts=1, cost_usd=None, unpriced=1)),
    ],
    total=figures(attempts=3, cost_usd="0.000000000001", unpriced=1, charge_micro_usd=1_500_000),
)
SERIES = UsageSeries(
    **ABOUT | {"bucket": BucketLength.MONTH},
    buckets=[BucketSpan(start=SINCE, end=UNTIL)],
    lines=[SeriesLine(total=figures(), points=[figures()])],
)


async def asked(path: str, subject: Any, answer: Any) -> Any:
    """Return what the ledger is asked by a request that succeeds."""
    surface = Surface()
    surface.bus.answers(subject, answer)
    response = await surface.ask("GET", f"{USAGE}/{path}")
    assert response.status_code == 200, response.text
    assert response.json() == answer.model_dump(mode="json")
    return surface.bus.asked[-1][1]


async def test_the_query_of_a_summary() -> None:
    path = "summary?since=2026-10-01&until=2026-11-01&tz=Europe/Berlin&team=red&team=&provider=openai&tag=project=a=b"
    summary = AnalyticsSummary(**ABOUT, total=figures(), own_keys=figures(), platform_keys=figures())
    assert await asked(path, ANALYTICS_SUMMARIZE, summary) == SummarizeAnalytics(
        tenant="acme",
        since=datetime(2026, 10, 1),  # noqa: DTZ001 - in the zone of the query
        until=datetime(2026, 11, 1),  # noqa: DTZ001
        tz="Europe/Berlin",
        filters={Dimension.TEAM: ["red", ""], Dimension.PROVIDER: ["openai"]},
        tags={"project": ["a=b"]},
    )


async def test_the_queries_of_breakdowns() -> None:
    found = await asked("breakdown?by=team&by=tag:project&period=2026-10&limit=7", ANALYTICS_BREAKDOWN, BREAKDOWN)
    by = [Dimension.TEAM, Dimension.TAG]
    assert found == BreakDownUsage(tenant="acme", period="2026-10", by=by, tag="project", limit=7)
    top = await asked("top-models?sort=tokens", ANALYTICS_BREAKDOWN, BREAKDOWN)
    assert top == BreakDownUsage(tenant="acme", by=[Dimension.MODEL], sort=Measure.TOKENS, limit=10)
    errors = await asked("errors?by=provider", ANALYTICS_BREAKDOWN, BREAKDOWN)
    assert (errors.by, errors.sort) == ([Dimension.ERROR_CLASS, Dimension.PROVIDER], Measure.FAILED)
    latency = await asked("latency", ANALYTICS_BREAKDOWN, BREAKDOWN)
    assert (latency.by, latency.percentiles) == ([Dimension.MODEL], True)


async def test_the_query_of_a_series() -> None:
    found = await asked("series?bucket=month&by=key_source&lines=2&percentiles=true", ANALYTICS_SERIES, SERIES)
    assert found == ListSeries(
        tenant="acme", bucket=BucketLength.MONTH, by=Dimension.KEY_SOURCE, lines=2, percentiles=True
    )


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("period=45d", "period"),
        ("period=2026-13", "period"),
        ("period=30d&since=2026-10-01", None),
        ("since=2026-11-01&until=2026-10-01", None),
        ("since=yesterday", "since"),
        ("since=9999-12-31", "since"),
        ("tz=Berlin", "tz"),
        ("tz=../../etc/passwd", "tz"),
        ("tz=Europe", "tz"),
        ("power_level=huge", "power_level"),
        ("error_class=no-such", "error_class"),
        ("team=%00", "team.0"),
        ("team=" + "x" * 301, "team.0"),
        ("&".join(["team=x"] * 51), "team"),
        ("tag=project", "tag.0"),
        (f"tag=a b={KEY}", "tag.0"),
        ("&".join(f"tag=t{number}=x" for number in range(5)), None),
        ("by=tenant", "by.0"),
        ("by=tag", "by.0"),
        (f"by=tag:{KEY}!", "by.0"),
        ("by=model&by=model", "by"),
        ("by=tag:a&by=tag:b", "by"),
        ("by=model&by=team&by=member&by=key", "by"),
        ("limit=501", "limit"),
        ("limit=1e1", "limit"),
        ("sort=price", "sort"),
        ("format=xlsx", "format"),
    ],
)
async def test_hostile_values_are_refused_and_not_repeated(query: str, param: str | None) -> None:
    surface = Surface()
    surface.bus.answers(ANALYTICS_BREAKDOWN, BREAKDOWN)
    by = "" if "by=" in query else "by=model&"
    response = await surface.ask("GET", f"{USAGE}/breakdown?{by}{query}")
    status, code, named = error(response)
    assert (status, code) == (422, "invalid_value"), response.text
    assert (named or "").replace("[", ".").replace("]", "") == (param or ""), response.text
    assert KEY not in response.text
    assert "passwd" not in response.text
    assert [name for name, _ in surface.bus.asked if "analytics" in name] == []


@pytest.mark.parametrize("path", ["breakdown?by=", "series?by=day", "savings?baseline_model=gpt-5"])
async def test_a_query_that_is_incomplete_is_refused(path: str) -> None:
    assert error(await Surface().ask("GET", f"{USAGE}/{path}"))[:2] == (422, "invalid_value")


async def test_savings_and_the_forecast() -> None:
    surface = Surface()
    for subject in (ANALYTICS_SAVINGS, ANALYTICS_FORECAST):
        surface.bus.answers(subject, Refusal(code=ErrorCode.INVALID, message="choose a shorter span"))
    refused = await surface.ask("GET", f"{USAGE}/savings?baseline_provider=openai&baseline_model=gpt-5")
    assert error(refused)[:2] == (422, "refused")
    await surface.ask("GET", f"{USAGE}/forecast?tz=Asia/Kolkata&team=red")
    assert [each for each in surface.bus.asked if "analytics" in each[0]] == [
        (ANALYTICS_SAVINGS.name, ComputeSavings(tenant="acme", baseline_provider="openai", baseline_model="gpt-5")),
        (
            ANALYTICS_FORECAST.name,
            ForecastUsage(tenant="acme", tz="Asia/Kolkata", filters={Dimension.TEAM: ["red"]}),
        ),
    ]


@pytest.mark.parametrize("how", [{"params": {"by": "team", "format": "csv"}}, {"accept": "text/csv"}])
async def test_a_breakdown_as_csv(how: dict[str, Any]) -> None:
    surface = Surface()
    surface.bus.answers(ANALYTICS_BREAKDOWN, BREAKDOWN)
    headers = {"accept": how["accept"]} if "accept" in how else {}
    path = f"{USAGE}/breakdown" + ("?by=team" if headers else "")
    more = {"params": how["params"]} if "params" in how else {}
    response = await surface.ask("GET", path, headers=AUTHORIZED | headers, **more)
    assert response.headers["content-type"].startswith("text/csv")
    assert 'filename="usage-breakdown-acme.csv"' in response.headers["content-disposition"]
    assert response.headers["keyferry-complete-until"] == UNTIL.isoformat()
    first, none, total = csv.DictReader(io.StringIO(response.text))
    assert first["team"] == "'=cmd|' /C calc'!A0"
    assert (first["since"], first["until"]) == ("2026-10-01T02:00:00+02:00", "2026-11-01T01:00:00+01:00")
    assert (first["cost_usd"], first["row"]) == ("0.000000000001", "value")
    assert (none["team"], none["row"], none["cost_usd"], none["unpriced"]) == ("", "none", "", "1")
    assert (total["row"], total["charge_micro_usd"], total["charge_usd"]) == ("total", "1500000", "1.5")
    assert Decimal(first["cost_usd"]) == Decimal(total["cost_usd"])


async def test_a_series_as_csv() -> None:
    surface = Surface()
    surface.bus.answers(ANALYTICS_SERIES, SERIES)
    response = await surface.ask("GET", f"{USAGE}/series?bucket=month&format=csv")
    (row,) = csv.DictReader(io.StringIO(response.text))
    assert (row["since"], row["row"], row["requests"]) == ("2026-10-01T02:00:00+02:00", "value", "1")


@pytest.mark.parametrize(
    ("given", "accept", "expected"),
    [
        (None, None, False),
        (None, "*/*", False),
        (None, "text/csv", True),
        (None, "text/csv, application/json;q=0.9", True),
        (None, "application/json, text/csv;q=0.5", False),
        (None, "text/csv;q=x", False),
        (None, "text/csv;q=0", False),
        ("json", "text/csv", False),
        ("csv", "application/json", True),
    ],
)
def test_the_format_of_an_answer(given: str | None, accept: str | None, expected: bool) -> None:
    assert wants_csv(given, accept) is expected


async def test_all_tenants_are_the_operators() -> None:
    surface = Surface()
    surface.bus.answers(ANALYTICS_BREAKDOWN, BREAKDOWN)
    query = "by=tenant&by=model&tenant=acme&tenant=globex&format=csv&period=7d"
    response = await surface.ask("GET", f"/api/v1/ops/usage/breakdown?{query}")
    assert response.headers["content-type"].startswith("text/csv")
    assert surface.bus.asked[-1][1] == BreakDownUsage(
        tenant=None,
        period="7d",
        by=[Dimension.TENANT, Dimension.MODEL],
        filters={Dimension.TENANT: ["acme", "globex"]},
    )
    surface.bus.answers(ANALYTICS_ANALYZE, Refusal(code=ErrorCode.INVALID, message="choose a shorter span"))
    refused = await surface.ask("GET", "/api/v1/ops/analytics?since=2026-11-01&tz=Europe/Berlin")
    assert error(refused)[:2] == (422, "refused")
    since = datetime(2026, 11, 1)  # noqa: DTZ001 - in the zone of the query
    (*_, (_, asked_last)) = surface.bus.asked
    assert asked_last == AnalyzeInstallation(since=since, tz="Europe/Berlin")


async def test_the_series_of_all_tenants_is_the_operators() -> None:
    surface = Surface()
    surface.bus.answers(ANALYTICS_SERIES, SERIES)
    response = await surface.ask("GET", "/api/v1/ops/usage/series?by=provider&bucket=15m&tenant=acme&period=24h")
    assert response.status_code == 200
    assert surface.bus.asked[-1][1] == ListSeries(
        tenant=None, period="24h", bucket="15m", by=Dimension.PROVIDER, filters={Dimension.TENANT: ["acme"]}
    )
