"""The control socket: requests, progress, failures and access."""

import asyncio
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.embedded.control import CommandFailed, ControlServer, Line, NotRunning, Send, ask
from keyferry.runtime.process.control_socket import SOCKET_NAME

REPEAT: Line = {"command": "repeat", "items": ["one", "two"]}


async def _repeat(request: Line, send: Send) -> Line:
    items = request["items"]
    assert isinstance(items, list)
    for item in items:
        send({"progress": item})
    return {"count": len(items)}


async def _fail(_: Line, __: Send) -> Line:
    raise CommandFailed("not today")


@pytest.fixture(params=["short", "longer than any socket address may be" * 5])
async def run_dir(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Path]:
    directory = tmp_path / str(request.param)
    directory.mkdir()
    async with ControlServer(directory, {"repeat": _repeat, "refuse": _fail}):
        yield directory


async def _ask(run_dir: Path, request: Line) -> list[Line]:
    return await asyncio.to_thread(lambda: list(ask(run_dir, request, timeout_seconds=10)))


async def test_progress_precedes_the_result(run_dir: Path) -> None:
    assert await _ask(run_dir, REPEAT) == [{"progress": "one"}, {"progress": "two"}, {"done": True, "count": 2}]


async def test_a_failure_keeps_its_reason_and_the_server_continues(run_dir: Path) -> None:
    with pytest.raises(CommandFailed, match="not today"):
        await _ask(run_dir, {"command": "refuse"})
    assert (await _ask(run_dir, REPEAT))[-1]["done"] is True


@pytest.mark.parametrize("request_line", [{}, {"command": "unknown"}, {"command": ["repeat"]}])
async def test_an_unknown_command_is_answered_with_the_known_ones(run_dir: Path, request_line: Line) -> None:
    with pytest.raises(CommandFailed, match="repeat, refuse"):
        await _ask(run_dir, request_line)


async def test_only_the_owner_may_connect(run_dir: Path) -> None:
    assert stat.S_IMODE((run_dir / SOCKET_NAME).stat().st_mode) == 0o600


async def test_a_client_that_disconnects_early_does_no_harm(tmp_path: Path) -> None:
    async with ControlServer(tmp_path, {"repeat": _repeat}):
        for half in (b"", b"not json", b'{"command": "repeat", "items": ["lost"]}\n'):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(tmp_path / SOCKET_NAME))
                client.sendall(half)
        assert (await _ask(tmp_path, REPEAT))[-1]["done"] is True


async def test_the_socket_is_closed_after_the_end(tmp_path: Path) -> None:
    async with ControlServer(tmp_path, {"repeat": _repeat}):
        pass
    with pytest.raises(NotRunning, match="make up"):
        await _ask(tmp_path, REPEAT)


async def test_a_stale_socket_file_is_replaced(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / SOCKET_NAME))
    left.close()
    with pytest.raises(NotRunning):
        await _ask(tmp_path, REPEAT)
    async with ControlServer(tmp_path, {"repeat": _repeat}):
        assert (await _ask(tmp_path, REPEAT))[-1]["done"] is True
