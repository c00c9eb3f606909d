"""`python -m tests.bench`: runs the benchmark and prints what it found. Status 1 when anything went wrong."""

import argparse
import contextlib
import datetime
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench import (
    case,
    goals,
    machine,
    planning,
    product,
    propagation,
    report,
    strangers,
    summary,
    telemetry,
    tools,
    upstream,
)
from tests.bench.failure import BenchError
from tests.bench.figure import Figure
from tests.bench.keys import grants, lease, revocation, rotation
from tests.bench.keys.timing import Timing
from tests.bench.ledger import alert_ingest, alerts, backup, credit, ingest, statements, summaries, usage_view
from tests.bench.measure import Bench
from tests.bench.overload import cases
from tests.bench.overload.cases import OverloadResult
from tests.bench.spike import running as spike
from tests.bench.system import System

_REPOSITORY = Path(__file__).resolve().parents[2]
_SYSTEMS = ("direct", "spike", "product")
_QUICK_SECONDS = 2
(
    _LEASE,
    _GRANTS,
    _ROTATION,
    _REVOCATION,
    _PLANNING,
    _PROPAGATION,
    _STRANGERS,
    _OVERLOAD,
    _LEDGER_INGEST,
    _CREDIT,
    _VIEW,
    _ALERTS,
    _BACKUP,
    _TELEMETRY,
    _TRACE,
    _STATEMENT,
    *_SUMMARIES,
) = _TIMED = (
    "lease",
    "grants",
    "rotation",
    "revocation",
    "planning",
    "propagation",
    "strangers",
    "overload",
    "ledger-ingest",
    "ledger-credit",
    "ledger-usage-view",
    "ledger-alerts",
    "ledger-backup",
    "telemetry",
    "trace",
    statements.STATEMENT,
    *summaries.ATTEMPTS,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark the command line asks for; returns the exit status."""
    options = _options(arguments)
    # An end by SIGTERM unwinds like Ctrl-C, so that every started process is ended.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    try:
        found = _run(options)
        print(report.as_text(found))
        print(f"Written to {_store(options.output, found)}")
        if options.write_docs:
            report.write_docs(_REPOSITORY / "docs" / "benchmarks.md", found)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: stopped; every process it started has ended.", file=sys.stderr)
        return 130
    return 1 if found.problems else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--seconds", type=int, default=20, help="length of one load run (default 20)")
    parser.add_argument("--runs", type=int, default=5, help="rounds; figures are medians over them (default 5)")
    parser.add_argument("--quick", action="store_true", help=f"one round of {_QUICK_SECONDS} s, to see that it works")
    parser.add_argument("--only", default=",".join(_SYSTEMS), help="systems, comma-separated (default: all three)")
    parser.add_argument(
        "--cases",
        help=f"cases, comma-separated, such as plain-1,stream-64,first-token-1,{','.join(_TIMED)} (default: all)",
    )
    parser.add_argument(
        "--output", type=Path, default=_REPOSITORY / "build" / "bench", help="directory of the JSON file"
    )
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/benchmarks.md")
    options = parser.parse_args(arguments)
    if options.quick:
        options.runs, options.seconds = 1, _QUICK_SECONDS
    if options.runs < 1 or options.seconds < 1:
        parser.error("--runs and --seconds are at least 1")
    return options


def _run(options: argparse.Namespace) -> report.Report:
    chosen, timed = _chosen(options.cases)
    names = options.only.split(",")
    if unknown := set(names) - set(_SYSTEMS):
        raise BenchError(f"Unknown system {', '.join(sorted(unknown))}. Choose from: {', '.join(_SYSTEMS)}.")
    nginx, wrk = tools.find("nginx"), tools.find("wrk")
    described = machine.describe(nginx, wrk, datetime.datetime.now(datetime.UTC))
    overloads = _overload(options.seconds, options.quick) if _OVERLOAD in timed else OverloadResult([], [])
    figures = _ledger(quick=options.quick) if _LEDGER_INGEST in timed else []
    figures += _credit(wrk, options.seconds) if _CREDIT in timed else []
    figures += _view(options.seconds, quick=options.quick) if _VIEW in timed else []
    figures += _alerts(quick=options.quick) if _ALERTS in timed else []
    figures += _backup(quick=options.quick) if _BACKUP in timed else []
    if _TELEMETRY in timed:
        figures += _telemetry(wrk, options.seconds, options.runs)
    timings = [
        one
        for name in timed
        if name not in (_OVERLOAD, _LEDGER_INGEST, _CREDIT, _VIEW, _ALERTS, _BACKUP, _TELEMETRY)
        for one in _time(name, options.seconds)
    ]
    with contextlib.ExitStack() as stack:
        systems = _start(names, nginx, stack) if chosen else []
        bench = Bench(wrk, systems, options.seconds)
        bench.warm_up(chosen)
        for number in range(1, options.runs + 1):
            for one in chosen:
                print(f"round {number} of {options.runs}: {one}", file=sys.stderr, flush=True)
                bench.round(one, number)
    summaries = summary.summarize(bench.measurements)
    summaries.sort(key=lambda one: (chosen.index(one.case), _SYSTEMS.index(one.system)))
    goal_results = [
        *goals.evaluate(summaries),
        *goals.evaluate_timings(timings),
        *goals.evaluate_figures([*overloads.figures, *figures]),
    ]
    return report.Report(
        described,
        options.seconds,
        options.runs,
        bench.measurements,
        summaries,
        goal_results,
        bench.problems,
        timings,
        overloads.rows,
    )


def _chosen(names: str | None) -> tuple[tuple[case.Case, ...], list[str]]:
    """Return the selected loads and timings."""
    if names is None:
        return case.ALL_CASES, [*_TIMED]
    timed = [name for name in names.split(",") if name in _TIMED]
    loads = [name for name in names.split(",") if name not in timed]
    return case.cases_named(",".join(loads)) if loads else (), timed


@contextlib.contextmanager
def _directory(name: str) -> Iterator[Path]:
    """Say what is measured, and lend it a directory whose path other users may pass: PostgreSQL runs as one of them."""
    print(name, file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="keyferry-bench-") as directory:
        Path(directory).chmod(0o711)
        yield Path(directory)


def _time(name: str, seconds: int) -> list[Timing]:
    with _directory(name) as directory:
        if name == _PLANNING:
            return planning.measure()
        if name in _SUMMARIES:
            return summaries.measure(name, directory)
        if name == _STATEMENT:
            return statements.measure(name, directory)
        if name == _TRACE:
            return telemetry.time_traces(directory)
        if name == _PROPAGATION:
            return propagation.measure(directory)
        if name == _GRANTS:
            return grants.measure()
        if name == _STRANGERS:
            return strangers.measure(directory)
        if name == _LEASE:
            return lease.measure(directory, seconds)
        return rotation.measure(directory) if name == _ROTATION else revocation.measure(directory)


def _overload(seconds: int, quick: bool) -> OverloadResult:
    with _directory(_OVERLOAD) as directory:
        return cases.measure(directory, seconds, quick=quick)


def _ledger(*, quick: bool) -> list[Figure]:
    with _directory(_LEDGER_INGEST) as directory:
        return ingest.measure(directory, quick=quick)


def _credit(wrk: str, seconds: int) -> list[Figure]:
    with _directory(_CREDIT) as directory:
        return credit.measure(wrk, directory, seconds)


def _view(seconds: int, *, quick: bool) -> list[Figure]:
    with _directory(_VIEW) as directory:
        return usage_view.measure(directory, seconds, quick=quick)


def _backup(*, quick: bool) -> list[Figure]:
    with _directory(_BACKUP) as directory:
        return backup.measure(directory, quick=quick)


def _telemetry(wrk: str, seconds: int, rounds: int) -> list[Figure]:
    with _directory(_TELEMETRY) as directory:
        return telemetry.measure(wrk, directory, seconds, rounds)


def _alerts(*, quick: bool) -> list[Figure]:
    with _directory(_ALERTS) as directory:
        return [*alerts.measure(directory), alert_ingest.measure(directory, quick=quick)]


def _start(names: Sequence[str], nginx: str, stack: contextlib.ExitStack) -> list[System]:
    root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keyferry-bench-")))
    directories = {name: root / name for name in _SYSTEMS}
    for directory in directories.values():
        directory.mkdir()
    root.chmod(0o755)
    origin = stack.enter_context(upstream.running(nginx, directories["direct"]))
    systems: list[System] = [origin] if "direct" in names else []
    if "spike" in names:
        systems.append(stack.enter_context(spike.running(directories["spike"], origin.root_url, origin.pid)))
    if "product" in names:
        systems.append(stack.enter_context(product.running(directories["product"] / "home", origin)))
    return systems


def _store(directory: Path, found: report.Report) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{found.machine.started_at.replace(':', '').replace('+0000', 'Z')}.json"
    path.write_text(report.as_json(found))
    return path


if __name__ == "__main__":
    sys.exit(main())
