"""Reports a run: tables of plain text, a JSON document, and the marked part of `docs/benchmarks.md`."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from tests.bench.failure import BenchError
from tests.bench.goals import GoalResult
from tests.bench.keys.timing import Timing
from tests.bench.machine import Machine
from tests.bench.measure import Measurement
from tests.bench.overload.cases import OverloadRow
from tests.bench.summary import Comparison, Summary

BEGIN = "<!-- bench:begin -->"
END = "<!-- bench:end -->"
_BYTES_PER_MB = 1_000_000


@dataclasses.dataclass(frozen=True)
class Report:
    """Everything one run of the benchmark found.

    Attributes:
        seconds: length of one load run.
        rounds: how often each case was measured on each system.
        problems: errors and accounts that do not add up; none in a run that counts.
        timings: what was timed by itself, apart from the loads.
        overload: what each kind of requests got in the overload cases.
    """

    machine: Machine
    seconds: int
    rounds: int
    measurements: list[Measurement]
    summaries: list[Summary]
    goal_results: list[GoalResult]
    problems: list[str]
    timings: list[Timing] = dataclasses.field(default_factory=list)
    overload: list[OverloadRow] = dataclasses.field(default_factory=list)


def as_text(report: Report) -> str:
    """Return the whole report as aligned plain text."""
    parts = [_machine_text(report)]
    if report.summaries:
        parts += [_speed_table(report.summaries), _cpu_table(report.summaries), _memory_table(report.summaries)]
    if report.timings:
        parts.append(_timing_table(report.timings))
    if report.overload:
        parts.append(_overload_table(report.overload))
    if report.goal_results:
        parts.append(_goal_table(report.goal_results))
    if report.problems:
        parts.append("PROBLEMS: these figures do not count.\n" + "\n".join(f"  {line}" for line in report.problems))
    return "\n\n".join(parts) + "\n"


def as_json(report: Report) -> str:
    """Return the whole report, single measurements included, as JSON; every key names its unit."""
    return json.dumps(dataclasses.asdict(report), indent=2) + "\n"


def write_docs(document: Path, report: Report) -> None:
    """Put the report between the two markers of a Markdown file.

    Raises:
        BenchError: the file has not exactly one of each marker, or the run had problems and must not be published.
    """
    if report.problems:
        raise BenchError(f"{document.name} is unchanged: a run with problems is not published.")
    document.write_text(between_markers(document.read_text(), f"```text\n{as_text(report)}```"))


def between_markers(document: str, content: str) -> str:
    """Return the document with everything between its markers replaced by the content.

    Raises:
        BenchError: the markers are not there once each, in order.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in before + after:
        raise BenchError(f"The document needs one line {BEGIN} and below it one line {END}.")
    return f"{before}{BEGIN}\n{content}\n{END}{after}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest cell: the first to the left, the others to the right."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]

    def padded(line: Sequence[str]) -> str:
        cells = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        return "  ".join([line[0].ljust(widths[0]), *cells]).rstrip()

    return "\n".join([padded(header), "  ".join("-" * width for width in widths), *(padded(row) for row in rows)])


def _machine_text(report: Report) -> str:
    machine = report.machine
    versions = ", ".join(f"{name} {version}" for name, version in sorted(machine.versions.items()))
    return "\n".join(
        [
            f"commit {machine.commit}, started {machine.started_at}",
            f"{machine.cpu_model}, {machine.cores} cores, {machine.memory_bytes / 1e9:.0f} GB",
            f"Linux {machine.kernel}, Python {machine.python}, load before the run {machine.load_average:.2f}",
            versions,
            f"medians of {report.rounds} x {report.seconds} s; ratios formed within a round",
        ]
    )


