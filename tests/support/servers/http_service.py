"""The product's HTTP server with a small application, and a raw client that sends exactly the given bytes."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

import orjson

from deploy.embedded.ports import LOOPBACK
from keyferry.runtime.http.asgi import Receive, Scope, Send
from keyferry.runtime.http.body import ClientDisconnected, RequestBodyLimits
from keyferry.runtime.http.cors import allow_origins
from keyferry.runtime.http.limits import ConnectionLimits
from keyferry.runtime.http.problem import HttpProblem, render_error
from keyferry.runtime.http.server import HttpServer
from keyferry.runtime.tls.context import ReloadingContext
from tests.support.servers.ports import find_free_port
from tests.support.waiting import TIMEOUT_SECONDS

PATIENT = ConnectionLimits(head_timeout_seconds=60, idle_timeout_seconds=60, write_timeout_seconds=60)
"""No time limit is reached in a test."""
CHUNK = b"x" * 65536


@dataclass
class Application:
    """`/` answers at once, `/body` reads the body, `/stream` sends `stream_bytes`.

    `/wait` waits for `release` or for the client to go, `/busy` for `release` without asking for anything of the client.
    """

    body_limits: RequestBodyLimits = field(
        default_factory=lambda: RequestBodyLimits(100_000, TIMEOUT_SECONDS, "a test")
    )
    release: asyncio.Event = field(default_factory=asyncio.Event)
    started: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    sent_bytes: int = 0
    disconnects: int = 0
    stream_bytes: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.started.append(scope["path"])
        try:
            match scope["path"]:
                case "/body":
                    self.bodies.append(await self.body_limits.read(scope, receive))
                case "/wait":
                    await self._wait(receive)
                case "/busy":
                    await self.release.wait()
                case "/stream":
                    await self._stream(send)
                    return
            await _respond(send, 200, orjson.dumps({"path": scope["path"]}), {})
        except ClientDisconnected:
            self.disconnects += 1
        except HttpProblem as problem:
            await _respond(send, problem.status, render_error(problem, "req_test"), problem.headers)

    async def _wait(self, receive: Receive) -> None:
        released = asyncio.ensure_future(self.release.wait())
        gone = asyncio.ensure_future(_disconnect(receive))
        await asyncio.wait({released, gone}, return_when=asyncio.FIRST_COMPLETED)
        released.cancel()
        if gone.done():
            raise ClientDisconnected
        gone.cancel()

    async def _stream(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while self.sent_bytes < self.stream_bytes:
            await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
            self.sent_bytes += len(CHUNK)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _respond(send: Send, status: int, body: bytes, headers: dict[str, str]) -> None:
    fixed = [(b"content-length", b"%d" % len(body)), *((k.encode(), v.encode()) for k, v in headers.items())]
    await send({"type": "http.response.start", "status": status, "headers": fixed})
    await send({"type": "http.response.body", "body": body, "more_body": False})


@dataclass
class HttpService:
    """A running server."""

    app: Application
    server: HttpServer
    port: int

    async def connect(self, tls: ssl.SSLContext | None = None) -> "RawClient":
        """Open a connection."""
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port, ssl=tls)
        return RawClient(reader, writer)

    async def exchange(self, *parts: bytes, tls: ssl.SSLContext | None = None) -> bytes:
        """Send `parts` on a connection of their own, and return everything until the server closes it."""
        client = await self.connect(tls)
        try:
            for part in parts:
                await client.send(part)
            return await client.read_to_end()
        finally:
            client.close()


@dataclass
class RawClient:
    """A connection to the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Send bytes; a server that has closed is no error."""
        with suppress(ConnectionError):
            self.writer.write(data)
            await asyncio.wait_for(self.writer.drain(), TIMEOUT_SECONDS)

    async def read_to_end(self) -> bytes:
        """Return everything until the server closes or resets the connection."""
        received = bytearray()
        with suppress(ConnectionError):
            async with asyncio.timeout(TIMEOUT_SECONDS):
                while part := await self.reader.read(65536):
                    received += part
        return bytes(received)

    async def read_answer(self) -> bytes:
        """Return one answer that has a Content-Length, its head included."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.partition(b":")[2]) for line in head.splitlines() if line.startswith(b"content-length:")
            )
            return head + await self.reader.readexactly(length)

    def close(self) -> None:
        """Reset the connection."""
        self.writer.transport.abort()


@asynccontextmanager
async def http_service(
    limits: ConnectionLimits = PATIENT,
    app: Application | None = None,
    *,
    origins: frozenset[str] = frozenset(),
    tls: ReloadingContext | None = None,
    **changes: float,
) -> AsyncIterator[HttpService]:
    """Start a server with `limits`, of which `changes` replaces some."""
    app = app or Application()
    port = find_free_port()
    server = HttpServer(
        allow_origins(app, origins, ("GET", "POST")),
        LOOPBACK,
        port,
        drain_seconds=1,
        limits=replace(limits, **changes),  # type: ignore[arg-type]
        tls=tls,
    )
    await server.start()
    try:
        yield HttpService(app, server, port)
    finally:
        app.release.set()
        await server.drain()
