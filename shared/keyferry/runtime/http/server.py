"""The HTTP server of a service: uvicorn on a socket opened here, drained by the service's lifecycle."""

import asyncio
import logging
import resource
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial

import uvicorn

from keyferry.runtime.http.asgi import Application, Message, Receive, Scope, Send
from keyferry.runtime.http.connection import ClientConnection, GuardedConfig
from keyferry.runtime.http.limits import ConnectionCount, ConnectionLimits
from keyferry.runtime.http.listener import BACKLOG, accept_waiting, listen, stop_new_connections
from keyferry.runtime.http.security_headers import SECURITY_HEADERS
from keyferry.runtime.tls.acceptor import TlsAcceptor
from keyferry.runtime.tls.context import ReloadingContext

_log = logging.getLogger(__name__)

_OTHER_FILES = 128
"""File descriptors for everything that is not a client's connection."""
_REPORT_SECONDS = 10.0
"""Refusals are logged together, at most this often: a log line for each would be work for a stranger."""
_MAX_WAIT_SECONDS = 10.0
"""After that the server listens although something is missing, and its 503 responses name what."""
_POLL_SECONDS = 0.01


class _Server(uvicorn.Server):
    config: GuardedConfig

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signal handling to the service's lifecycle."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening without losing a connection; then drain all of them."""
        for listener in sockets or ():
            await stop_new_connections(listener)
        waiting = [connection for listener in sockets or () for connection in accept_waiting(listener)]
        for server in self.servers:
            server.close()
        create = partial(ClientConnection, self.config, self.server_state, {})
        for connection in waiting:
            with suppress(OSError):  # the client's matter: it has gone
                await asyncio.get_running_loop().connect_accepted_socket(create, connection)
        await super().shutdown(sockets)


class HttpServer:
    """Serves one ASGI application, over TLS if there is a context for it.

    A `shared` port is open to the process's successor before this one has drained.
    """

    def __init__(
        self,
        app: Application,
        host: str,
        port: int,
        *,
        drain_seconds: float,
        limits: ConnectionLimits | None = None,
        shared: bool = True,
        tls: ReloadingContext | None = None,
    ) -> None:
        self._shared = shared
        self._host = host
        self._port = port
        self._config = GuardedConfig(
            _with_security_headers(app),
            http=ClientConnection,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=max(1, round(drain_seconds)),
        )
        self._config.limits = _within_open_files(limits or ConnectionLimits())
        self._config.count = self.count = ConnectionCount(self._config.limits)
        self._config.guarded = set()
        self._tls = tls
        self._acceptor: TlsAcceptor | None = None
        self._server = _Server(self._config)
        self._task: asyncio.Task[None] | None = None
        self._checks: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start listening. Raises PortTaken."""
        listener = listen(self._host, self._port, shared=self._shared)
        sockets = [listener] if self._tls is None else []
        self._task = asyncio.create_task(self._server.serve(sockets=sockets), name="http")
        self._checks = asyncio.create_task(self._check_connections(), name="http-connections")
        while not self._server.started:
            if self._task.done():
                await self._task
                raise OSError("the HTTP server stopped during its start")
            await asyncio.sleep(0.005)
        if self._tls is not None:
            self._accept_tls(listener, self._tls)

    async def drain(self) -> None:
        """Stop accepting, let responses in progress finish within the drain time, then close all connections and stop."""
        if self._acceptor is not None:
            await self._acceptor.stop()
        self._config.draining = self._server.should_exit = True
        if self._task is not None:
            await self._task
        for connection in list(self._config.guarded):
            connection.transport.abort()
        if self._checks is not None:
            self._checks.cancel()
        self._report(Counter())

    def _accept_tls(self, listener: socket.socket, tls: ReloadingContext) -> None:
        create = partial(ClientConnection, self._config, self._server.server_state, {})
        self._acceptor = TlsAcceptor(listener, create, tls, self.count)
        self._acceptor.start()

    async def _check_connections(self) -> None:
        """End connections whose time is over, and log now and then how many were ended or refused."""
        loop = asyncio.get_running_loop()
        reported, report_at = Counter[str](), 0.0
        while True:
            await asyncio.sleep(self._config.limits.check_interval_seconds)
            now = loop.time()
            for connection in list(self._config.guarded):
                try:
                    connection.check(now)
                except Exception:  # one defective connection must not end the checks of all others
                    _log.exception("a connection could not be checked")
                    connection.transport.abort()
            if now >= report_at and self.count.ended != reported:
                self._report(reported)
                reported, report_at = Counter(self.count.ended), now + _REPORT_SECONDS

    def _report(self, reported: Counter[str]) -> None:
        new = self.count.ended - reported
        new.pop("idle", None)
        if new:
            _log.info("client connections were refused or ended", extra={"open": self.count.open, **new})


def _with_security_headers(app: Application) -> Application:
    """Return the application with the headers of every answer. One that a page has of its own, such as its policy, stays."""
    common = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS]

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = list(message.get("headers", ()))
                names = {name for name, _ in own}
                message = {**message, "headers": [*own, *(pair for pair in common if pair[0] not in names)]}
            await send(message)

        await app(scope, receive, send_with_headers)

    return answer


def _within_open_files(limits: ConnectionLimits) -> ConnectionLimits:
    """Raise this process's limit of open files as far as `limits` needs, and lower `limits` to what it allows."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.connections + _OTHER_FILES
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        allowed = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
        if allowed < wanted:
            _log.warning("fewer connections than configured: too few open files are allowed", extra={"files": allowed})
            return replace(limits, connections=max(1, allowed - _OTHER_FILES))
    return limits


async def wait_until_ready(waiting_for: Callable[[], Sequence[str]]) -> None:
    """Wait until `waiting_for` is empty, for at most 10 seconds.

    Call it before the server starts: a successor shares the port with the process that it replaces, so it receives requests
    as soon as it listens.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(_MAX_WAIT_SECONDS):
            while waiting_for():  # noqa: ASYNC110 - once, when the process starts
                await asyncio.sleep(_POLL_SECONDS)
