"""The windows of alert rules in quarter hours of UTC, and the hours that an hour is compared with. Pure."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from keyferry.contracts.alert_metrics import AlertWindow
from services.usage_ledger.analytics.periods import QuarterSpan, floor_quarter, midnight, next_month

QUARTERS_OF_HOUR = 4
QUARTERS_OF_DAY = 96
COMPARED_WEEKS = 8
_ROLLING = {
    AlertWindow.LAST_QUARTER_HOUR: 1,
    AlertWindow.LAST_HOUR: QUARTERS_OF_HOUR,
    AlertWindow.LAST_DAY: QUARTERS_OF_DAY,
}
"""Whole quarter hours before the current one."""


def window_span(window: AlertWindow, now: datetime, zone: ZoneInfo) -> QuarterSpan:
    """Return the window that contains `now`."""
    before = _ROLLING.get(window)
    if before is not None:
        current = floor_quarter(now)
        return QuarterSpan(current - before, current + 1)
    if window is AlertWindow.HOUR:
        return hour_span(now, zone)
    first = _first_day(window, now.astimezone(zone).date())
    return QuarterSpan(midnight(first, zone), midnight(_following(window, first), zone))


def hour_span(at: datetime, zone: ZoneInfo) -> QuarterSpan:
    """Return the hour on the zone's clocks that contains a moment."""
    since = floor_quarter(at.astimezone(zone).replace(minute=0, second=0, microsecond=0))
    return QuarterSpan(since, since + QUARTERS_OF_HOUR)


def compared_hours(at: datetime, zone: ZoneInfo) -> list[QuarterSpan]:
    """Return the same hour of the same weekday in the weeks before, on the zone's clocks, latest first."""
    local = at.astimezone(zone).replace(minute=0, second=0, microsecond=0, tzinfo=None, fold=0)
    return [
        hour_span((local - timedelta(weeks=weeks)).replace(tzinfo=zone), zone) for weeks in range(1, COMPARED_WEEKS + 1)
    ]


def _first_day(window: AlertWindow, day: date) -> date:
    if window is AlertWindow.MONTH:
        return day.replace(day=1)
    return day - timedelta(days=day.weekday()) if window is AlertWindow.WEEK else day


def _following(window: AlertWindow, first: date) -> date:
    if window is AlertWindow.MONTH:
        return next_month(first)
    return first + timedelta(days=7 if window is AlertWindow.WEEK else 1)
