"""Windows of alert rules in any time zone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.alert_metrics import AlertWindow
from services.usage_ledger.alerts.windows import compared_hours, window_span
from services.usage_ledger.analytics.periods import floor_quarter, moment

BERLIN, NEPAL = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kathmandu")
ZONES = [ZoneInfo("UTC"), BERLIN, NEPAL, ZoneInfo("America/St_Johns"), ZoneInfo("Pacific/Apia")]


@given(
    st.integers(1577836800, 1893456000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    st.sampled_from(ZONES),
    st.sampled_from(AlertWindow),
)
def test_a_window_contains_its_moment(now: datetime, zone: ZoneInfo, window: AlertWindow) -> None:
    span = window_span(window, now, zone)
    assert span.since <= floor_quarter(now) < span.until
    if window in (AlertWindow.MONTH, AlertWindow.WEEK, AlertWindow.DAY):
        assert window_span(window, moment(span.since), zone) == span
        assert window_span(window, moment(span.until) - timedelta(microseconds=1), zone) == span


@pytest.mark.parametrize(("zone", "first"), [(BERLIN, "2026-10-31T23:00"), (NEPAL, "2026-10-31T18:15")])
def test_a_month_begins_on_the_clocks_of_the_zone(zone: ZoneInfo, first: str) -> None:
    span = window_span(AlertWindow.MONTH, datetime(2026, 11, 30, 12, tzinfo=UTC), zone)
    assert moment(span.since) == datetime.fromisoformat(first).replace(tzinfo=UTC)


def test_hours_are_compared_on_the_clocks_of_the_zone() -> None:
    """On 30 October at 9:30 in Berlin it is 8:30 in UTC, two weeks before 7:30."""
    hours = compared_hours(datetime(2026, 11, 2, 8, 30, tzinfo=UTC), BERLIN)
    assert [moment(hour.since).hour for hour in hours[:3]] == [8, 7, 7]
    assert all(hour.until - hour.since == 4 for hour in hours)
