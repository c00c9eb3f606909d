"""Accepts TLS connections, with the handshake under the server's own limits.

The TLS servers of event loops create the server's protocol after the handshake, and until then strangers could hold any number of
connections. Here each is counted from the moment it is accepted, and ends unless its handshake is over in time.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from keyferry.runtime.http.listener import accept_waiting, stop_new_connections

HANDSHAKE_SECONDS = 10.0
_CLOSE_SECONDS = 2.0
"""For a peer to confirm the end of a connection."""
_PAUSE_SECONDS = 0.2
"""After a connection could not be accepted, as by the limit of open files, which it would also be at once."""

_GRACE_SECONDS = 2.0
"""For handshakes under way when no more connections are accepted."""

_log = logging.getLogger(__name__)


class AddressCount(Protocol):
    """What counts the connections of each address."""

    def admit(self, address: str) -> object | None:
        """Count a connection of `address`; return None, or why there may not be another one."""

    def release(self, address: str) -> None:
        """Forget a connection that was counted."""


class TlsAcceptor:
    """Accepts connections of one listening socket, and connects each to the protocol that `create` returns."""

    def __init__(
        self,
        listener: socket.socket,
        create: Callable[[], asyncio.Protocol],
        context: ssl.SSLContext,
        count: AddressCount,
    ) -> None:
        self._listener = listener
        self._create = create
        self._context = context
        self._count = count
        self._accepting: asyncio.Task[None] | None = None
        self._handshakes: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Start to accept."""
        self._listener.setblocking(False)
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    async def stop(self) -> None:
        """Accept what waits for that and no more, and let handshakes finish soon; connections that are established stay."""
        await stop_new_connections(self._listener)
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait({self._accepting})
        waiting = accept_waiting(self._listener)
        self._listener.close()
        for connection in waiting:
            with suppress(OSError):  # it has gone
                self._admit(connection, connection.getpeername())
        if self._handshakes:
            _, late = await asyncio.wait(self._handshakes, timeout=_GRACE_SECONDS)
            for handshake in late:
                handshake.cancel()
            if late:
                await asyncio.wait(late)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(self._listener)
            except OSError as error:
                _log.warning("cannot accept a connection: %s", error.strerror)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            self._admit(connection, peer)

    def _admit(self, connection: socket.socket, peer: Sequence[Any]) -> None:
        connection.setblocking(False)
        address = str(peer[0]) if peer else ""
        if self._count.admit(address) is not None:
            connection.close()  # there is no way to answer before the handshake
            return
        handshake = asyncio.get_running_loop().create_task(self._handshake(connection, address))
        self._handshakes.add(handshake)
        handshake.add_done_callback(self._handshakes.discard)

    async def _handshake(self, connection: socket.socket, address: str) -> None:
        """Hand the connection to its protocol, which counts it itself; otherwise close it."""
        counted = True

        def create() -> asyncio.Protocol:
            return _Announced(self._create(), release)

        def release() -> None:
            nonlocal counted
            if counted:
                counted = False
                self._count.release(address)

        try:
            with suppress(OSError):  # the client's matter: no TLS, an old version, too slow, or gone
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await asyncio.get_running_loop().connect_accepted_socket(
                    create,
                    connection,
                    ssl=self._context,
                    ssl_handshake_timeout=HANDSHAKE_SECONDS,
                    ssl_shutdown_timeout=_CLOSE_SECONDS,
                )
        finally:
            release()


class _Announced(asyncio.Protocol):
    """Calls `before` just before the protocol is connected, and steps aside."""

    def __init__(self, protocol: asyncio.Protocol, before: Callable[[], None]) -> None:
        self._protocol = protocol
        self._before = before

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Put the protocol in place."""
        self._before()
        transport.set_protocol(self._protocol)
        self._protocol.connection_made(transport)
