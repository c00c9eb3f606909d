"""The loads: one provider hangs, one tenant floods, everybody wants three times what there is, a provider only fails."""

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.failure import BenchError
from tests.bench.figure import Figure
from tests.bench.overload import FAILING, FLOOD, GOODPUT, HANG, RECOVERY, REFUSAL
from tests.bench.overload.measured_system import PLACES, MeasuredSystem, running
from tests.bench.overload.offered_load import RequestStream, StreamLoad, offer, one_after_the_other, rank_ms, together
from tests.bench.overload.upstream_process import ANSWER, HANGS, SERVICE_SECONDS, UNAVAILABLE
from tests.bench.system import Target

_CAPACITY_PER_SECOND = PLACES / SERVICE_SECONDS
_PROVIDER_SHARE = 0.4
"""Of the places, by default."""
_OVERLOAD_SECONDS = 120
_RECOVERY_SECONDS = 20
_LEAST_ANSWERS = 100
"""With fewer the 99th percentile is just the slowest one."""
_LEAST_SECONDS = 13
"""So long takes a hundred requests of the smallest load."""
_ROUNDS = 3
_READY_SECONDS = 30.0


@dataclass(frozen=True)
class OverloadRow:
    """What one kind of requests got in one phase; durations are milliseconds."""

    name: str
    offered_per_second: float
    answered_per_second: float
    refused_per_second: float
    failed: int
    answered_p50_ms: float
    answered_p99_ms: float
    refused_p99_ms: float


@dataclass(frozen=True)
class OverloadResult:
    """Rows and figures of one case."""

    rows: list[OverloadRow]
    figures: list[Figure]


def measure(directory: Path, seconds: int, *, quick: bool) -> OverloadResult:
    """Run all cases on one system, each phase for `seconds`; the overload takes two minutes, unless it is `quick`.

    Raises:
        BenchError: the system did not start, or too few requests were answered for a percentile.
    """
    rows: list[OverloadRow] = []
    figures: list[Figure] = []
    cases: tuple[Callable[[MeasuredSystem, int, bool], OverloadResult], ...] = (_hang, _flood, _overload, _failing)
    with running(directory) as system:
        for case in cases:
            result = case(system, max(seconds, _LEAST_SECONDS), quick)
            rows += result.rows
            figures += result.figures
    return OverloadResult(rows, figures)


def _hang(system: MeasuredSystem, seconds: int, quick: bool) -> OverloadResult:
    """One tenant has four providers; the one with 70 % of its requests hangs, and answers are waited for without end."""
    total = _CAPACITY_PER_SECOND * 0.4
    shares = {"p0": 0.7, "p1": 0.1, "p2": 0.1, "p3": 0.1}
    targets = {name: system.target("hang", name) for name in shares}
    others = ("p1", "p2", "p3")

    def phase(hanging: bool) -> StreamLoad:
        streams = [
            RequestStream(name, targets[name], total * share, unanswered=hanging and name == "p0")
            for name, share in shares.items()
        ]
        loads = offer(streams, seconds)
        return together([loads[name] for name in others], f"others, p0 {'hangs' if hanging else 'answers'}")

    def measured() -> tuple[StreamLoad, StreamLoad]:
        before = phase(hanging=False)
        system.set_mode("p0", HANGS)
        try:
            return before, phase(hanging=True)
        finally:
            system.set_mode("p0", ANSWER)

    _wait_until_answered(list(targets.values()))
    return _compared(HANG, measured, quick)


def _flood(system: MeasuredSystem, seconds: int, quick: bool) -> OverloadResult:
    """A calm tenant has a provider to itself; then another, with the same platform key, offers three times what it may take."""
    calm, flood = system.shared_target("calm"), system.shared_target("flood")
    _wait_until_answered([calm, flood])
    quiet = RequestStream("calm alone", calm, _CAPACITY_PER_SECOND / 20)
    beside = RequestStream("calm beside a flood", calm, _CAPACITY_PER_SECOND / 20)
    flooding = RequestStream("the flood", flood, 3 * _PROVIDER_SHARE * _CAPACITY_PER_SECOND)

    def measured() -> tuple[StreamLoad, StreamLoad, StreamLoad]:
        alone = offer([quiet], seconds)[quiet.name]
        loads = offer([beside, flooding], seconds)
        return alone, loads[beside.name], loads[flooding.name]

    return _compared(FLOOD, measured, quick)


