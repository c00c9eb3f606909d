"""Months follow each other without a gap or an overlap, whatever zones a tenant has."""

import itertools
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from services.usage_ledger.analytics.periods import floor_quarter
from services.usage_ledger.statements.months import (
    BilledMonth,
    ended_months,
    following_month,
    months_before,
    months_since,
    whole_month,
)

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia", "Pacific/Honolulu")


def at(text: str, tz: str = "UTC") -> int:
    return floor_quarter(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(tz)))


def test_a_month_begins_and_ends_at_midnight_of_its_zone() -> None:
    month = whole_month(date(2026, 10, 1), "Europe/Berlin")
    assert month.name == "2026-10"
    assert month.span.bounds == (
        datetime(2026, 9, 30, 22, tzinfo=UTC),
        datetime(2026, 10, 31, 23, tzinfo=UTC),
    )


def test_a_change_of_the_zone_makes_the_month_longer_or_shorter_and_no_gap() -> None:
    berlin = whole_month(date(2026, 10, 1), "Europe/Berlin")
    honolulu = following_month(berlin, "Pacific/Honolulu")
    assert honolulu.name == "2026-11"
    assert honolulu.span.since == berlin.span.until
    assert honolulu.span.until == at("2026-12-01", "Pacific/Honolulu")


def test_without_anything_there_is_no_month() -> None:
    assert months_since(None, None, "UTC", at("2026-11-05")) == []


def test_months_begin_with_the_first_activity_in_the_zone() -> None:
    found = months_since(None, at("2026-09-30T23:30"), "Europe/Berlin", at("2026-11-05"))
    assert [month.name for month in found] == ["2026-10", "2026-11"]
    assert [month.name for month in ended_months(found, at("2026-11-05"))] == ["2026-10"]


def test_a_month_has_ended_at_the_moment_of_its_end() -> None:
    october = whole_month(date(2026, 10, 1), "UTC")
    assert [month.name for month in months_since(october, None, "UTC", at("2026-12-01"))] == ["2026-11", "2026-12"]
    assert [month.name for month in months_since(october, None, "UTC", at("2026-12-01") - 1)] == ["2026-11"]


def test_attempts_of_before_the_first_month_have_months_of_its_zone() -> None:
    first = whole_month(date(2026, 10, 1), "Europe/Berlin")
    found = months_before(first, at("2026-07-31T23:00"))
    assert [month.name for month in found] == ["2026-08", "2026-09"]
    assert found[-1].span.until == first.span.since
    assert months_before(first, first.span.since) == []


@given(st.lists(st.sampled_from(ZONES), min_size=1, max_size=30), st.dates(date(1975, 1, 1), date(2150, 1, 1)))
def test_months_never_leave_a_gap(zones: list[str], day: date) -> None:
    months: list[BilledMonth] = [whole_month(day.replace(day=1), zones[0])]
    for tz in zones:
        months.append(following_month(months[-1], tz))
    for before, after in itertools.pairwise(months):
        assert before.span.until == after.span.since
        assert 27 * 96 <= after.span.until - after.span.since <= 33 * 96
        assert after.name > before.name
