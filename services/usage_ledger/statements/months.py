"""The months that statements are of: each begins where the one before ends, also where a tenant changes its zone between them.

A month that has ended keeps its zone and its bounds. The one that lasts ends at midnight in the zone that the tenant has now, so
the month after a change is longer or shorter by the difference of the two zones, and no attempt or transfer is in two months
or in none. Bounds are quarter hours, as in analytics. Pure.
"""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple
from zoneinfo import ZoneInfo

from services.usage_ledger.analytics.periods import QuarterSpan, midnight, moment, next_month

_NAME_LENGTH = len("2026-11")


class BilledMonth(NamedTuple):
    """A calendar month of a tenant, and when it begins and ends."""

    first_day: date
    tz: str
    span: QuarterSpan

    @property
    def name(self) -> str:
        """Return the month as people write it, such as `2026-11`."""
        return self.first_day.isoformat()[:_NAME_LENGTH]


def whole_month(first_day: date, tz: str) -> BilledMonth:
    """Return a month from midnight to midnight in one zone."""
    zone = ZoneInfo(tz)
    return BilledMonth(first_day, tz, QuarterSpan(midnight(first_day, zone), midnight(next_month(first_day), zone)))


def following_month(last: BilledMonth, tz: str) -> BilledMonth:
    """Return the month after `last`, which ends at midnight in `tz`."""
    whole = whole_month(next_month(last.first_day), tz)
    return BilledMonth(whole.first_day, tz, QuarterSpan(last.span.until, whole.span.until))


def months_since(last: BilledMonth | None, activity: int | None, tz: str, now: int) -> list[BilledMonth]:
    """Return the months after `last` up to the one that lasts at the quarter hour `now`.

    Without `last` they begin with the month of the quarter hour `activity`, and without both there are none.
    """
    if last is None:
        if activity is None:
            return []
        found = [whole_month(_month_of(min(activity, now), tz), tz)]
    else:
        found = [following_month(last, tz)]
    while found[-1].span.until <= now:
        found.append(following_month(found[-1], tz))
    return found


def months_before(first: BilledMonth, activity: int | None) -> list[BilledMonth]:
    """Return the months before `first` from that of the quarter hour `activity`: of attempts that were recorded much later."""
    if activity is None or activity >= first.span.since:
        return []
    found = []
    day = _month_of(activity, first.tz)
    while day < first.first_day:
        found.append(whole_month(day, first.tz))
        day = next_month(day)
    if found:
        found[-1] = found[-1]._replace(span=QuarterSpan(found[-1].span.since, first.span.since))
    return found


def ended_months(months: Sequence[BilledMonth], now: int) -> list[BilledMonth]:
    """Return those that have ended at the quarter hour `now`."""
    return [month for month in months if month.span.until <= now]


def _month_of(quarter: int, tz: str) -> date:
    return moment(quarter).astimezone(ZoneInfo(tz)).date().replace(day=1)
