"""An HTTP/1.1 server on loopback that does exactly what a test specifies, down to the bytes and the way it hangs up."""

import asyncio
import datetime
import errno
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deploy.embedded.ports import LOOPBACK
from tests.support.waiting import TIMEOUT_SECONDS

_PORTS_TRIED = 20


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came: the request line, headers in order with names as sent, and the body."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


@dataclass(slots=True)
class Call:
    """A request being answered."""

    request: Received
    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *pieces: bytes) -> None:
        """Write each piece on its own."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def gone(self) -> None:
        """Return when the client has closed."""
        while await self.reader.read(65536):
            pass

    def reset(self) -> None:
        """Close with a TCP reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Behaviour = Callable[[Call], Awaitable[None]]


@dataclass(slots=True)
class RawHttpServer:
    """What the server has received."""

    host: str
    port: int
    connections: int = 0
    requests: list[Received] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str = "/", scheme: str = "http") -> str:
        return f"{scheme}://{self.host}:{self.port}{path}"

    @property
    def open_connections(self) -> int:
        return len(self._tasks)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when `condition` holds; it is checked at each new connection, request and disconnection."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def _count(self, task: asyncio.Task[None]) -> None:
        self.connections += 1
        self._tasks.add(task)
        self._changed.set()

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._changed.set()

    def _receive(self, request: Received) -> None:
        self.requests.append(request)
        self._changed.set()


def reply(body: bytes = b"{}", *headers: str, status: str = "200 OK", framing: bool = True) -> bytes:
    """Return a complete response with a Content-Length, unless `headers` do the framing."""
    length = (f"content-length: {len(body)}",) if framing else ()
    return "\r\n".join((f"HTTP/1.1 {status}", *headers, *length, "", "")).encode() + body


def answers(*pieces: bytes, close: bool = False) -> Behaviour:
    """Return a behaviour that sends these bytes to every request, and hangs up if `close` is set."""

    async def behave(call: Call) -> None:
        await call.send(*pieces)
        if close:
            call.writer.close()

    return behave


async def hangs(call: Call) -> None:
    """Read the request and never reply."""
    await call.gone()


@asynccontextmanager
async def raw_http_server(
    behave: Behaviour, *, host: str = LOOPBACK, port: int = 0, tls: ssl.SSLContext | None = None, reads: bool = True
) -> AsyncIterator[RawHttpServer]:
    """Run a server. With `reads` off it accepts connections and reads nothing."""
    double = RawHttpServer(host, port)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        double._count(task)
        try:
            if not reads:
                writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport is both ways
                await asyncio.Event().wait()
            while not writer.is_closing():
                request = await _read_request(reader)
                double._receive(request)
                await behave(Call(request, len(double.requests), reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client hung up, or the test is over
        finally:
            double._forget(task)
            writer.close()

    server = await asyncio.start_server(serve, host, port, ssl=tls, limit=2**24)
    double.port = server.sockets[0].getsockname()[1]
    try:
        yield double
    finally:
        server.close()
        for task in list(double._tasks):
            task.cancel()
        await asyncio.gather(*double._tasks, return_exceptions=True)


@asynccontextmanager
async def servers_on_one_port(*servers: tuple[Behaviour, str]) -> AsyncIterator[list[RawHttpServer]]:
    """Run one server for each behaviour and address, all on the same port.

    The port that the first is given can be in use on another's address, if only for a connection just closed: then all are
    started again on another port.
    """
    async with AsyncExitStack() as running:
        for tries_left in reversed(range(_PORTS_TRIED)):
            started: list[RawHttpServer] = []
            async with AsyncExitStack() as starting:
                try:
                    for behave, host in servers:
                        port = started[0].port if started else 0
                        started.append(
                            await starting.enter_async_context(raw_http_server(behave, host=host, port=port))
                        )
                except OSError as error:
                    if error.errno != errno.EADDRINUSE or not tries_left:
                        raise
                    continue
                await running.enter_async_context(starting.pop_all())
                break
        yield started


async def _read_request(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    pairs = [text.split(": ", 1) for text in lines]
    request = Received(line, [(name, value) for name, value in pairs], b"")
    body = await reader.readexactly(int(request.header("content-length") or 0))
    return Received(request.line, request.headers, body)


def self_signed(folder: Path, *names: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a server's context with a certificate for `names`, and a client's context that trusts only it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([_general_name(each) for each in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    client = ssl.create_default_context(cadata=certificate.public_bytes(serialization.Encoding.PEM).decode())
    return server, client


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)
