"""Spans of time in quarter hours since 1970, and the buckets of a zone in them.

Every zone of today is a whole number of quarter hours from UTC, so its days are sums of them. In the few spans of the past where
one was not (Liberia's until 1972), a day begins with the quarter hour in which midnight is. Pure.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from keyferry.contracts.analytics import MAX_CELLS, AnalyticsQuery, BucketLength

QUARTER_SECONDS = 900
_QUARTERS_OF_HOUR = 4
_END_OF_TIME = int(datetime(2200, 1, 1, tzinfo=UTC).timestamp()) // QUARTER_SECONDS
"""No attempt is recorded as begun later."""
_LAST_DAY = date(2199, 12, 31)


class InvalidSpan(Exception):
    """A span that ends before it begins, or has too many buckets; the message says what to do."""


class QuarterSpan(NamedTuple):
    """From `since` until, without, `until`: in quarter hours since 1970."""

    since: int
    until: int

    @property
    def bounds(self) -> tuple[datetime, datetime]:
        """Both ends as points in time."""
        return moment(self.since), moment(self.until)


class Compared(NamedTuple):
    """A span, and the one before it with which it is compared."""

    span: QuarterSpan
    previous: QuarterSpan | None


def moment(quarter: int) -> datetime:
    """Return when a quarter hour begins."""
    return datetime.fromtimestamp(quarter * QUARTER_SECONDS, UTC)


def floor_quarter(at: datetime) -> int:
    """Return the quarter hour that contains a point in time, within the times that attempts can have."""
    return min(max(int(at.timestamp() // QUARTER_SECONDS), 0), _END_OF_TIME)


def ceil_quarter(at: datetime) -> int:
    """Return the first quarter hour that begins then or later."""
    return min(max(int(-(-at.timestamp() // QUARTER_SECONDS)), 0), _END_OF_TIME)


def resolve(query: AnalyticsQuery, now: datetime, recorded: QuarterSpan | None) -> Compared:
    """Return the span that a query is about. `recorded` has all that is recorded for it. Raises InvalidSpan."""
    zone, end = ZoneInfo(query.tz), ceil_quarter(now)
    if query.since is not None or query.until is not None:
        return _resolve_given(query, zone, end, recorded)
    if query.period == "all":
        return Compared(recorded or QuarterSpan(end, end), None)
    if query.period == "24h":
        day = 24 * _QUARTERS_OF_HOUR
        return Compared(QuarterSpan(end - day, end), QuarterSpan(end - 2 * day, end - day))
    if query.period.endswith("d"):
        return _resolve_days(int(query.period[:-1]), zone, now)
    return _resolve_month(query.period, zone, now)


def _resolve_given(query: AnalyticsQuery, zone: ZoneInfo, end: int, recorded: QuarterSpan | None) -> Compared:
    first = recorded.since if recorded else end
    until = end if query.until is None else ceil_quarter(_in_zone(query.until, zone))
    since = min(first, until) if query.since is None else floor_quarter(_in_zone(query.since, zone))
    if query.since is not None and since >= until:
        raise InvalidSpan("`until` must be later than `since`: the first is excluded, the second not")
    length = until - since
    previous = QuarterSpan(since - length, since) if query.since is not None and since >= length else None
    return Compared(QuarterSpan(since, until), previous)


def _resolve_days(days: int, zone: ZoneInfo, now: datetime) -> Compared:
    local = now.astimezone(zone)
    first = local.date() - timedelta(days=days - 1)
    before = local.replace(tzinfo=None) - timedelta(days=days)
    since = midnight(first, zone)
    previous = QuarterSpan(
        midnight(first - timedelta(days=days), zone), min(ceil_quarter(before.replace(tzinfo=zone)), since)
    )
    return Compared(QuarterSpan(since, ceil_quarter(now)), previous)


def _resolve_month(name: str, zone: ZoneInfo, now: datetime) -> Compared:
    first = date(int(name[:4]), int(name[5:]), 1) if name >= "0001" else date.min
    if not date(1970, 1, 1) <= first <= _LAST_DAY:
        raise InvalidSpan("a month of the years 1970 to 2199, such as 2026-11")
    since, until = midnight(first, zone), midnight(next_month(first), zone)
    if first == date(1970, 1, 1):
        return Compared(QuarterSpan(since, until), None)
    before = midnight((first - timedelta(days=1)).replace(day=1), zone)
    elapsed = ceil_quarter(now) - since
    return Compared(
        QuarterSpan(since, until),
        QuarterSpan(before, since if elapsed >= until - since else _within(before, elapsed, since)),
    )


def _within(start: int, length: int, end: int) -> int:
    return min(start + max(length, 0), end)


def _in_zone(at: datetime, zone: ZoneInfo) -> datetime:
    return at if at.tzinfo is not None else at.replace(tzinfo=zone)


def midnight(day: date, zone: ZoneInfo) -> int:
    """Return the quarter hour in which a day of the zone begins; if its clocks skip midnight, that in which they do."""
    return floor_quarter(datetime.combine(day, time(), zone))


def next_month(day: date) -> date:
    """Return the first day of the following month."""
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)


def buckets(span: QuarterSpan, length: BucketLength, zone: ZoneInfo, lines: int = 1) -> list[QuarterSpan]:
    """Return the buckets of a span, which they cover; the first and last may be cut. Raises InvalidSpan for too many."""
    _check_number(span, length, lines)
    starts = [span.since]
    for start in _starts(span, length, zone):
        # A day that a zone skipped, such as Samoa's 30 December 2011, has no length.
        if starts[-1] < start < span.until:
            starts.append(start)
    if len(starts) * lines > MAX_CELLS:
        raise _too_many(length)
    return [
        QuarterSpan(start, end) for start, end in zip(starts, (*starts[1:], span.until), strict=True) if start < end
    ]


def _check_number(span: QuarterSpan, length: BucketLength, lines: int) -> None:
    shortest = {BucketLength.QUARTER_HOUR: 1, BucketLength.HOUR: 4, BucketLength.DAY: 100, BucketLength.WEEK: 700}
    if (span.until - span.since) // shortest.get(length, 3_000) * lines > MAX_CELLS:
        raise _too_many(length)


def _too_many(length: BucketLength) -> InvalidSpan:
    return InvalidSpan(
        f"the series would have more than {MAX_CELLS} points with buckets of `{length}`: choose longer buckets, a shorter"
        " span or fewer lines"
    )


def _starts(span: QuarterSpan, length: BucketLength, zone: ZoneInfo) -> Iterator[int]:
    match length:
        case BucketLength.QUARTER_HOUR:
            yield from range(span.since, span.until)
        case BucketLength.HOUR:
            yield from _hours(span, zone)
        case BucketLength.DAY | BucketLength.WEEK | BucketLength.MONTH:
            yield from (midnight(day, zone) for day in _first_days(span, length, zone))


def _hours(span: QuarterSpan, zone: ZoneInfo) -> Iterator[int]:
    """Yield where hours of the zone begin: with minute 0, and where its clocks are set."""
    offset = None
    for quarter in range(span.since, span.until):
        local = moment(quarter).astimezone(zone)
        if local.minute < QUARTER_SECONDS // 60 or local.utcoffset() != offset:
            yield quarter
        offset = local.utcoffset()


def _first_days(span: QuarterSpan, length: BucketLength, zone: ZoneInfo) -> Iterator[date]:
    day = moment(span.since).astimezone(zone).date()
    if length is BucketLength.WEEK:
        day -= timedelta(days=day.weekday())
    elif length is BucketLength.MONTH:
        day = day.replace(day=1)
    last = moment(span.until).astimezone(zone).date()
    while day <= last:
        yield day
        day = (
            next_month(day)
            if length is BucketLength.MONTH
            else day + timedelta(days=7 if length is BucketLength.WEEK else 1)
        )


def are_days_of_utc(spans: list[QuarterSpan]) -> bool:
    """Return whether every limit between these spans is one of two days of UTC."""
    return all(span.since % 96 == 0 for span in spans[1:])
