"""TLS to PostgreSQL for `pg_dump` and `pg_restore`: those of the embedded PostgreSQL are built without it.

They connect to a Unix socket in a directory of this user alone, in plain text, and each connection is forwarded with TLS to the
server that psycopg has found and checked. Without TLS in the URL nothing is forwarded.
"""

import asyncio
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from deploy.backup.errors import BackupFailed

_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
"""What a client sends first to ask for TLS (PostgreSQL documentation, "Message Formats", SSLRequest)."""
_SIZE_BYTES = 4
"""Of the size of a message, which follows its kind and counts itself."""
_SASL, _BOUND_TO_TLS = b"\x00\x00\x00\x0a", b"SCRAM-SHA-256-PLUS\x00"
"""The server's first answer where passwords are used, and one of the ways that it offers (AuthenticationSASL)."""
_WITH_TLS = ("require", "verify-ca", "verify-full")
_KNOWN = frozenset({"sslmode", "sslrootcert", "sslcert", "sslkey"})
_DEFAULT_ROOT = Path("~/.postgresql/root.crt")
_PORT = 5432
"""Part of the name of a Unix socket of PostgreSQL."""
_CHUNK_BYTES = 1 << 18
_START_SECONDS = 10.0
_END_SECONDS, _CLOSE_SECONDS = 2.0, 6.0


@contextmanager
def plain_options(options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield libpq options for the same database without TLS, for as long as the block lasts. Raises BackupFailed."""
    if options.get("sslmode") not in _WITH_TLS:
        yield dict(options)
        return
    if unknown := sorted(name for name in options if name.startswith("ssl") and name not in _KNOWN):
        raise BackupFailed(
            f"the database URL has {', '.join(unknown)}, which a dump or a restore cannot use: leave it out, and use"
            f" {', '.join(sorted(_KNOWN))} alone"
        )
    context = _context(options)
    host, address, port = _find_server(options)
    kept = {name: options[name] for name in ("user", "password", "dbname") if name in options}
    with tempfile.TemporaryDirectory(prefix="keyferry-tunnel-") as directory:
        forwarder = _Forwarder(Path(directory, f".s.PGSQL.{_PORT}"), host, address, port, context)
        with forwarder.running():
            yield {**kept, "host": directory, "port": _PORT, "sslmode": "disable", "gssencmode": "disable"}


def _find_server(options: Mapping[str, Any]) -> tuple[str, str, int]:
    """Return name, address and port of the server that libpq chooses, after it has checked the certificate."""
    try:
        with psycopg.connect(**dict(options)) as connection:
            return connection.info.host, connection.info.hostaddr, connection.info.port
    except psycopg.OperationalError as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise BackupFailed(f"the database cannot be reached: {first}") from None


def _context(options: Mapping[str, Any]) -> ssl.SSLContext:
    """Return what checks the server as libpq does for the same options. Raises BackupFailed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    root = str(options.get("sslrootcert") or _DEFAULT_ROOT.expanduser())
    mode = options["sslmode"]
    context.check_hostname = mode == "verify-full"
    try:
        if root == "system":
            context.load_default_certs()
        elif mode != "require" or Path(root).exists():
            context.load_verify_locations(root)
        else:  # libpq also checks nothing then
            context.verify_mode = ssl.CERT_NONE
        if "sslcert" in options:
            context.load_cert_chain(options["sslcert"], options.get("sslkey"))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise BackupFailed(f"sslrootcert, sslcert or sslkey of the database URL cannot be used: {reason}") from None
    return context


class _Forwarder:
    """Forwards connections to a Unix socket, in the event loop of a thread."""

    def __init__(self, socket_file: Path, host: str, address: str, port: int, context: ssl.SSLContext) -> None:
        self._socket_file = socket_file
        self._host, self._address, self._port = host, address, port
        self._context = context
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="database tunnel", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Accept connections while the block lasts."""
        self._thread.start()
        try:
            server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(_START_SECONDS)
            try:
                yield
            finally:
                asyncio.run_coroutine_threadsafe(self._close(server), self._loop).result(_START_SECONDS)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_unix_server(self._forward, self._socket_file)

    async def _close(self, server: asyncio.Server) -> None:
        """End all connections, which the program has ended on its side: cancelling them at once would leave sockets open."""
        server.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_CLOSE_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            far_reader, far_writer = await self._connect()
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(_pump(reader, far_writer))
                    both.create_task(self._pump_answers(far_reader, writer))
            finally:
                await _end(far_writer)
        except* (OSError, EOFError, asyncio.CancelledError):
            pass  # a side is gone, which the other one sees by the end of its connection
        finally:
            await _end(writer)

    async def _pump_answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what the server sends, without its offer to bind the password to TLS, which a client without TLS refuses."""
        kind = await reader.readexactly(1)
        size = int.from_bytes(await reader.readexactly(_SIZE_BYTES), "big")
        content = await reader.readexactly(size - _SIZE_BYTES)
        if kind == b"R" and content.startswith(_SASL):
            content = content.replace(_BOUND_TO_TLS, b"", 1)
        writer.write(kind + (len(content) + _SIZE_BYTES).to_bytes(_SIZE_BYTES, "big") + content)
        await _pump(reader, writer)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a connection with TLS. Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._address or self._host, self._port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        plain = socket.socket(family, kind, protocol)
        try:
            plain.setblocking(False)
            await loop.sock_connect(plain, address)
            await loop.sock_sendall(plain, _SSL_REQUEST)
            # Exactly this: what somebody in between added in plain text would be taken for what the server sent with TLS.
            if await loop.sock_recv(plain, 64) != b"S":
                raise ConnectionRefusedError
            return await asyncio.open_connection(sock=plain, ssl=self._context, server_hostname=self._host)
        except BaseException:  # a cancellation too: the socket would stay open
            plain.close()
            raise


async def _end(writer: asyncio.StreamWriter) -> None:
    """Send what is left, and end a connection, whose other side may be gone without having said so."""
    writer.close()
    ending = asyncio.create_task(writer.wait_closed())
    if not (await asyncio.wait({ending}, timeout=_END_SECONDS))[0]:
        writer.transport.abort()
    await asyncio.gather(ending, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes until a side ends, which ends the other direction too."""
    while data := await reader.read(_CHUNK_BYTES):
        writer.write(data)
        await writer.drain()
    raise ConnectionResetError
