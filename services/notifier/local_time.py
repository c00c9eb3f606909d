"""From a date and a time of day in some zone to a moment, also where the clocks change. Pure."""

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo


def local_moment(day: date, at: time, zone: ZoneInfo, *, last: bool = False) -> datetime:
    """Return the moment in UTC. A time that the clocks skip is as much later as they skip.

    Of a time that occurs twice it is the first occurrence, or with `last` the second.
    """
    # Python gives a skipped time the offset from before the change with fold=0 (PEP 495), which is that much later.
    skipped_or_first = datetime.combine(day, at, zone).replace(fold=0)
    moment = skipped_or_first.astimezone(UTC)
    if last and moment.astimezone(zone).replace(tzinfo=None) == skipped_or_first.replace(tzinfo=None):
        return skipped_or_first.replace(fold=1).astimezone(UTC)
    return moment
