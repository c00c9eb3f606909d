"""Windows of budgets share no moment and leave no gap, in every zone and on the days on which clocks change."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyferry.budgets.windows import ROLLING, account_name, hour_of, parse_account, window_at, window_of_label
from keyferry.contracts.budget import BudgetWindow, CalendarPeriod
from keyferry.contracts.zone import is_zone

ZONES = sorted(name for name in available_timezones() if is_zone(name))
MICROSECOND = timedelta(microseconds=1)
CHANGES = (
    "2026-03-29T01:00:00",  # Europe, forward
    "2026-10-25T01:00:00",  # Europe, back
    "2026-03-08T07:00:00",  # New York, forward
    "2026-11-01T06:00:00",  # New York, back
    "2026-04-04T15:00:00",  # Lord Howe, back by half an hour
    "2018-11-04T03:00:00",  # Sao Paulo, which skips midnight
    "2011-12-30T10:00:00",  # Apia, which skips a day
    "2010-11-07T02:31:00",  # St. John's, which sets clocks back over midnight
    "2019-03-29T22:00:00",  # Beirut, which skips midnight
)

moments = st.one_of(
    st.integers(0, 253_370_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    st.integers(946_684_800, 2_050_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    st.builds(
        lambda change, seconds: datetime.fromisoformat(change).replace(tzinfo=UTC) + timedelta(seconds=seconds),
        st.sampled_from(CHANGES),
        st.integers(-90_000, 90_000),
    ),
)
calendar_windows = st.builds(
    lambda period, zone: BudgetWindow(calendar=period, time_zone=zone),
    st.sampled_from(CalendarPeriod),
    st.sampled_from(ZONES),
)


@settings(max_examples=150)
@given(calendar_windows, moments)
def test_each_moment_is_in_one_window_and_the_next_one_begins_where_it_ends(
    window: BudgetWindow, now: datetime
) -> None:
    span = window_at(window, now)
    assert span.end is not None
    assert span.start <= now < span.end
    assert window_at(window, span.start) == span
    assert window_at(window, span.end - MICROSECOND) == span
    following = window_at(window, span.end)
    assert following.start == span.end
    assert following.label > span.label


@settings(max_examples=150)
@given(calendar_windows, moments)
def test_window_is_found_by_its_label_again(window: BudgetWindow, now: datetime) -> None:
    span = window_at(window, now)
    assert window_of_label(window, span.label) == span
    assert parse_account(account_name("bud_1", span)) == ("bud_1", span.label)


@settings(max_examples=150)
@given(calendar_windows, moments)
def test_first_moment_of_a_window_is_the_first_of_its_local_date(window: BudgetWindow, now: datetime) -> None:
    zone = ZoneInfo(window.time_zone)
    span = window_at(window, now)
    first = date.fromisoformat(span.label)
    assert span.start.astimezone(zone).date() == first
    if window.calendar is CalendarPeriod.MONTH:
        assert first.day == 1
    if window.calendar is CalendarPeriod.WEEK:
        assert first.weekday() == 0


@settings(max_examples=100)
@given(st.integers(1, 366 * 24), moments)
def test_rolling_window_begins_with_a_whole_hour_and_contains_all_of_its_length(hours: int, now: datetime) -> None:
    span = window_at(BudgetWindow(rolling_hours=hours), now)
    length = timedelta(hours=hours)
    assert span.label == ROLLING
    assert span.end is None
    assert span.start == hour_of(span.start)
    assert now - length - timedelta(hours=1) < span.start <= now - length


@pytest.mark.usefixtures("far_east")
def test_hours_are_those_of_utc_and_whole() -> None:
    moment = datetime.fromisoformat("2026-11-29T12:44:59.999999+05:45")
    found = hour_of(moment)
    assert (found, found.tzinfo) == (datetime(2026, 11, 29, 6, tzinfo=UTC), UTC)
    span = window_at(BudgetWindow(calendar=CalendarPeriod.DAY, time_zone="Asia/Tokyo"), moment)
    assert (span.start, span.start.tzinfo) == (datetime(2026, 11, 28, 15, tzinfo=UTC), UTC)


@pytest.mark.parametrize(
    ("zone", "now", "start", "hours"),
    [
        ("Europe/Berlin", "2026-03-29T12:00", "2026-03-28T23:00", 23),
        ("Europe/Berlin", "2026-10-25T12:00", "2026-10-24T22:00", 25),
        ("America/New_York", "2026-11-01T12:00", "2026-11-01T04:00", 25),
        ("Australia/Lord_Howe", "2026-04-04T20:00", "2026-04-04T13:00", 24.5),
        ("America/Sao_Paulo", "2018-11-04T12:00", "2018-11-04T03:00", 23),
        ("Asia/Kathmandu", "2026-05-05T00:00", "2026-05-04T18:15", 24),
        ("Pacific/Apia", "2011-12-30T09:59", "2011-12-29T10:00", 24),
        ("America/St_Johns", "2010-11-07T03:00", "2010-11-07T02:30", 25),
    ],
)
def test_days_on_which_clocks_change_have_their_own_length(zone: str, now: str, start: str, hours: float) -> None:
    span = window_at(
        BudgetWindow(calendar=CalendarPeriod.DAY, time_zone=zone), datetime.fromisoformat(now).replace(tzinfo=UTC)
    )
    assert span.end is not None
    assert span.start == datetime.fromisoformat(start).replace(tzinfo=UTC)
    assert span.end - span.start == timedelta(hours=hours)


def test_a_day_that_a_zone_skips_is_no_window() -> None:
    window = BudgetWindow(calendar=CalendarPeriod.DAY, time_zone="Pacific/Apia")
    assert window_of_label(window, "2011-12-30") is None
    before = window_of_label(window, "2011-12-29")
    after = window_of_label(window, "2011-12-31")
    assert before is not None
    assert after is not None
    assert before.end == after.start


def test_week_of_the_first_moment_is_found_by_its_label() -> None:
    window = BudgetWindow(calendar=CalendarPeriod.WEEK)
    span = window_at(window, datetime(1970, 1, 1, tzinfo=UTC))
    assert span.label == "1969-12-29"
    assert window_of_label(window, span.label) == span


def test_a_month_rolls_over_at_midnight_of_its_zone() -> None:
    window = BudgetWindow(calendar=CalendarPeriod.MONTH, time_zone="Asia/Tokyo")
    midnight = datetime(2026, 11, 30, 15, tzinfo=UTC)
    assert window_at(window, midnight - MICROSECOND).label == "2026-11-01"
    assert window_at(window, midnight).label == "2026-12-01"


@pytest.mark.parametrize(
    "label", ["", "rolling", "2026-11-02", "2026-11", "20261101", "2026-W45-1", "0001-01-01", "9999-12-01", "x" * 999]
)
def test_other_labels_name_no_month(label: str) -> None:
    assert window_of_label(BudgetWindow(calendar=CalendarPeriod.MONTH), label) is None


@pytest.mark.parametrize("label", ["1969-12-01", "9998-12-01"])
def test_months_of_the_first_and_of_the_last_year_have_labels(label: str) -> None:
    found = window_of_label(BudgetWindow(calendar=CalendarPeriod.MONTH), label)
    assert found is not None
    assert found.label == label


@pytest.mark.parametrize("name", ["", "budget", "budget/x", "credits/acme", "budget/a/b/c", "allowance/acme/2026-11"])
def test_other_accounts_are_no_budgets(name: str) -> None:
    assert parse_account(name) is None
