"""nats-py's client, mended where a connection that fails at the wrong moment would be given up for ever (nats-py 2.15)."""

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from nats.aio.client import DEFAULT_BUFFER_SIZE, Client, Srv
from nats.aio.transport import TcpTransport
from nats.errors import Error as NatsError
from nats.protocol.parser import AUTHORIZATION_VIOLATION, PERMISSIONS_ERR, STALE_CONNECTION

_CLOSE_SECONDS = 1.0
_ENDS_HERE = (AUTHORIZATION_VIOLATION, PERMISSIONS_ERR, STALE_CONNECTION)
"""Errors that nats-py handles as they should be: it closes for good, reports, or reconnects."""


@contextmanager
def _errors_of_connection() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ConnectionResetError("the connection to the server has ended") from error


class _Transport(TcpTransport):
    """A connection whose end is waited for only so long, and is an error of the connection for what is written after it.

    nats-py closes a connection, and waits, before it opens another one. That end never comes after a failed TLS handshake, and
    late or never if the server is frozen or cut off. Meanwhile uvloop raises RuntimeError for a write, which nats-py takes for
    the end of the event loop: its task that sends would stop for good.
    """

    def write(self, payload: bytes) -> None:
        """Write; raises ConnectionResetError on a connection that has ended."""
        with _errors_of_connection():
            super().write(payload)  # type: ignore[no-untyped-call]

    def writelines(self, payload: Iterable[bytes]) -> None:
        """Write; raises ConnectionResetError on a connection that has ended."""
        with _errors_of_connection():
            super().writelines(payload)  # type: ignore[no-untyped-call]

    async def wait_closed(self) -> None:
        """Wait a moment for what was sent to arrive, then drop the connection."""
        writer = self._io_writer
        if writer is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await writer.wait_closed()
        except TimeoutError:
            writer.transport.abort()

    def drop(self) -> None:
        """Close at once."""
        for writer in (self._io_writer, self._bare_io_writer):
            if writer is not None:
                writer.transport.abort()


class BusClient(Client):
    """A client that goes on to another server, or to the same one again, after every failure but refused credentials."""

    async def _connect_to_server(self, s: Srv) -> None:
        if s.uri.scheme in ("ws", "wss"):
            await super()._connect_to_server(s)
            return
        s.last_attempt = time.monotonic()
        if not self._transport:
            self._transport = _Transport()  # type: ignore[no-untyped-call]
        await self._transport.connect(
            s.uri, buffer_size=DEFAULT_BUFFER_SIZE, connect_timeout=self.options["connect_timeout"]
        )

    def drop(self) -> None:
        """Close the socket of a connection that could not be established."""
        if isinstance(self._transport, _Transport):
            self._transport.drop()

    async def _process_err(self, err_msg: str) -> None:
        """Reconnect after errors with which the server ends a connection; nats-py would close the client for good."""
        text = err_msg.lower()
        if any(known in text for known in _ENDS_HERE) or not self.options["allow_reconnect"]:
            await super()._process_err(err_msg)
            return
        error = NatsError(f"nats: {err_msg}")
        await self._error_cb(error)
        await self._process_op_err(error)
