"""A load balancer in front of several processes: new connections go in turn to those whose `/readyz` says so."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count

from deploy.embedded.ports import LOOPBACK
from tests.support.servers.ports import find_free_port

_CHECK_SECONDS = 0.5
_CHECK_TIMEOUT_SECONDS = 1.0
_CHUNK_BYTES = 256 * 1024


class LoadBalancer:
    """Passes TCP connections on; a target that cannot be reached is left out until the next check finds it ready."""

    def __init__(self, targets: Sequence[int]) -> None:
        self.port = find_free_port()
        self.ready: set[int] = set()
        self._targets = tuple(targets)
        self._turn = count()
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The base URL of what stands behind it."""
        return f"http://{LOOPBACK}:{self.port}"

    async def run(self, started: threading.Event, stopping: asyncio.Event) -> None:
        """Serve until `stopping` is set."""
        server = await asyncio.start_server(self._serve, LOOPBACK, self.port)
        checks = [asyncio.create_task(self._check(port)) for port in self._targets]
        started.set()
        await stopping.wait()
        server.close()
        for task in (*checks, *self._connections):
            task.cancel()
        await asyncio.gather(*checks, *self._connections, return_exceptions=True)

    async def _check(self, port: int) -> None:
        while True:
            if await _is_ready(port):
                self.ready.add(port)
            else:
                self.ready.discard(port)
            await asyncio.sleep(_CHECK_SECONDS)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        try:
            target = await self._connect()
            if target is not None:
                await asyncio.gather(_pump(reader, target[1]), _pump(target[0], writer))
        except OSError:
            pass  # one side is gone
        finally:
            writer.close()
            if target is not None:
                target[1].close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in self._targets:
            ready = sorted(self.ready)
            if not ready:
                return None
            port = ready[next(self._turn) % len(ready)]
            try:
                return await asyncio.open_connection(LOOPBACK, port)
            except OSError:
                self.ready.discard(port)
        return None


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK_BYTES):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        with suppress(OSError):
            writer.write_eof()


async def _is_ready(port: int) -> bool:
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                writer.write(f"GET /readyz HTTP/1.1\r\nhost: {LOOPBACK}\r\nconnection: close\r\n\r\n".encode())
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


@contextmanager
def load_balancer(targets: Sequence[int]) -> Iterator[LoadBalancer]:
    """Run a load balancer in a thread while the block lasts."""
    balancer = LoadBalancer(targets)
    loop = asyncio.new_event_loop()
    started, stopping = threading.Event(), asyncio.Event()

    def serve() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(balancer.run(started, stopping))

    thread = threading.Thread(target=serve, name="load balancer", daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield balancer
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(10)
