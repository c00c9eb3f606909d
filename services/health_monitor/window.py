"""Sliding windows over attempts, in bounded memory.

Attempts arrive late and out of order, so each is counted at the time it ended. Counts are kept in buckets: a window ends with
the current bucket, so it covers between its span less one bucket and its span. Pure.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from keyferry.latency.sketch import LatencySketch, merge


@dataclass(frozen=True, slots=True)
class Tally:
    """Attempts that prove something about a target, and how many of them failed."""

    attempts: int = 0
    failures: int = 0


class SlidingCounts:
    """Attempts and failures of the last `span`, in a fixed number of buckets."""

    def __init__(self, span: timedelta, buckets: int = 10) -> None:
        self.span = span
        self._width_seconds = span.total_seconds() / buckets
        self._size = buckets
        self._buckets: dict[int, Tally] = {}

    def add(self, ended_at: datetime, now: datetime, *, failed: bool) -> bool:
        """Count an attempt; return whether it is recent enough. One from the future counts as ended now."""
        self._drop_expired(now)
        bucket = self._bucket(min(ended_at, now))
        if bucket <= self._bucket(now) - self._size:
            return False
        had = self._buckets.get(bucket, Tally())
        self._buckets[bucket] = Tally(had.attempts + 1, had.failures + failed)
        return True

    def tally(self, now: datetime) -> Tally:
        """Return the counts of the window at `now`."""
        self._drop_expired(now)
        kept = self._buckets.values()
        return Tally(sum(tally.attempts for tally in kept), sum(tally.failures for tally in kept))

    def clear(self) -> None:
        """Remove all counts."""
        self._buckets.clear()

    def _bucket(self, at: datetime) -> int:
        return math.floor(at.timestamp() / self._width_seconds)

    def _drop_expired(self, now: datetime) -> None:
        """Remove what has left the window, and what lies in the future after a clock was set back."""
        last = self._bucket(now)
        for bucket in [bucket for bucket in self._buckets if not last - self._size < bucket <= last]:
            del self._buckets[bucket]


class SlidingSketch:
    """Latencies of the last `span`, as one sketch for each of a fixed number of buckets."""

    def __init__(self, span: timedelta, buckets: int = 10) -> None:
        self._width_seconds = span.total_seconds() / buckets
        self._size = buckets
        self._buckets: dict[int, LatencySketch] = {}

    def add(self, ended_at: datetime, now: datetime, latency_ms: int) -> None:
        """Count a latency where the attempt ended; one that ended before the window is left out."""
        last = math.floor(now.timestamp() / self._width_seconds)
        self._drop_expired(last)
        bucket = math.floor(min(ended_at, now).timestamp() / self._width_seconds)
        if bucket > last - self._size:
            self._buckets.setdefault(bucket, LatencySketch()).add(latency_ms)

    def merged(self, now: datetime) -> LatencySketch:
        """Return the sketch of the window at `now`."""
        self._drop_expired(math.floor(now.timestamp() / self._width_seconds))
        return merge(self._buckets.values())

    def _drop_expired(self, last: int) -> None:
        """Remove what has left the window, and what lies in the future after a clock was set back."""
        for bucket in [bucket for bucket in self._buckets if not last - self._size < bucket <= last]:
            del self._buckets[bucket]
