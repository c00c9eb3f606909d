"""TCP links on loopback that a test cuts: each side then hears nothing more of the other, as with a broken network."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from deploy.embedded.ports import LOOPBACK
from tests.support.servers.ports import find_free_port

_CHUNK_BYTES = 256 * 1024


class Link:
    """Forwards connections to a port. While it is cut nothing passes, not even that a side has closed its connection."""

    def __init__(self, target_port: int, loop: asyncio.AbstractEventLoop) -> None:
        self.port = find_free_port()
        self._target_port = target_port
        self._loop = loop
        self._there, self._back = asyncio.Event(), asyncio.Event()
        """Whether anything passes from the side that connects, and to it."""
        self._there.set()
        self._back.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def cut(self) -> None:
        """Let nothing pass from now on."""
        self.hold_there()
        self.hold_back()

    def hold_there(self) -> None:
        """Let nothing pass from the side that connects."""
        self._loop.call_soon_threadsafe(self._there.clear)

    def hold_back(self) -> None:
        """Let nothing pass to the side that connects."""
        self._loop.call_soon_threadsafe(self._back.clear)

    def heal(self) -> None:
        """Let what was held back, and everything after it, pass."""
        self._loop.call_soon_threadsafe(self._there.set)
        self._loop.call_soon_threadsafe(self._back.set)

    async def listen(self) -> None:
        """Accept connections."""
        self._server = await asyncio.start_server(self._forward, LOOPBACK, self.port)

    async def close(self) -> None:
        """End all connections."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await self._there.wait()
            far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self._target_port)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(_pump(reader, far_writer, self._there))
                    both.create_task(_pump(far_reader, writer, self._back))
            finally:
                far_writer.close()
        except* (OSError, asyncio.CancelledError):
            pass  # a side is gone, which the other one sees by the end of its connection
        finally:
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passes: asyncio.Event) -> None:
    while data := await reader.read(_CHUNK_BYTES):
        await passes.wait()
        writer.write(data)
        await writer.drain()
    await passes.wait()
    raise ConnectionResetError


class Links:
    """Links that live in the event loop of a thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._links: list[Link] = []

    def to(self, port: int) -> Link:
        """Open a link to a port of loopback, where a server may start later."""
        link = Link(port, self._loop)
        asyncio.run_coroutine_threadsafe(link.listen(), self._loop).result(10)
        self._links.append(link)
        return link

    def close(self) -> None:
        """Close all links."""
        for link in self._links:
            asyncio.run_coroutine_threadsafe(link.close(), self._loop).result(10)


@contextmanager
def tcp_links() -> Iterator[Links]:
    """Run links while the block lasts."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="links", daemon=True)
    thread.start()
    links = Links(loop)
    try:
        yield links
    finally:
        with suppress(TimeoutError):
            links.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
