"""The numbers the product sets itself, and whether a run reached them on its machine."""

import dataclasses
from collections.abc import Callable, Sequence

from tests.bench import propagation, strangers
from tests.bench.case import Case, Kind
from tests.bench.figure import Figure
from tests.bench.keys import COLD, GRANT_SIGNED, REMOVED_ANSWERED, WARM
from tests.bench.keys.timing import Timing
from tests.bench.ledger import statements, summaries
from tests.bench.ledger.figure_names import (
    ALERT_AT_ONCE,
    ALERT_INGEST,
    ALERT_LATENCY,
    ALERT_PREVIEW,
    CREDIT_COST,
    HOT_TENANT,
    INGEST,
    RESTORE,
    STORAGE,
    USAGE_VIEW,
)
from tests.bench.overload import FAILING, FLOOD, GOODPUT, HANG, RECOVERY, REFUSAL
from tests.bench.planning import DEFAULT_POLICY, MANY_CANDIDATES
from tests.bench.summary import Summary
from tests.bench.telemetry import METRICS, TRACE_STORED, TRACING

_SYSTEM = "product"
_BASELINE = "direct"


@dataclasses.dataclass(frozen=True)
class GoalResult:
    """A goal and the figure found for it, both in `unit`."""

    goal: str
    limit: float
    found: float
    unit: str
    met: bool


@dataclasses.dataclass(frozen=True)
class _Goal:
    text: str
    case: Case
    limit: float
    unit: str
    figure: Callable[[Summary], float | None]
    at_least: bool = False


def _per_second(summary: Summary) -> float:
    return summary.per_second


def _p50_ms(summary: Summary) -> float:
    return summary.p50_us / 1000


def _added_p50_ms(summary: Summary) -> float | None:
    baseline = summary.against.get(_BASELINE)
    return None if baseline is None else baseline.added_p50_us / 1000


def _added_p99_ms(summary: Summary) -> float | None:
    baseline = summary.against.get(_BASELINE)
    return None if baseline is None else baseline.added_p99_us / 1000


_GOALS = (
    _Goal("requests at 64 clients", Case(Kind.PLAIN, 64), 2000, "/s", _per_second, at_least=True),
    _Goal("added latency at one client, p50", Case(Kind.PLAIN, 1), 3, "ms", _added_p50_ms),
    _Goal("added latency at one client, p99", Case(Kind.PLAIN, 1), 10, "ms", _added_p99_ms),
    _Goal("added time to first token, p50", Case(Kind.FIRST_TOKEN, 1), 3, "ms", _added_p50_ms),
    _Goal("added time to first token, p99", Case(Kind.FIRST_TOKEN, 1), 10, "ms", _added_p99_ms),
    _Goal("streams of 50 chunks at 64 clients", Case(Kind.STREAM, 64), 600, "/s", _per_second, at_least=True),
    _Goal("a whole stream at one client, p50", Case(Kind.STREAM, 1), 6, "ms", _p50_ms),
)


_TIMING_GOALS = {
    WARM: 0.1,
    COLD: 5.0,
    REMOVED_ANSWERED: 1000.0,
    propagation.POLICY: 1000.0,
    propagation.TIER: 1000.0,
    propagation.TOKEN: 1000.0,
    strangers.CLOSED: 15_000.0,
    summaries.ONE_MILLION: 100.0,
    summaries.TEN_MILLION: 500.0,
    statements.STATEMENT: 10_000.0,
    TRACE_STORED: 2000.0,
}
"""What is timed by itself -> its 99th percentile's limit in milliseconds."""


_MEDIAN_GOALS = {
    DEFAULT_POLICY: 60.0,
    MANY_CANDIDATES: 500.0,
    GRANT_SIGNED: 40.0,
    strangers.WRONG_CHECKSUM: 60.0,
    strangers.UNKNOWN: 60.0,
}
"""What is timed by itself -> its median's limit in microseconds."""


@dataclasses.dataclass(frozen=True)
class _Limit:
    limit: float
    unit: str
    at_least: bool = False


_FIGURE_GOALS = {
    HANG: _Limit(1.2, "times"),
    FLOOD: _Limit(1.5, "times"),
    GOODPUT: _Limit(90, "%", at_least=True),
    REFUSAL: _Limit(50, "ms"),
    RECOVERY: _Limit(10, "s"),
    FAILING: _Limit(1.12, "times"),
    INGEST: _Limit(10_000, "/s", at_least=True),
    STORAGE: _Limit(1000, "bytes"),
    CREDIT_COST: _Limit(0.9, "times", at_least=True),
    HOT_TENANT: _Limit(20, "times", at_least=True),
    USAGE_VIEW: _Limit(1.2, "times"),
    ALERT_LATENCY: _Limit(10, "s"),
    ALERT_INGEST: _Limit(0.9, "times", at_least=True),
    ALERT_AT_ONCE: _Limit(10, "s"),
    ALERT_PREVIEW: _Limit(60, "s"),
    RESTORE: _Limit(300, "s"),
    TRACING: _Limit(0.95, "times", at_least=True),
    METRICS: _Limit(0.98, "times", at_least=True),
}


def evaluate_figures(figures: Sequence[Figure]) -> list[GoalResult]:
    """Return a result for every figure of the overload cases, the ledger and telemetry."""
    results = []
    for figure in figures:
        goal = _FIGURE_GOALS[figure.name]
        met = figure.found >= goal.limit if goal.at_least else figure.found <= goal.limit
        results.append(GoalResult(figure.name, goal.limit, figure.found, goal.unit, met))
    return results


def evaluate_timings(timings: Sequence[Timing]) -> list[GoalResult]:
    """Return a result for every goal of a separate timing."""
    medians = [
        GoalResult(f"{one.name}, p50", limit_us, one.p50_us, "µs", one.p50_us < limit_us)
        for one in timings
        if (limit_us := _MEDIAN_GOALS.get(one.name)) is not None
    ]
    return medians + [
        GoalResult(f"{one.name}, p99", limit_ms, one.p99_us / 1000, "ms", one.p99_us / 1000 < limit_ms)
        for one in timings
        if (limit_ms := _TIMING_GOALS.get(one.name)) is not None
    ]


def evaluate(summaries: Sequence[Summary]) -> list[GoalResult]:
    """Return a result for every goal whose case was measured on the product, with the baseline where it is needed."""
    by_case = {summary.case: summary for summary in summaries if summary.system == _SYSTEM}
    results = []
    for goal in _GOALS:
        summary = by_case.get(goal.case)
        found = None if summary is None else goal.figure(summary)
        if found is not None:
            met = found >= goal.limit if goal.at_least else found < goal.limit
            results.append(GoalResult(goal.text, goal.limit, found, goal.unit, met))
    return results