def _speed_table(summaries: Sequence[Summary]) -> str:
    header = ["case system", "per s", "lowest", "highest", "p50 ms", "p90 ms", "p99 ms", "errors"]
    header += ["/direct", "/spike", "added p50 ms", "added p99 ms"]
    rows = []
    for one in summaries:
        direct, spike = one.against.get("direct"), one.against.get("spike")
        shown_spike = None if one.system == "direct" else spike
        rows.append(
            [
                f"{one.case} {one.system}",
                *(f"{rate:.0f}" for rate in (one.per_second, one.per_second_low, one.per_second_high)),
                *(f"{latency_us / 1000:.3f}" for latency_us in (one.p50_us, one.p90_us, one.p99_us)),
                str(one.errors),
                _rate_ratio(direct),
                _rate_ratio(shown_spike),
                "-" if direct is None else f"{direct.added_p50_us / 1000:.3f}",
                "-" if direct is None else f"{direct.added_p99_us / 1000:.3f}",
            ]
        )
    return table(header, rows)


def _rate_ratio(comparison: Comparison | None) -> str:
    return "-" if comparison is None else f"{comparison.per_second_ratio:.3f}"


def _cpu_table(summaries: Sequence[Summary]) -> str:
    header = ["processor time, µs per request", "all but the client", "client", "by process"]
    return _left_last(
        header,
        [
            [
                f"{one.case} {one.system}",
                f"{sum(one.cpu_us_per_request.values()):.0f}",
                f"{one.client_cpu_us_per_request:.0f}",
                ", ".join(f"{name} {cpu_us:.0f}" for name, cpu_us in sorted(one.cpu_us_per_request.items())),
            ]
            for one in summaries
        ],
    )


def _memory_table(summaries: Sequence[Summary]) -> str:
    largest: dict[str, dict[str, int]] = {}
    for one in summaries:
        seen = largest.setdefault(one.system, {})
        for name, size_bytes in one.memory_bytes.items():
            seen[name] = max(seen.get(name, 0), size_bytes)
    header = ["memory (proportional), MB, largest median", "all", "by process"]
    rows = []
    for system, sizes in largest.items():
        by_process = ", ".join(f"{name} {size / _BYTES_PER_MB:.0f}" for name, size in sorted(sizes.items()))
        rows.append([system, f"{sum(sizes.values()) / _BYTES_PER_MB:.0f}", by_process])
    return _left_last(header, rows)


def _timing_table(timings: Sequence[Timing]) -> str:
    header = ["timed by itself", "samples", "per s", "p50 µs", "p90 µs", "p99 µs"]
    rows = [
        [
            one.name,
            str(one.samples),
            f"{one.per_second:.0f}",
            *(f"{us:.1f}" for us in (one.p50_us, one.p90_us, one.p99_us)),
        ]
        for one in timings
    ]
    return table(header, rows)


def _overload_table(rows: Sequence[OverloadRow]) -> str:
    header = ["overload", "offered /s", "answered /s", "refused /s", "failed", "p50 ms", "p99 ms", "refused p99 ms"]
    return table(
        header,
        [
            [
                one.name,
                *(f"{rate:.1f}" for rate in (one.offered_per_second, one.answered_per_second, one.refused_per_second)),
                str(one.failed),
                *(f"{ms:.1f}" for ms in (one.answered_p50_ms, one.answered_p99_ms, one.refused_p99_ms)),
            ]
            for one in rows
        ],
    )


def _goal_table(goal_results: Sequence[GoalResult]) -> str:
    rows = [
        [result.goal, f"{result.limit:g} {result.unit}", f"{result.found:.2f} {result.unit}", _met(result)]
        for result in goal_results
    ]
    return table(["goal", "limit", "found", ""], rows)


def _met(result: GoalResult) -> str:
    return "met" if result.met else "MISSED"


def _left_last(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose last column is prose, aligned left."""
    width = max(len(line[-1]) for line in [header, *rows])
    return table([*header[:-1], header[-1].ljust(width)], [[*row[:-1], row[-1].ljust(width)] for row in rows])
