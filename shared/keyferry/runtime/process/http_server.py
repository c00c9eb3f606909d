"""An HTTP server inside a service: uvicorn on a socket of ours, drained by the service's own life."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from uvicorn._types import ASGI3Application

_BACKLOG = 2048
_KEEP_ALIVE_SECONDS = 75
"""Longer than the idle time of common load balancers (60 s), so that they close first and lose no request."""
_HEAD_BYTES = 64 * 1024


class PortTaken(OSError):
    """Another program listens there."""


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the service's life."""
        yield


class HttpServer:
    """Serves one ASGI application."""

    def __init__(self, app: ASGI3Application, host: str, port: int, *, drain_seconds: float) -> None:
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
        """Listen. Raises PortTaken."""
        listener = self._listen()
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name="http")
        while not self._server.started:
            if self._task.done():
                await self._task
                raise OSError("the HTTP server ended while it started")
            await asyncio.sleep(0.005)

    async def drain(self) -> None:
        """Accept no more, let the answers under way finish within the drain time, then stop."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task

    def _listen(self) -> socket.socket:
        """SO_REUSEPORT, so that a successor can listen before this process has drained."""
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
