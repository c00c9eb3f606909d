"""The supervisor with real processes: gating, crashes, restarts, stops, and what a killed one leaves behind."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.embedded.child import StartFailed
from deploy.embedded.seat import Handover, Patience, Placement
from deploy.embedded.supervisor import Supervisor, UnknownService
from tests.support.family import alive, descendants
from tests.support.supervised import ROOT, STEADY, placement
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(60)

Say = list[str]


@pytest.fixture
def said() -> Say:
    return []


@pytest.fixture
async def supervisor(tmp_path: Path, said: Say) -> AsyncIterator[Supervisor]:
    patience = Patience(ready_seconds=20, drain_seconds=10)
    async with Supervisor(log_dir=tmp_path / "log", run_dir=tmp_path, patience=patience, say=said.append) as made:
        yield made


async def _eventually(what: str, condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the condition is another process's
            await asyncio.sleep(0.01)


def _pid(supervisor: Supervisor, name: str) -> int:
    return next(seat["pid"] for seat in supervisor.status() if seat["name"] == name)


def _states(supervisor: Supervisor) -> dict[str, str]:
    return {seat["name"]: seat["state"] for seat in supervisor.status()}


def _waiting_for(file: Path) -> str:
    """A child that is ready only once `file` exists."""
    return f"import pathlib, time\nwhile not pathlib.Path({str(file)!r}).exists(): time.sleep(0.01)\n{STEADY}"


async def test_a_service_starts_only_when_those_before_it_are_ready(supervisor: Supervisor, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    starting = asyncio.create_task(
        supervisor.start([placement("second", after=("first",)), placement("first", _waiting_for(gate))])
    )
    await _eventually("first runs", lambda: _states(supervisor).get("first") == "starting")
    assert "second" not in _states(supervisor)
    gate.touch()
    await starting
    assert _states(supervisor) == {"second": "ready", "first": "ready"}


async def test_a_probe_tells_for_a_server_that_does_not(supervisor: Supervisor, tmp_path: Path) -> None:
    async def answers() -> bool:
        return (tmp_path / "open").exists()

    silent = "import signal\nwhile True: signal.pause()"
    starting = asyncio.create_task(supervisor.start([placement("server", silent, probe=answers)]))
    await _eventually("it runs", lambda: _states(supervisor) == {"server": "starting"})
    (tmp_path / "open").touch()
    await starting
    assert _states(supervisor) == {"server": "ready"}


async def test_what_ends_before_it_is_ready_shows_its_last_words(supervisor: Supervisor) -> None:
    code = "import sys; print('no such setting', file=sys.stderr); sys.exit(78)"
    with pytest.raises(StartFailed, match=r"broken ended with status 78 at its start:\nno such setting"):
        await supervisor.start([placement("fine"), placement("broken", code)])


async def test_what_never_becomes_ready_is_killed(tmp_path: Path) -> None:
    patience = Patience(ready_seconds=0.3)
    async with Supervisor(log_dir=tmp_path, run_dir=tmp_path, patience=patience, say=lambda _: None) as supervisor:
        with pytest.raises(StartFailed, match=r"slow is not ready after 0\.3 s"):
            await supervisor.start([placement("slow", "import signal\nwhile True: signal.pause()")])
        assert not alive(_pid(supervisor, "slow"))


async def test_a_crash_is_started_again(supervisor: Supervisor, said: Say, tmp_path: Path) -> None:
    await supervisor.start([placement("steady")])
    before = _pid(supervisor, "steady")
    os.kill(before, signal.SIGKILL)
    await _eventually("a new process", lambda: _pid(supervisor, "steady") not in (0, before))
    await _eventually("it is ready", lambda: _states(supervisor)["steady"] == "ready")
    assert supervisor.status()[0]["restarts"] == 1
    assert said[:2] == [f"steady: pid {before} ended with SIGKILL", "steady: starting again in 0.4 s"]
    assert (tmp_path / "log" / "steady.log").read_text().count("up\n") == 2


async def test_each_crash_in_a_row_waits_longer(supervisor: Supervisor, said: Say, tmp_path: Path) -> None:
    once = tmp_path / "once"
    code = f"import pathlib, sys\np = pathlib.Path({str(once)!r})\nif p.exists(): sys.exit(3)\np.touch()\n{STEADY}"
    await supervisor.start([placement("loops", code)])
    os.kill(_pid(supervisor, "loops"), signal.SIGKILL)
    await _eventually("three pauses", lambda: len([line for line in said if "again in" in line]) == 3)
    pauses = [line.rpartition(" in ")[2] for line in said if "again in" in line]
    assert pauses == ["0.4 s", "0.8 s", "1.6 s"]
    assert "loops ended with status 3 at its start:" in said


async def test_a_restart_hurries_what_is_down(supervisor: Supervisor, said: Say, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    code = f"import pathlib, sys\nif pathlib.Path({str(broken)!r}).exists(): sys.exit(3)\n{STEADY}"
    await supervisor.start([placement("healed", code)])
    broken.touch()
    os.kill(_pid(supervisor, "healed"), signal.SIGKILL)
    await _eventually("a long pause", lambda: any("again in 3.2 s" in line for line in said))
    broken.unlink()
    await supervisor.restart("healed", said.append)
    assert _states(supervisor) == {"healed": "ready"}


async def test_the_successor_is_ready_before_the_old_one_drains(
    supervisor: Supervisor, said: Say, tmp_path: Path
) -> None:
    await supervisor.start([placement("plain")])
    before = _pid(supervisor, "plain")
    progress: Say = []
    await supervisor.restart("plain", progress.append)
    after = _pid(supervisor, "plain")
    assert progress == [
        "plain: starting the next process",
        f"plain: pid {after} is ready",
        f"plain: pid {before} drains",
    ]
    assert not alive(before)
    assert (tmp_path / "log" / "plain.log").read_text() == "up\nup\ndrained\n"
    os.kill(after, signal.SIGKILL)
    await _eventually("the successor is kept alive too", lambda: _pid(supervisor, "plain") not in (0, after))


async def test_a_successor_that_fails_leaves_the_old_one_in_place(supervisor: Supervisor, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    code = f"import pathlib, sys\nif pathlib.Path({str(broken)!r}).exists(): sys.exit(3)\n{STEADY}"
    await supervisor.start([placement("plain", code)])
    before = _pid(supervisor, "plain")
    broken.touch()
    with pytest.raises(StartFailed, match="plain ended with status 3"):
        await supervisor.restart("plain", lambda _: None)
    assert _pid(supervisor, "plain") == before
    assert _states(supervisor) == {"plain": "ready"}


async def test_slots_that_own_something_drain_first_one_after_the_other(supervisor: Supervisor) -> None:
    slots: list[Placement] = [
        replace(placement("worker", slot=slot, replicated=True), handover=Handover.DRAIN_FIRST) for slot in (1, 2)
    ]
    await supervisor.start(slots)
    old = [_pid(supervisor, "worker-1"), _pid(supervisor, "worker-2")]
    progress: Say = []
    await supervisor.restart("worker", progress.append)
    new = [_pid(supervisor, "worker-1"), _pid(supervisor, "worker-2")]
    assert progress == [
        f"worker-1: pid {old[0]} drains",
        "worker-1: starting the next process",
        f"worker-1: pid {new[0]} is ready",
        f"worker-2: pid {old[1]} drains",
        "worker-2: starting the next process",
        f"worker-2: pid {new[1]} is ready",
    ]
    assert not any(alive(pid) for pid in old)


async def test_one_slot_can_be_restarted_by_its_name(supervisor: Supervisor) -> None:
    await supervisor.start([placement("provider_worker", slot=slot, replicated=True) for slot in (1, 2)])
    first, second = _pid(supervisor, "provider_worker-1"), _pid(supervisor, "provider_worker-2")
    await supervisor.restart("provider-worker-2", lambda _: None)
    assert _pid(supervisor, "provider_worker-1") == first
    assert _pid(supervisor, "provider_worker-2") != second


async def test_an_unknown_service_is_told_the_known_ones(supervisor: Supervisor) -> None:
    await supervisor.start([placement("router"), placement("ingress")])
    with pytest.raises(UnknownService, match=r"'rooter'.*router, ingress"):
        await supervisor.restart("rooter", lambda _: None)


async def test_a_stop_goes_in_reverse_and_waits_for_each(supervisor: Supervisor, said: Say) -> None:
    await supervisor.start([placement("first"), placement("second", after=("first",)), placement("third")])
    pids = {seat["name"]: seat["pid"] for seat in supervisor.status()}
    await supervisor.stop()
    assert said == [f"{name}: pid {pids[name]} drains" for name in ("third", "second", "first")]
    assert not any(alive(pid) for pid in pids.values())


async def test_what_does_not_drain_in_time_is_killed(tmp_path: Path, said: Say) -> None:
    stubborn = STEADY.replace("sys.exit(0)", "None")
    patience = Patience(drain_seconds=0.2)
    async with Supervisor(log_dir=tmp_path, run_dir=tmp_path, patience=patience, say=said.append) as supervisor:
        await supervisor.start([placement("stubborn", stubborn)])
        pid = _pid(supervisor, "stubborn")
    assert said[-1] == f"stubborn: pid {pid} was killed, as it still ran after 0.2 s"
    assert not alive(pid)


async def test_a_cut_does_not_wait(supervisor: Supervisor, tmp_path: Path) -> None:
    stubborn = STEADY.replace("sys.exit(0)", "None")
    await supervisor.start(
        [
            replace(placement("server"), cut_seconds=10),
            placement("next", stubborn),
            placement("stubborn", stubborn),
        ]
    )
    stopping = asyncio.create_task(supervisor.stop())
    log = tmp_path / "log"
    await _eventually("it was asked to drain", lambda: "drained" in (log / "stubborn.log").read_text())
    supervisor.cut()
    async with asyncio.timeout(9):
        await stopping
    assert "drained" in (log / "server.log").read_text(), "what holds data stops cleanly all the same"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_dead_supervisor_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen([sys.executable, "-m", "tests.support.supervised", tmp_path], cwd=ROOT)
    try:
        until("all are ready", (tmp_path / "ready").exists)
        family = descendants(process.pid)
        assert family > {int(pid) for pid in (tmp_path / "pids").read_text().split()}
        assert len(family) == 4, "three children, one of them with a child of its own"
    finally:
        process.send_signal(number)
        process.wait()
    until("all are gone", lambda: not any(alive(pid) for pid in family))
