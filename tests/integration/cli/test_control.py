"""The control socket client with the launcher's own server."""

import asyncio
import json
from pathlib import Path

import pytest

from deploy.embedded.control import CommandFailed, ControlServer, Line, Send
from keyferry.cli import control
from keyferry.cli.problem import Problem
from tests.integration.cli.command import keyferry_process

_SECONDS = 10.0


async def _status(_: Line, __: Send) -> Line:
    process: Line = {
        "name": "router",
        "service": "router",
        "slot": 1,
        "pid": 7,
        "state": "ready",
        "restarts": 2,
        "since": "t",
    }
    return {"pid": 1, "http_url": "http://127.0.0.1:1", "processes": [process]}


async def _restart(request: Line, send: Send) -> Line:
    if request["service"] != "router":
        raise CommandFailed("no such service here: router")
    send({"progress": "router: starting the next process"})
    send({"progress": "router: pid 8 is ready"})
    return {"restarted": "router"}


def _home(folder: Path) -> Path:
    home = folder / ".keyferry"
    (home / "run").mkdir(parents=True)
    state = {"nats_url": "n", "http_url": "h", "operator_nkey_file": "o", "token_file": "t"}
    (home / "run" / "state.json").write_text(json.dumps(state))
    return home


async def test_restart_shows_each_step(tmp_path: Path) -> None:
    home = _home(tmp_path)
    async with ControlServer(home / "run", {"restart": _restart}):
        ran = await keyferry_process("restart", "router", environment={}, cwd=tmp_path)
        refused = await keyferry_process("restart", "nonsense", environment={}, cwd=tmp_path)
    assert ran.status == 0
    assert ran.out.splitlines() == [
        "router: starting the next process",
        "router: pid 8 is ready",
        "router: restarted",
    ]
    assert refused.status == 1
    assert refused.err == "keyferry: the launcher could not do it: no such service here: router\n"


async def test_processes_are_listed_over_a_long_path(tmp_path: Path) -> None:
    run_dir = tmp_path / ("long" * 30) / "run"
    run_dir.mkdir(parents=True)
    async with ControlServer(run_dir, {"status": _status}):
        (process,) = await asyncio.to_thread(control.list_processes, run_dir, _SECONDS)
    assert (process.name, process.pid, process.state, process.restarts) == ("router", 7, "ready", 2)


async def test_missing_or_silent_launcher_is_reported(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="no launcher listens"):
        control.list_processes(tmp_path, _SECONDS)

    async def silent(_: Line, __: Send) -> Line:
        await asyncio.sleep(_SECONDS)
        return {}

    async with ControlServer(tmp_path, {"status": silent}):
        with pytest.raises(Problem, match="sent nothing"):
            await asyncio.to_thread(control.list_processes, tmp_path, 0.2)
