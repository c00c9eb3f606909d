"""Where a search looks: the span of a filter, growing groups of quarter hours, and when an id was made. Pure."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from keyferry.contracts.request_log import RequestFilter
from services.usage_ledger.request_log.facets import TimeSpan

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
"""The table has no attempt of this moment or later."""

_FIRST_GROUP, _GROWTH, _LARGEST_GROUP = 4, 8, 256
_FIRST_SLICE = 32
_ID_DIGITS = 10
"""Base32 digits of an id with the 48 bits of its time."""
_AROUND = timedelta(hours=1)
_LONGEST_WAIT = timedelta(days=1)
"""By so much an attempt may begin after its decision."""


def span_of(query: RequestFilter) -> TimeSpan:
    """Return the span of time of a filter."""
    since, until = query.since or EARLIEST, query.until or LATEST
    return TimeSpan(max(since, EARLIEST), min(until, LATEST))


class SearchPace:
    """How many quarter hours to search next: few at first, then about as many as the rest of a page should need."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._searched = self._found = 0

    def note(self, searched: int, found: int) -> None:
        """Count what was found in so many quarter hours."""
        self._searched += searched
        self._found += found

    def next_size(self) -> int:
        """Return the number of quarter hours."""
        if not self._found:
            size = self._searched * _GROWTH
        else:
            size = max(self._wanted - self._found, 1) * self._searched * 5 // (4 * self._found)
        return min(max(size, _FIRST_GROUP), _LARGEST_GROUP)


def slices(first: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield the first and last of the days to look up facets of at once: the last month, then twice as many, and so on."""
    size = _FIRST_SLICE
    while last >= first:
        yield max(first, last - size + 1), last
        last -= size
        size *= 2


def clip(span: TimeSpan, within: TimeSpan) -> TimeSpan:
    """Return the part of a span that is within another one."""
    return TimeSpan(max(span.since, within.since), min(span.until, within.until))


def window_of_id(prefix: str) -> TimeSpan | None:
    """Return when attempts may have begun whose ids begin with `prefix`; None if it does not determine about a day."""
    digits = prefix.rpartition("_")[2][:_ID_DIGITS].upper()
    try:
        first, last = (
            int.from_bytes(base64.b32hexdecode(digits.ljust(16, filler))[:6], "big") for filler in ("0", "V")
        )
        since, until = (EARLIEST + timedelta(milliseconds=unix_ms) for unix_ms in (first, last + 1))
    except (ValueError, OverflowError):
        return None
    if until - since > _LONGEST_WAIT:
        return None
    return TimeSpan(max(since, EARLIEST + _AROUND) - _AROUND, until + _LONGEST_WAIT)
