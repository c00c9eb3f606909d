"""Latency sketches: percentiles within 1 %, in bounded memory, that merge without loss.

The scheme of DDSketch (Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
guarantees", VLDB 2019): a value is counted in the bucket of its logarithm. Buckets have the same limits in every sketch, so the
sum of two sketches is the sketch of all values, whether they are of two windows or of two processes. Pure.
"""

import math
from collections.abc import Iterable, Mapping

RELATIVE_ERROR = 0.01
_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GAMMA = math.log(_GAMMA)
_LONGEST_MS = 24 * 3600 * 1000
"""Longer latencies count as a day: that bounds a sketch to about a thousand buckets, whatever a record says."""


class LatencySketch:
    """Counts of latencies in milliseconds by bucket."""

    __slots__ = ("_counts", "_total")

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        """Start with these counts by bucket, as `counts` returns them."""
        self._counts = dict(counts or {})
        self._total = sum(self._counts.values())

    def __len__(self) -> int:
        return self._total

    @property
    def counts(self) -> Mapping[int, int]:
        """The counts by bucket."""
        return self._counts

    def add(self, latency_ms: int) -> None:
        """Count a latency; a negative one counts as zero."""
        bucket = _bucket(latency_ms)
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self._total += 1

    def percentile(self, percent: float) -> int | None:
        """Return a latency within 1 % (and half a millisecond) of the percentile by nearest rank; None without any."""
        if not self._total:
            return None
        rank = max(1, math.ceil(self._total * percent / 100))
        reached = 0
        for bucket in sorted(self._counts):
            reached += self._counts[bucket]
            if reached >= rank:
                return _value(bucket)
        raise AssertionError("the counts add up to the total")


def merge(sketches: Iterable[LatencySketch]) -> LatencySketch:
    """Return the sketch of all values in `sketches`."""
    counts: dict[int, int] = {}
    for sketch in sketches:
        for bucket, count in sketch.counts.items():
            counts[bucket] = counts.get(bucket, 0) + count
    return LatencySketch(counts)


def _bucket(latency_ms: int) -> int:
    """Return the bucket: -1 for zero, otherwise that of the values up to gamma to its power."""
    if latency_ms <= 0:
        return -1
    return math.ceil(math.log(min(latency_ms, _LONGEST_MS)) / _LOG_GAMMA)


def _value(bucket: int) -> int:
    """Return the value whose relative distance to both limits of a bucket is the same, at most `RELATIVE_ERROR`."""
    return 0 if bucket < 0 else round(2 * _GAMMA**bucket / (_GAMMA + 1))
