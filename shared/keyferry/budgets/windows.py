"""The windows of budgets: periods of the calendar in a time zone, and the last hours; and the accounts of windows.

A period of the calendar begins at the first moment of its first day on the zone's clocks and ends where the next one begins, so
that periods leave no gap and share no moment: a day has 23 or 25 hours when clocks change. Where clocks skip midnight, the day
begins after the gap; where midnight comes twice, it begins with the first; a day that a zone skips has no length and is no
window. All moments are in UTC. Pure.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from keyferry.contracts.budget import BudgetWindow, CalendarPeriod

ROLLING = "rolling"
"""The label of the only window of a rolling budget."""
HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_PREFIX = "budget"
_FIRST_YEAR, _LAST_YEAR = 1969, 9998
"""Windows of moments that records may have, so that none ends outside Python's dates."""


@dataclass(frozen=True, slots=True)
class WindowSpan:
    """One window: the moments from `start` until before `end`."""

    label: str
    """The first day of the period, such as `2026-11-01`, or `rolling`."""
    start: datetime
    end: datetime | None
    """None for a rolling window, whose start moves instead."""


def window_at(window: BudgetWindow, now: datetime) -> WindowSpan:
    """Return the window that contains `now`, which has a time zone."""
    if window.calendar is None:
        return WindowSpan(ROLLING, _rolling_start(window, now), None)
    zone = ZoneInfo(window.time_zone)
    first = _first_day(window.calendar, now.astimezone(zone).date())
    start, end = _begin(first, zone), _begin(_next(window.calendar, first), zone)
    # Clocks that are set back over midnight show the day before once more.
    while end <= now:
        first = _next(window.calendar, first)
        start, end = end, _begin(_next(window.calendar, first), zone)
    return WindowSpan(first.isoformat(), start, end)


def window_of_label(window: BudgetWindow, label: str) -> WindowSpan | None:
    """Return the window of the calendar with this label; None if there is none, and for rolling windows."""
    try:
        first = date.fromisoformat(label)
    except ValueError:
        return None
    if window.calendar is None or first.isoformat() != label or not _FIRST_YEAR <= first.year <= _LAST_YEAR:
        return None
    start = _begin(first, ZoneInfo(window.time_zone))
    found = window_at(window, start)
    return found if found.label == label else None


def hour_of(moment: datetime) -> datetime:
    """Return the beginning of the hour, in UTC, in which a moment is."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def account_name(budget_id: str, span: WindowSpan) -> str:
    """Return the name of the account of one window of a budget."""
    return f"{_PREFIX}/{budget_id}/{span.label}"


def parse_account(name: str) -> tuple[str, str] | None:
    """Return the budget and the window's label of an account's name; None if it is no budget's."""
    parts = name.split("/")
    return (parts[1], parts[2]) if len(parts) == 3 and parts[0] == _PREFIX else None


def _rolling_start(window: BudgetWindow, now: datetime) -> datetime:
    """Return the beginning of the first hour that counts: it counts until all of it is as long ago as the window is long."""
    return hour_of(now - timedelta(hours=window.rolling_hours or 0))


def _first_day(period: CalendarPeriod, day: date) -> date:
    match period:
        case CalendarPeriod.DAY:
            return day
        case CalendarPeriod.WEEK:
            return day - timedelta(days=day.weekday())
        case CalendarPeriod.MONTH:
            return day.replace(day=1)


def _next(period: CalendarPeriod, first: date) -> date:
    match period:
        case CalendarPeriod.DAY:
            return first + _DAY
        case CalendarPeriod.WEEK:
            return first + timedelta(days=7)
        case CalendarPeriod.MONTH:
            return (first.replace(day=28) + timedelta(days=4)).replace(day=1)


def _begin(day: date, zone: ZoneInfo) -> datetime:
    # `fold=0`: of two midnights the first; for a midnight that is skipped it is the moment of the change.
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)
