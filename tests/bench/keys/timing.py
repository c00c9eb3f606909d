"""How long one thing took, many times."""

import dataclasses
from collections.abc import Sequence

from tests.bench.failure import BenchError

_LEAST_SAMPLES = 100
"""A 99th percentile of fewer is the largest of them."""


@dataclasses.dataclass(frozen=True)
class Timing:
    """Percentiles of durations in microseconds. `per_second` is the rate at which they were made."""

    name: str
    samples: int
    per_second: float
    p50_us: float
    p90_us: float
    p99_us: float


def timing(name: str, durations_ns: Sequence[int], elapsed_seconds: float) -> Timing:
    """The percentiles (nearest rank) of at least a hundred durations.

    Raises:
        BenchError: there are too few to tell.
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
