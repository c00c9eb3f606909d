"""Percentiles of many durations of one operation."""

import dataclasses
from collections.abc import Sequence

from tests.bench.failure import BenchError

_LEAST_SAMPLES = 100
"""With fewer samples the 99th percentile is just the largest one."""


@dataclasses.dataclass(frozen=True)
class Timing:
    """Percentiles of durations in microseconds. `per_second` is their rate."""

    name: str
    samples: int
    per_second: float
    p50_us: float
    p90_us: float
    p99_us: float


def timing(name: str, durations_ns: Sequence[int], elapsed_seconds: float) -> Timing:
    """Return the percentiles (nearest rank) of at least a hundred durations.

    Raises:
        BenchError: there are too few samples.
    """
    if len(durations_ns) < _LEAST_SAMPLES:
        raise BenchError(
            f"{name}: {len(durations_ns)} samples are too few; {_LEAST_SAMPLES} are needed. Run it longer."
        )
    ordered = sorted(durations_ns)

    def percentile_us(percent: int) -> float:
        return ordered[-(-percent * len(ordered) // 100) - 1] / 1000

    rate = len(ordered) / elapsed_seconds
    return Timing(name, len(ordered), rate, percentile_us(50), percentile_us(90), percentile_us(99))
