"""From single measurements to the reported figures: medians, and ratios formed within one round."""

import dataclasses
import statistics
from collections.abc import Callable, Sequence

from tests.bench.case import Case
from tests.bench.measure import Measurement


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A system beside a baseline: the median over rounds of what one round shows.

    Attributes:
        per_second_ratio: answers per second over the baseline's.
        p50_ratio, p99_ratio: latency over the baseline's.
        added_p50_us, added_p99_us: latency less the baseline's, in microseconds.
    """

    per_second_ratio: float
    p50_ratio: float
    p99_ratio: float
    added_p50_us: float
    added_p99_us: float


@dataclasses.dataclass(frozen=True)
class Summary:
    """A system under a case: medians over all rounds, except `errors`, which is their sum.

    Attributes:
        per_second_low, per_second_high: slowest and fastest round; their distance shows how noisy it was.
        cpu_us_per_request, memory_bytes: by process name, as in `Measurement`.
        client_cpu_us_per_request: the load generator's own.
        against: comparisons by baseline name.
    """

    system: str
    case: Case
    rounds: int
    per_second: float
    per_second_low: float
    per_second_high: float
    p50_us: float
    p90_us: float
    p99_us: float
    errors: int
    cpu_us_per_request: dict[str, float]
    client_cpu_us_per_request: float
    memory_bytes: dict[str, int]
    against: dict[str, Comparison]


def summarize(measurements: Sequence[Measurement]) -> list[Summary]:
    """Return one summary for each case and system, in the order of their first measurement."""
    groups: dict[tuple[Case, str], list[Measurement]] = {}
    for measurement in measurements:
        groups.setdefault((measurement.case, measurement.system), []).append(measurement)
    return [_summary(case, system, groups) for case, system in groups]


def _summary(case: Case, system: str, groups: dict[tuple[Case, str], list[Measurement]]) -> Summary:
    own = groups[case, system]
    baselines = {name: group for (other, name), group in groups.items() if other == case and name != system}
    rates = [one.load.per_second for one in own]
    return Summary(
        system=system,
        case=case,
        rounds=len(own),
        per_second=statistics.median(rates),
        per_second_low=min(rates),
        per_second_high=max(rates),
        p50_us=statistics.median(one.load.p50_us for one in own),
        p90_us=statistics.median(one.load.p90_us for one in own),
        p99_us=statistics.median(one.load.p99_us for one in own),
        errors=sum(one.load.errors for one in own),
        cpu_us_per_request={
            name: statistics.median(one.cpu_us_per_request[name] for one in own) for name in own[0].cpu_us_per_request
        },
        client_cpu_us_per_request=statistics.median(one.load.client_cpu_us / max(one.load.ok, 1) for one in own),
        memory_bytes={
            name: round(statistics.median(one.memory_bytes[name] for one in own)) for name in own[0].memory_bytes
        },
        against={name: _compare(own, group) for name, group in baselines.items()},
    )


def _compare(own: Sequence[Measurement], baseline: Sequence[Measurement]) -> Comparison:
    by_round = {one.round: one for one in baseline}
    pairs = [(one, by_round[one.round]) for one in own if one.round in by_round]

    def median(figure: Callable[[Measurement, Measurement], float]) -> float:
        return statistics.median(figure(one, other) for one, other in pairs)

    return Comparison(
        per_second_ratio=median(lambda one, other: _ratio(one.load.per_second, other.load.per_second)),
        p50_ratio=median(lambda one, other: _ratio(one.load.p50_us, other.load.p50_us)),
        p99_ratio=median(lambda one, other: _ratio(one.load.p99_us, other.load.p99_us)),
        added_p50_us=median(lambda one, other: one.load.p50_us - other.load.p50_us),
        added_p99_us=median(lambda one, other: one.load.p99_us - other.load.p99_us),
    )


def _ratio(value: float, baseline: float) -> float:
    return value / baseline if baseline else 0.0
