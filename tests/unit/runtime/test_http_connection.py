"""The time limits of a client connection and the limit of open files, with a clock and numbers that the test sets."""

import asyncio
import resource
from typing import Any

import pytest
from uvicorn.server import ServerState

from keyferry.runtime.http.connection import ClientConnection, GuardedConfig
from keyferry.runtime.http.limits import ConnectionCount, ConnectionLimits
from keyferry.runtime.http.server import HttpServer


class SlowTransport(asyncio.Transport):
    """A connection whose client takes what the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0
        self.aborted = False

    def take(self, count: int) -> None:
        """Let the client take `count` bytes."""
        self.waiting -= count

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.waiting += len(data)

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


async def _application(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("no request arrives")


def connected(write_timeout_seconds: float) -> tuple[ClientConnection, SlowTransport]:
    config = GuardedConfig(_application, lifespan="off", log_config=None)
    config.load()
    config.limits = ConnectionLimits(
        head_timeout_seconds=10**6, idle_timeout_seconds=10**6, write_timeout_seconds=write_timeout_seconds
    )
    config.count, config.guarded = ConnectionCount(config.limits), set()
    connection, transport = ClientConnection(config, ServerState(), {}), SlowTransport()
    connection.connection_made(transport)
    connection.transport.write(bytes(10_000_000))
    return connection, transport


@pytest.mark.parametrize(("bytes_a_second", "ends"), [(0, True), (1_000, True), (2_000, False), (100_000, False)])
async def test_an_answer_that_is_taken_too_slowly_ends_its_connection(bytes_a_second: int, ends: bool) -> None:
    connection, transport = connected(write_timeout_seconds=10)
    start = asyncio.get_running_loop().time()
    for second in range(10):
        connection.check(start + second)
        assert not transport.aborted, f"after {second} s"
        transport.take(bytes_a_second)
    connection.check(start + 10)
    assert transport.aborted is ends
    assert connection.config.count.ended == ({"answer_not_read": 1} if ends else {})


@pytest.mark.parametrize(("allowed", "most", "connections"), [(100, 228, 100), (100, 5000, 1000), (100, 100, 1)])
async def test_no_more_connections_are_admitted_than_files_may_be_open(
    allowed: int, most: int, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (allowed, most))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: None)
    limits = ConnectionLimits(connections=1000, connections_per_address=0)
    count = HttpServer(_application, "127.0.0.1", 0, drain_seconds=1, limits=limits).count
    assert [count.admit("192.0.2.1") is None for _ in range(connections + 1)] == [*[True] * connections, False]
