"""When quiet hours hold notifications back, also where the clocks change."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.notification_channels import QuietHours
from services.notifier.channels.quiet_hours import quiet_until

ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia"]
)
TIMES = st.times(max_value=time(23, 59)).map(lambda at: f"{at:%H:%M}")
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@given(begin=TIMES, end=TIMES, zone=ZONES, now=MOMENTS)
def test_a_moment_is_quiet_exactly_where_the_clock_on_the_wall_is_in_the_span(
    begin: str, end: str, zone: str, now: datetime
) -> None:
    if begin == end:
        return
    until = quiet_until(QuietHours(begin=begin, end=end), zone, now)
    wall = f"{now.astimezone(ZoneInfo(zone)):%H:%M}"
    inside = begin <= wall < end if begin < end else wall >= begin or wall < end
    clocks_change = (
        len({(now + timedelta(hours=hours)).astimezone(ZoneInfo(zone)).utcoffset() for hours in range(-30, 31)}) > 1
    )
    if not clocks_change:
        assert (until is not None) == inside
    if until is not None:
        assert now < until <= now + timedelta(hours=25)
        assert quiet_until(QuietHours(begin=begin, end=end), zone, until) is None or clocks_change


@pytest.mark.parametrize(
    ("now", "until"),
    [
        # In Berlin the clocks skip from 02:00 to 03:00 on 2026-03-29, and 02:00 to 03:00 occurs twice on 2026-10-25.
        ("2026-03-29T00:30", "2026-03-29T01:30"),
        ("2026-03-29T01:29", "2026-03-29T01:30"),
        ("2026-03-29T01:30", None),
        ("2026-10-25T00:29", "2026-10-25T01:30"),
        ("2026-10-25T01:29", "2026-10-25T01:30"),
        ("2026-10-25T01:30", None),
    ],
)
def test_an_end_that_is_skipped_comes_later_and_one_that_occurs_twice_is_the_last(now: str, until: str | None) -> None:
    found = quiet_until(QuietHours(begin="22:00", end="02:30"), "Europe/Berlin", utc(now))
    assert found == (utc(until) if until else None)


def test_the_zone_of_the_channel_counts_before_that_of_the_tenant() -> None:
    now = utc("2026-11-30T23:30")
    berlin = QuietHours(begin="00:00", end="06:00", time_zone="Europe/Berlin")
    assert quiet_until(berlin, "UTC", now) == utc("2026-12-01T05:00")
    assert quiet_until(QuietHours(begin="00:00", end="06:00"), "UTC", now) is None
    assert quiet_until(None, "UTC", now) is None
