"""The supervisor with real processes: start order, crashes, restarts, stops, and the end of a killed supervisor."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.embedded.errors import StartFailed, UnknownService
from deploy.embedded.managed_process import ProcessConfig, ProcessTimeouts, RestartOrder
from deploy.embedded.supervisor import Supervisor
from tests.support.repository.files import ROOT
from tests.support.system.process_tree import alive, descendants
from tests.support.system.supervisor_process import STEADY, make_config
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(60)

Log = list[str]


@pytest.fixture
def log_lines() -> Log:
    return []


@pytest.fixture
async def supervisor(tmp_path: Path, log_lines: Log) -> AsyncIterator[Supervisor]:
    timeouts = ProcessTimeouts(ready_seconds=20, drain_seconds=10)
    async with Supervisor(log_dir=tmp_path / "log", run_dir=tmp_path, timeouts=timeouts, log=log_lines.append) as made:
        yield made


async def _eventually(what: str, condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the condition is another process's
            await asyncio.sleep(0.01)


def _pid(supervisor: Supervisor, name: str) -> int:
    return next(process["pid"] for process in supervisor.status() if process["name"] == name)


def _states(supervisor: Supervisor) -> dict[str, str]:
    return {process["name"]: process["state"] for process in supervisor.status()}


def _waiting_for(file: Path) -> str:
    """A child that is ready only once `file` exists."""
    return f"import pathlib, time\nwhile not pathlib.Path({str(file)!r}).exists(): time.sleep(0.01)\n{STEADY}"


async def test_a_service_starts_only_after_its_dependencies_are_ready(supervisor: Supervisor, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    starting = asyncio.create_task(
        supervisor.start([make_config("second", after=("first",)), make_config("first", _waiting_for(gate))])
    )
    await _eventually("first runs", lambda: _states(supervisor).get("first") == "starting")
    assert "second" not in _states(supervisor)
    gate.touch()
    await starting
    assert _states(supervisor) == {"second": "ready", "first": "ready"}


async def test_a_probe_decides_readiness_for_a_server_without_sd_notify(supervisor: Supervisor, tmp_path: Path) -> None:
    async def answers() -> bool:
        return (tmp_path / "open").exists()

    silent = "import signal\nwhile True: signal.pause()"
    starting = asyncio.create_task(supervisor.start([make_config("server", silent, probe=answers)]))
    await _eventually("it runs", lambda: _states(supervisor) == {"server": "starting"})
    (tmp_path / "open").touch()
    await starting
    assert _states(supervisor) == {"server": "ready"}


async def test_a_process_that_exits_during_startup_shows_its_last_output(supervisor: Supervisor) -> None:
    code = "import sys; print('no such setting', file=sys.stderr); sys.exit(78)"
    with pytest.raises(StartFailed, match=r"broken exited with status 78 during startup:\nno such setting"):
        await supervisor.start([make_config("fine"), make_config("broken", code)])


async def test_a_process_that_never_becomes_ready_is_killed(tmp_path: Path) -> None:
    timeouts = ProcessTimeouts(ready_seconds=0.3)
    async with Supervisor(log_dir=tmp_path, run_dir=tmp_path, timeouts=timeouts, log=lambda _: None) as supervisor:
        with pytest.raises(StartFailed, match=r"slow was not ready after 0\.3 s"):
            await supervisor.start([make_config("slow", "import signal\nwhile True: signal.pause()")])
        assert not alive(_pid(supervisor, "slow"))


async def test_a_crashed_process_is_restarted(supervisor: Supervisor, log_lines: Log, tmp_path: Path) -> None:
    await supervisor.start([make_config("steady")])
    before = _pid(supervisor, "steady")
    os.kill(before, signal.SIGKILL)
    await _eventually("a new process", lambda: _pid(supervisor, "steady") not in (0, before))
    await _eventually("it is ready", lambda: _states(supervisor)["steady"] == "ready")
    assert supervisor.status()[0]["restarts"] == 1
    assert log_lines[:2] == [f"steady: pid {before} exited with SIGKILL", "steady: restarting in 0.4 s"]
    assert (tmp_path / "log" / "steady.log").read_text().count("up\n") == 2


async def test_consecutive_crashes_back_off_exponentially(
    supervisor: Supervisor, log_lines: Log, tmp_path: Path
) -> None:
    once = tmp_path / "once"
    code = f"import pathlib, sys\np = pathlib.Path({str(once)!r})\nif p.exists(): sys.exit(3)\np.touch()\n{STEADY}"
    await supervisor.start([make_config("loops", code)])
    os.kill(_pid(supervisor, "loops"), signal.SIGKILL)
    await _eventually("three pauses", lambda: len([line for line in log_lines if "restarting in" in line]) == 3)
    pauses = [line.rpartition(" in ")[2] for line in log_lines if "restarting in" in line]
    assert pauses == ["0.4 s", "0.8 s", "1.6 s"]
    assert "loops exited with status 3 during startup:" in log_lines


async def test_a_restart_skips_the_back_off_delay(supervisor: Supervisor, log_lines: Log, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    code = f"import pathlib, sys\nif pathlib.Path({str(broken)!r}).exists(): sys.exit(3)\n{STEADY}"
    await supervisor.start([make_config("healed", code)])
    broken.touch()
    os.kill(_pid(supervisor, "healed"), signal.SIGKILL)
    await _eventually("a long pause", lambda: any("restarting in 3.2 s" in line for line in log_lines))
    broken.unlink()
    await supervisor.restart("healed", log_lines.append)
    assert _states(supervisor) == {"healed": "ready"}


async def test_the_new_process_is_ready_before_the_old_one_drains(
    supervisor: Supervisor, log_lines: Log, tmp_path: Path
) -> None:
    await supervisor.start([make_config("plain")])
    before = _pid(supervisor, "plain")
    progress: Log = []
    await supervisor.restart("plain", progress.append)
    after = _pid(supervisor, "plain")
    assert progress == [
        "plain: starting the new process",
        f"plain: pid {after} is ready",
        f"plain: pid {before} drains",
    ]
    assert not alive(before)
    assert (tmp_path / "log" / "plain.log").read_text() == "up\nup\ndrained\n"
    os.kill(after, signal.SIGKILL)
    await _eventually("the new process is supervised too", lambda: _pid(supervisor, "plain") not in (0, after))


async def test_a_failed_restart_leaves_the_old_process_running(supervisor: Supervisor, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    code = f"import pathlib, sys\nif pathlib.Path({str(broken)!r}).exists(): sys.exit(3)\n{STEADY}"
    await supervisor.start([make_config("plain", code)])
    before = _pid(supervisor, "plain")
    broken.touch()
    with pytest.raises(StartFailed, match="plain exited with status 3"):
        await supervisor.restart("plain", lambda _: None)
    assert _pid(supervisor, "plain") == before
    assert _states(supervisor) == {"plain": "ready"}


async def test_stop_first_slots_restart_one_after_the_other(supervisor: Supervisor) -> None:
    slots: list[ProcessConfig] = [
        replace(make_config("worker", slot=slot, replicated=True), restart_order=RestartOrder.STOP_FIRST)
        for slot in (1, 2)
    ]
    await supervisor.start(slots)
    old = [_pid(supervisor, "worker-1"), _pid(supervisor, "worker-2")]
    progress: Log = []
    await supervisor.restart("worker", progress.append)
    new = [_pid(supervisor, "worker-1"), _pid(supervisor, "worker-2")]
    assert progress == [
        f"worker-1: pid {old[0]} drains",
        "worker-1: starting the new process",
        f"worker-1: pid {new[0]} is ready",
        f"worker-2: pid {old[1]} drains",
        "worker-2: starting the new process",
        f"worker-2: pid {new[1]} is ready",
    ]
    assert not any(alive(pid) for pid in old)


async def test_one_slot_can_be_restarted_by_name(supervisor: Supervisor) -> None:
    await supervisor.start([make_config("provider_worker", slot=slot, replicated=True) for slot in (1, 2)])
    first, second = _pid(supervisor, "provider_worker-1"), _pid(supervisor, "provider_worker-2")
    await supervisor.restart("provider-worker-2", lambda _: None)
    assert _pid(supervisor, "provider_worker-1") == first
    assert _pid(supervisor, "provider_worker-2") != second


async def test_an_unknown_service_is_answered_with_the_running_ones(supervisor: Supervisor) -> None:
    await supervisor.start([make_config("router"), make_config("ingress")])
    with pytest.raises(UnknownService, match=r"'rooter'.*router, ingress"):
        await supervisor.restart("rooter", lambda _: None)


async def test_a_stop_proceeds_in_reverse_order_and_waits_for_each(supervisor: Supervisor, log_lines: Log) -> None:
    await supervisor.start([make_config("first"), make_config("second", after=("first",)), make_config("third")])
    pids = {process["name"]: process["pid"] for process in supervisor.status()}
    await supervisor.stop()
    assert log_lines == [f"{name}: pid {pids[name]} drains" for name in ("third", "second", "first")]
    assert not any(alive(pid) for pid in pids.values())


async def test_a_process_that_does_not_drain_in_time_is_killed(tmp_path: Path, log_lines: Log) -> None:
    stubborn = STEADY.replace("sys.exit(0)", "None")
    timeouts = ProcessTimeouts(drain_seconds=0.2)
    async with Supervisor(log_dir=tmp_path, run_dir=tmp_path, timeouts=timeouts, log=log_lines.append) as supervisor:
        await supervisor.start([make_config("stubborn", stubborn)])
        pid = _pid(supervisor, "stubborn")
    assert log_lines[-1] == f"stubborn: pid {pid} was killed: still running after 0.2 s"
    assert not alive(pid)


async def test_a_forced_stop_does_not_wait(supervisor: Supervisor, tmp_path: Path) -> None:
    stubborn = STEADY.replace("sys.exit(0)", "None")
    await supervisor.start(
        [
            replace(make_config("server"), forced_stop_seconds=10),
            make_config("next", stubborn),
            make_config("stubborn", stubborn),
        ]
    )
    stopping = asyncio.create_task(supervisor.stop())
    log = tmp_path / "log"
    await _eventually("it was asked to drain", lambda: "drained" in (log / "stubborn.log").read_text())
    supervisor.force_stop()
    async with asyncio.timeout(9):
        await stopping
    assert "drained" in (log / "server.log").read_text(), "a server that holds data still stops cleanly"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_dead_supervisor_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen([sys.executable, "-m", "tests.support.system.supervisor_process", tmp_path], cwd=ROOT)
    try:
        until("all are ready", (tmp_path / "ready").exists)
        family = descendants(process.pid)
        assert family > {int(pid) for pid in (tmp_path / "pids").read_text().split()}
        assert len(family) == 4, "three children, one of which has a child"
    finally:
        process.send_signal(number)
        process.wait()
    until("all have exited", lambda: not any(alive(pid) for pid in family))
