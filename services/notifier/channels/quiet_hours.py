"""Whether quiet hours hold a notification back, and until when. Pure."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from keyferry.contracts.notification_channels import QuietHours, time_of_day
from services.notifier.local_time import local_moment


def quiet_until(quiet: QuietHours | None, tenant_zone: str, now: datetime) -> datetime | None:
    """Return the end of the quiet hours that `now` is in, in UTC; None if it is in none.

    A span belongs to the day of the zone on which it begins. A beginning or end that the clocks skip is as much later as they
    skip; of one that occurs twice the first counts for the beginning and the last for the end, so that a span loses nothing.
    """
    if quiet is None:
        return None
    zone = ZoneInfo(quiet.time_zone or tenant_zone)
    begin, end = time_of_day(quiet.begin), time_of_day(quiet.end)
    today = now.astimezone(zone).date()
    for day in (today - timedelta(days=1), today):
        last_day = day if begin < end else day + timedelta(days=1)
        since = local_moment(day, begin, zone)
        until = local_moment(last_day, end, zone, last=True)
        if since <= now < until:
            return until.astimezone(UTC)
    return None
