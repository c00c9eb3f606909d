"""Random faults of every kind, after which nothing may be missing, paid twice or left without an end.

The test owns the whole system, a provider with its own log, and clients that record what they got. A seeded schedule
kills and freezes processes every few seconds; then everything is healed, and clients, provider and ledger have to agree.
"""

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.clients.steady_load import Request, SteadyLoad, client_outcomes
from tests.support.ledger.accounting import wait_until_accounted
from tests.support.providers.scripted_answers import Script
from tests.support.random_seed import random_seed
from tests.support.system.keyferry_system import KeyferrySystem
from tests.support.system.process_tree import descendants
from tests.support.system.scripted_system import MODEL, ScriptedSystem, running_scripted_system
from tests.support.waiting import until

KINDS = ("kill", "freeze")
DEADLINE_SECONDS = 20.0
"""The system's own deadline of a request: no client may wait much longer for its end."""
BETWEEN_FAULTS_SECONDS = (1.0, 5.0)
FREEZE_SECONDS = (1.0, 3.0)
HEALED_WITHIN_SECONDS = 120.0


@dataclass(frozen=True)
class Fault:
    """One line of the schedule."""

    after_seconds: float
    process: str
    kind: str
    freeze_seconds: float


def schedule(numbers: random.Random, processes: Sequence[str], seconds: float) -> Iterator[Fault]:
    """Yield faults of these processes, one after the other, for about so long."""
    left = seconds
    while left > 0:
        fault = Fault(
            after_seconds=numbers.uniform(*BETWEEN_FAULTS_SECONDS),
            process=numbers.choice(processes),
            kind=numbers.choice(KINDS),
            freeze_seconds=numbers.uniform(*FREEZE_SECONDS),
        )
        left -= fault.after_seconds + (fault.freeze_seconds if fault.kind == "freeze" else 0)
        yield fault


@dataclass
class FaultInjector:
    """Carries out a schedule. Touches only processes whose parent is the system's launcher."""

    system: KeyferrySystem
    done: Counter[str] = field(default_factory=Counter)
    _pause: threading.Event = field(default_factory=threading.Event)

    def carry_out(self, faults: Iterator[Fault]) -> None:
        for fault in faults:
            self._pause.wait(fault.after_seconds)
            pid = self.system.pid(fault.process)
            if pid not in descendants(self.system.launcher.pid):
                continue  # it is down already
            if fault.kind == "kill":
                os.kill(pid, signal.SIGKILL)
            else:
                self._freeze(pid, fault.freeze_seconds)
            self.done[f"{fault.kind} {fault.process}"] += 1

    def _freeze(self, pid: int, seconds: float) -> None:
        os.kill(pid, signal.SIGSTOP)
        try:
            self._pause.wait(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[ScriptedSystem]:
    with running_scripted_system(
        tmp_path / "home", {"KEYFERRY_REQUEST_DEADLINE_SECONDS": str(DEADLINE_SECONDS)}
    ) as running:
        yield running


def of_all_kinds(name: str, numbers: random.Random) -> Request:
    """Return a request: streamed or not, quick or slow; one client in ten hangs up somewhere."""
    word_count = numbers.randrange(1, 40)
    script = Script(name, word_count, pause_seconds=numbers.uniform(0, 2) / (word_count + 4))
    cut = numbers.randrange(1, 4000) if numbers.random() < 0.1 else None
    return Request(script, stream=numbers.random() < 0.7, cut_after_bytes=cut)


def unhandled(home: Path) -> list[str]:
    """Return what no part of the system has caught, from all logs: tracebacks, asyncio's reports and our own."""
    found = []
    for log in sorted((home / "log").glob("*.log")):
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith("Traceback (most recent call last)"):
                found.append(f"{log.name}: {line}")
            elif line.startswith("{") and _uncaught(json.loads(line)):
                found.append(f"{log.name}: {line[:2000]}")
    return found


def _uncaught(record: dict[str, object]) -> bool:
    return record.get("logger") == "asyncio" or record.get("message") in (
        "work failed",
        "a request failed",
        "an attempt failed",
    )


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("seconds", "rate_per_second"),
    [pytest.param(25.0, 20.0, id="short"), pytest.param(300.0, 40.0, id="long", marks=pytest.mark.long)],
)
def test_random_faults_lose_no_attempt_and_duplicate_none(
    scripted: ScriptedSystem, seconds: float, rate_per_second: float
) -> None:
    seed = random_seed()
    injector = FaultInjector(scripted.system)
    with SteadyLoad(scripted.clients, MODEL, "chaos", rate_per_second, of_all_kinds, seed) as load:
        until("the first answers", lambda: load.whole >= 20)
        injector.carry_out(schedule(random.Random(seed), sorted(scripted.system.state["processes"]), seconds))
        healed_at = time.monotonic()
        so_far = load.whole
        until("service is back", lambda: load.whole >= so_far + 100, HEALED_WITHIN_SECONDS)
        print(f"healed within {time.monotonic() - healed_at:.1f} s")
    outcomes = client_outcomes(load)
    print(f"{sum(injector.done.values())} faults: {dict(injector.done)}\n{len(load.sent)} requests: {dict(outcomes)}")
    attempts = wait_until_accounted(load.endings(), scripted.upstream, scripted.ledger, HEALED_WITHIN_SECONDS)
    print(f"attempts: {dict(Counter(attempt.outcome for made in attempts.values() for attempt in made))}")
    assert unhandled(scripted.system.home) == []
