"""When reports are due, and what they are about."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.usage_mail import ReportTerms
from services.notifier.reports.calendar import next_due, period_before


def terms(**changes: object) -> ReportTerms:
    usual = {"tenant": "acme", "name": "usage", "frequency": "monthly", "channel_id": "chn_0123"}
    return ReportTerms.model_validate(usual | changes)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "after", "due"),
    [
        (31, "2026-01-31T08:00", "2026-02-28T07:00"),
        (31, "2028-01-31T08:00", "2028-02-29T07:00"),
        (29, "2026-02-01T00:00", "2026-02-28T07:00"),
        (30, "2026-03-30T07:00", "2026-04-30T07:00"),
        (1, "2026-11-30T12:00", "2026-12-01T07:00"),
    ],
)
def test_a_day_that_a_month_does_not_have_is_its_last(day: int, after: str, due: str) -> None:
    assert next_due(terms(day=day), "UTC", utc(after)) == utc(due)


def test_a_time_that_the_clocks_skip_is_an_hour_later_and_one_that_occurs_twice_is_the_first() -> None:
    daily = terms(frequency="daily", at="02:30")
    assert next_due(daily, "Europe/Berlin", utc("2026-03-28T12:00")) == utc("2026-03-29T01:30")
    assert next_due(daily, "Europe/Berlin", utc("2026-10-24T12:00")) == utc("2026-10-25T00:30")
    assert next_due(daily, "Europe/Berlin", utc("2026-10-25T00:30")) == utc("2026-10-26T01:30")


def test_periods_are_the_day_week_and_month_before_in_the_zone() -> None:
    due = utc("2026-03-30T05:00")
    day = period_before(terms(frequency="daily"), "Europe/Berlin", due)
    assert (day.start, day.end) == (utc("2026-03-28T23:00"), utc("2026-03-29T22:00"))
    week = period_before(terms(frequency="weekly"), "Europe/Berlin", due)
    assert (week.first_day, week.last_day) == (date(2026, 3, 23), date(2026, 3, 29))
    month = period_before(terms(), "Europe/Berlin", due)
    assert (month.first_day, month.last_day) == (date(2026, 2, 1), date(2026, 2, 28))


@given(
    frequency=st.sampled_from(["daily", "weekly", "monthly"]),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia"]),
    day=st.integers(1, 31),
    weekday=st.integers(1, 7),
    start=st.datetimes(datetime(2009, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - bounds are naive
)
def test_consecutive_reports_are_about_consecutive_periods(
    frequency: str, zone: str, day: int, weekday: int, start: datetime
) -> None:
    chosen = terms(frequency=frequency, day=day, weekday=weekday, time_zone=zone, at="12:00")
    first = next_due(chosen, "UTC", start)
    second = next_due(chosen, "UTC", first)
    assert start < first < second <= first + timedelta(days=33)
    before, after = (period_before(chosen, "UTC", due) for due in (first, second))
    assert before.end == after.start or before.end == after.end or zone == "Pacific/Apia"
    assert after.end <= second