def _overload(system: MeasuredSystem, seconds: int, quick: bool) -> OverloadResult:
    """Four tenants offer all of the capacity, then three times that, then half of it."""
    tenants = [f"busy-{number}" for number in range(4)]
    targets = [system.target(tenant, "own") for tenant in tenants]
    _wait_until_answered(targets)

    def phase(factor: float, length: float) -> StreamLoad:
        rate = _CAPACITY_PER_SECOND * factor / len(tenants)
        streams = [RequestStream(*one, rate) for one in zip(tenants, targets, strict=True)]
        return together(list(offer(streams, length).values()), f"{factor:g} of the capacity")

    peak = phase(1, seconds)
    over = phase(3, seconds if quick else _OVERLOAD_SECONDS)
    after = phase(0.5, seconds if quick else _RECOVERY_SECONDS)
    goodput = (len(over.answered) / over.seconds) / (len(peak.answered) / peak.seconds)
    figures = [
        Figure(GOODPUT, goodput * 100),
        Figure(REFUSAL, rank_ms(over.refused, 99)),
        Figure(RECOVERY, recovery_seconds(after)),
    ]
    return OverloadResult([row(peak), row(over), row(after)], figures)


def _failing(system: MeasuredSystem, seconds: int, quick: bool) -> OverloadResult:
    """A provider answers 503 to everything, under a steady load."""
    target = system.target("unlucky", "failing")
    _wait_until_answered([target])
    system.set_mode("failing", UNAVAILABLE)
    calls = system.calls("failing")
    stream = RequestStream("a provider only fails", target, _CAPACITY_PER_SECOND / 4)
    load = offer([stream], seconds)[stream.name]
    ratio = (system.calls("failing") - calls) / len(load.exchanges)
    system.set_mode("failing", ANSWER)
    return OverloadResult([row(load)], [Figure(FAILING, ratio)])


def _compared(name: str, measured: Callable[[], tuple[StreamLoad, ...]], quick: bool) -> OverloadResult:
    """Measure in rounds, so that both sides have the same neighbours. The figure is the median of their ratios.

    `measured` returns the baseline first, then what is compared with it, then whatever else is of interest.
    """
    rounds = [measured() for _ in range(1 if quick else _ROUNDS)]
    ratio = statistics.median(p99_ratio(loads[1], loads[0]) for loads in rounds)
    rows = [row(one_after_the_other(loads)) for loads in zip(*rounds, strict=True)]
    return OverloadResult(rows, [Figure(name, ratio)])


def recovery_seconds(load: StreamLoad) -> float:
    """Return the first whole second after which 99 % of those of a second were answered; the length of the load if none."""
    by_second = {
        second: list(group)
        for second, group in itertools.groupby(
            sorted(load.exchanges, key=lambda one: one.sent_at), lambda one: int(one.sent_at)
        )
    }
    for second, exchanges in by_second.items():
        if sum(one.status == 200 for one in exchanges) >= 0.99 * len(exchanges):
            return float(second)
    return load.seconds


def p99_ratio(load: StreamLoad, baseline: StreamLoad) -> float:
    for one in (load, baseline):
        if len(one.answered) < max(_LEAST_ANSWERS, 0.99 * len(one.exchanges)):
            raise BenchError(
                f"{one.name}: {len(one.answered)} of {len(one.exchanges)} requests were answered, too few for a p99;"
                f" {len(one.refused)} were refused, {one.failed} failed: {next((x.body for x in one.exchanges if x.body), b'')!r}"
            )
    return rank_ms(load.answered, 99) / rank_ms(baseline.answered, 99)


def row(load: StreamLoad) -> OverloadRow:
    return OverloadRow(
        load.name,
        len(load.exchanges) / load.seconds,
        len(load.answered) / load.seconds,
        len(load.refused) / load.seconds,
        load.failed,
        rank_ms(load.answered, 50),
        rank_ms(load.answered, 99),
        rank_ms(load.refused, 99),
    )


def _wait_until_answered(targets: Sequence[Target]) -> None:
    """Wait until every target answers: the views follow the command line with a delay."""
    give_up_at = time.monotonic() + _READY_SECONDS
    streams = [RequestStream(str(number), target, 5) for number, target in enumerate(targets)]
    while time.monotonic() < give_up_at:
        loads = offer(streams, 1)
        if all(load.answered and len(load.answered) == len(load.exchanges) for load in loads.values()):
            return
    raise BenchError(f"The system does not answer all of {len(targets)} endpoints. See the logs in its home.")
