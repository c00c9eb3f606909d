"""Queries of usage refuse what would match nothing, or could not be answered."""

from typing import Any

import pytest
from pydantic import ValidationError

from keyferry.contracts.analytics import BreakDownUsage, ComputeSavings, Dimension, ListSeries, SummarizeAnalytics


@pytest.mark.parametrize(
    "tz",
    ["Europe/Berlin", "UTC", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Argentina/Buenos_Aires", "Etc/GMT+5"],
)
def test_a_zone_of_the_database_is_taken(tz: str) -> None:
    assert SummarizeAnalytics(tz=tz).tz == tz


@pytest.mark.parametrize(
    "tz",
    ["Europe/Nowhere", "Europe", "../etc/passwd", "/etc/localtime", "", "Europe/Berlin\0", "\ud800", "x" * 65, "a//b"],
)
def test_anything_else_is_refused(tz: str) -> None:
    with pytest.raises(ValidationError):
        SummarizeAnalytics(tz=tz)


@pytest.mark.parametrize("period", ["24h", "7d", "30d", "90d", "all", "2026-11", "1970-01"])
def test_a_period_is_one_of_a_few_or_a_month(period: str) -> None:
    assert SummarizeAnalytics(period=period).period == period


@pytest.mark.parametrize(
    "period", ["", "31d", "2026-13", "2026-00", "2026-1", "26-01", "٢٠٢٦-01", "24h\n", "2026-11-01"]
)
def test_another_period_is_refused(period: str) -> None:
    with pytest.raises(ValidationError):
        SummarizeAnalytics(period=period)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"filters": {"outcome": ["complete"]}}, "known values are cancelled, completed"),
        ({"filters": {"error_class": ["ratelimit"]}}, "known values are"),
        ({"filters": {"tag": ["a"]}}, "tags are filtered by `tags`"),
        ({"filters": {"colour": ["a"]}}, "Input should be 'tenant'"),
        ({"filters": {"model": []}}, "at least 1 item"),
        ({"filters": {"model": ["a"] * 51}}, "at most 50 items"),
        ({"filters": {"model": ["a\0"]}}, "control characters"),
        ({"filters": {"model": ["a" * 301]}}, "at most 300 characters"),
        ({"tags": {"a b": ["x"]}}, "A-Z a-z"),
        ({"tags": {f"t{number}": ["x"] for number in range(5)}}, "at most 4 items"),
        ({"from": "2026-11-01"}, "not permitted"),
    ],
)
def test_a_filter_that_is_misspelt_or_too_large_is_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        SummarizeAnalytics.model_validate(values)


def test_attempts_without_a_value_can_be_asked_for() -> None:
    query = SummarizeAnalytics(filters={Dimension.TEAM: [""], Dimension.ERROR_CLASS: ["", "timeout"]})
    assert query.filters[Dimension.TEAM] == [""]


@pytest.mark.parametrize(
    "values", [{"by": ["tag"]}, {"by": ["model"], "tag": "project"}, {"by": ["model", "model"]}, {"by": []}]
)
def test_a_breakdown_names_each_dimension_once_and_the_tag_that_it_needs(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BreakDownUsage.model_validate(values)
    assert BreakDownUsage(by=[Dimension.TAG, Dimension.MODEL], tag="project").tag == "project"


def test_a_series_by_tag_names_the_tag() -> None:
    with pytest.raises(ValidationError, match="give the name of the tag"):
        ListSeries(by=Dimension.TAG)


def test_a_baseline_is_a_provider_and_a_model() -> None:
    with pytest.raises(ValidationError, match="give both or neither"):
        ComputeSavings(baseline_model="gpt-5")
