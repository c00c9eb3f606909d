"""The HTTP server of a service: uvicorn on a socket opened here, drained by the service's lifecycle."""

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import uvicorn

from keyferry.runtime.http.asgi import Application

_BACKLOG = 2048
_KEEP_ALIVE_SECONDS = 75
"""Longer than the idle timeout of common load balancers (60 s), so that they close first and lose no request."""
_HEAD_BYTES = 64 * 1024
_MAX_WAIT_SECONDS = 10.0
"""After that the server listens although something is missing, and its 503 responses name what."""
_POLL_SECONDS = 0.01


class PortTaken(OSError):
    """Another program already listens on the address."""


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signal handling to the service's lifecycle."""
        yield


class HttpServer:
    """Serves one ASGI application."""

    def __init__(self, app: Application, host: str, port: int, *, drain_seconds: float) -> None:
        self._host = host
        self._port = port
        self._server = _Server(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                backlog=_BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=max(1, round(drain_seconds)),
                h11_max_incomplete_event_size=_HEAD_BYTES,
            )
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start listening. Raises PortTaken."""
        listener = self._listen()
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name="http")
        while not self._server.started:
            if self._task.done():
                await self._task
                raise OSError("the HTTP server stopped during its start")
            await asyncio.sleep(0.005)

    async def drain(self) -> None:
        """Stop accepting, let responses in progress finish within the drain time, then stop."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task

    def _listen(self) -> socket.socket:
        """Bind with SO_REUSEPORT, so that a successor can listen before this process has drained."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            listener.bind((self._host, self._port))
        except OSError as error:
            listener.close()
            raise PortTaken(
                f"cannot listen on {self._host}:{self._port} ({error.strerror}): stop what uses it or set KEYFERRY_HTTP_PORT"
            ) from None
        listener.listen(_BACKLOG)
        return listener


async def wait_until_ready(waiting_for: Callable[[], Sequence[str]]) -> None:
    """Wait until `waiting_for` is empty, for at most 10 seconds.

    Call it before the server starts: a successor shares the port with the process that it replaces, so it receives requests
    as soon as it listens.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(_MAX_WAIT_SECONDS):
            while waiting_for():  # noqa: ASYNC110 - once, when the process starts
                await asyncio.sleep(_POLL_SECONDS)
