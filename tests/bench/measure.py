"""Measures running systems in turn: one load run between two readings of processor time, then the account."""

import dataclasses
import time
from collections.abc import Sequence

from tests.bench import first_token, load, processes
from tests.bench.case import Case, Kind
from tests.bench.system import System

_ACCOUNT_TIMEOUT_SECONDS = 30.0
_ACCOUNT_POLL_SECONDS = 0.1
_WARM_UP_SECONDS = 1


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One system under one case in one round.

    Attributes:
        cpu_us_per_request: process name to processor time in microseconds, per right answer.
        memory_bytes: process name to proportional set size right after the load.
    """

    system: str
    case: Case
    round: int
    load: load.Load
    cpu_us_per_request: dict[str, float]
    memory_bytes: dict[str, int]


class Bench:
    """A benchmark in progress: what was measured, and what went wrong on the way."""

    def __init__(self, wrk: str, systems: Sequence[System], seconds: int) -> None:
        self._wrk = wrk
        self._systems = systems
        self._seconds = seconds
        self._expected_records = {system.name: system.accounted() or 0 for system in systems}
        self.measurements: list[Measurement] = []
        self.problems: list[str] = []

    def warm_up(self, cases: Sequence[Case]) -> None:
        """Send one second of each kind of load to each system; its answers are accounted, its figures dropped."""
        for case in {case.kind: case for case in cases}.values():
            for system in self._systems:
                self._check(system, case, self._load(system, case, _WARM_UP_SECONDS))

    def round(self, case: Case, number: int) -> None:
        """Measure every system once under one case, one after the other, so that the figures share a moment."""
        for system in self._systems:
            named = dict(system.processes())
            before_us = processes.cpu_us(named)
            seen = self._load(system, case, self._seconds)
            # The account is part of the work, so its processor time is read only when every record is in.
            self._check(system, case, seen)
            after_us = processes.cpu_us(named)
            cpu_us = {name: (after_us[name] - before_us[name]) / max(seen.ok, 1) for name in named}
            memory_bytes = processes.memory_bytes(named)
            self.measurements.append(Measurement(system.name, case, number, seen, cpu_us, memory_bytes))

    def _load(self, system: System, case: Case, seconds: int) -> load.Load:
        target = system.target(case.kind)
        if case.kind is Kind.FIRST_TOKEN:
            return first_token.run(target, seconds)
        return load.run(self._wrk, target, case, seconds)

    def _check(self, system: System, case: Case, seen: load.Load) -> None:
        if seen.errors or not seen.ok:
            self.problems.append(f"{system.name} {case}: {seen.errors} errors beside {seen.ok} right answers")
        expected = self._expected_records[system.name] + seen.ok
        found = _settled_count(system, expected)
        if found is None:
            return
        if found != expected:
            self.problems.append(
                f"{system.name} {case}: {found - expected:+} accounted requests, against {seen.ok} answers"
            )
        self._expected_records[system.name] = found


def _settled_count(system: System, expected: int) -> int | None:
    """Return the system's count once it is `expected` or more, or 30 s have passed."""
    deadline = time.monotonic() + _ACCOUNT_TIMEOUT_SECONDS
    while True:
        found = system.accounted()
        if found is None or found >= expected or time.monotonic() > deadline:
            return found
        time.sleep(_ACCOUNT_POLL_SECONDS)
