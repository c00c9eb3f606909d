"""Sliding windows over attempts, in bounded memory.

Attempts arrive late and out of order, so each is counted at the time it ended. Counts are kept in buckets: a window ends with
the current bucket, so it covers between its span less one bucket and its span. Pure.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

_MAX_LATENCIES = 256
"""Per target; more would not move P95 noticeably."""


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


class Latencies:
    """Latencies of the last completed attempts, in milliseconds, none older than `span`."""

    def __init__(self, span: timedelta) -> None:
        self._span = span
        self._kept: deque[tuple[datetime, int]] = deque(maxlen=_MAX_LATENCIES)

    def add(self, ended_at: datetime, latency_ms: int) -> None:
        """Add a latency; the oldest is dropped if there are too many."""
        self._kept.append((ended_at, latency_ms))

    def percentiles(self, now: datetime) -> tuple[int, int] | None:
        """Return P50 and P95 by nearest rank; None if nothing completed recently."""
        oldest = now - self._span
        latencies_ms = sorted(latency_ms for ended_at, latency_ms in self._kept if ended_at > oldest)
        if not latencies_ms:
            return None
        return _nearest_rank(latencies_ms, 50), _nearest_rank(latencies_ms, 95)


def _nearest_rank(ascending: Sequence[int], percent: int) -> int:
    return ascending[math.ceil(len(ascending) * percent / 100) - 1]
