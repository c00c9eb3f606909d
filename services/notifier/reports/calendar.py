"""When scheduled reports are due, and which day, week or month each is about. Pure."""

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from keyferry.contracts.notification_channels import time_of_day
from keyferry.contracts.usage_mail import ReportFrequency, ReportTerms
from services.notifier.local_time import local_moment

_MIDNIGHT = time_of_day("00:00")
_DAYS_OF_WEEK = 7


@dataclass(frozen=True, slots=True)
class ReportPeriod:
    """What one report is about: from the first moment up to, and without, the end, in UTC; and its days in the zone."""

    start: datetime
    end: datetime
    first_day: date
    last_day: date


def zone_of(terms: ReportTerms, tenant_zone: str) -> ZoneInfo:
    """Return the zone whose days count."""
    return ZoneInfo(terms.time_zone or tenant_zone)


def next_due(terms: ReportTerms, tenant_zone: str, after: datetime) -> datetime:
    """Return the first moment later than `after` at which the report is due, in UTC."""
    zone = zone_of(terms, tenant_zone)
    at = time_of_day(terms.at)
    day = after.astimezone(zone).date() - timedelta(days=1)
    while True:
        if _is_on(terms, day) and (due := local_moment(day, at, zone)) > after:
            return due
        day += timedelta(days=1)


def period_before(terms: ReportTerms, tenant_zone: str, due: datetime) -> ReportPeriod:
    """Return the last day, week (from Monday) or month that had ended when the report was due."""
    zone = zone_of(terms, tenant_zone)
    today = due.astimezone(zone).date()
    if terms.frequency is ReportFrequency.DAILY:
        first, end = today - timedelta(days=1), today
    elif terms.frequency is ReportFrequency.WEEKLY:
        end = today - timedelta(days=today.weekday())
        first = end - timedelta(days=_DAYS_OF_WEEK)
    else:
        end = today.replace(day=1)
        first = (end - timedelta(days=1)).replace(day=1)
    start, until = (local_moment(day, _MIDNIGHT, zone).astimezone(UTC) for day in (first, end))
    return ReportPeriod(start=start, end=until, first_day=first, last_day=end - timedelta(days=1))


def _is_on(terms: ReportTerms, day: date) -> bool:
    """Return whether the report is sent on a day: in a month without its day, on the last one."""
    if terms.frequency is ReportFrequency.DAILY:
        return True
    if terms.frequency is ReportFrequency.WEEKLY:
        return day.isoweekday() == terms.weekday
    return day.day == min(terms.day, calendar.monthrange(day.year, day.month)[1])
