"""How answers are written: a transport that counts what it was given and lets its connection decide how to close."""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from keyferry.runtime.http.asgi import Message, Send

_LINGER_NOT = struct.pack("ii", 1, 0)
"""A socket with this option is reset by its close (socket(7), SO_LINGER)."""


class CountedTransport(asyncio.Transport):
    """Passes everything on to `inner`, except `close`, which calls `on_close`."""

    def __init__(self, inner: asyncio.Transport, on_close: Callable[[], None]) -> None:
        super().__init__()
        self.inner = inner
        self.closing = False
        """Whether nothing more will be written; `inner` may still be open for a while."""
        self._on_close = on_close
        self._given_bytes = 0

    @property
    def waiting_bytes(self) -> int:
        """How much of what was written the kernel has not accepted yet."""
        return self.inner.get_write_buffer_size()

    @property
    def taken_bytes(self) -> int:
        """How much of what was written the kernel has accepted."""
        return self._given_bytes - self.waiting_bytes

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write `data`, or buffer it while the client does not read."""
        self._given_bytes += len(data)
        self.inner.write(data)

    def close(self) -> None:
        """Close the connection in the way that its owner chooses."""
        if not self.closing:
            self.closing = True
            self._on_close()

    def is_closing(self) -> bool:
        """Return whether the connection is closed or being closed."""
        return self.closing or self.inner.is_closing()

    def abort(self) -> None:
        """Close at once, and forget what was not written."""
        self.closing = True
        self.inner.abort()

    def reset(self) -> None:
        """Close at once, and have the kernel forget what it has not delivered; megabytes may wait in its buffer."""
        connection: socket.socket | None = self.inner.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self.abort()

    def pause_reading(self) -> None:
        """Stop reading."""
        self.inner.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self.inner.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the socket."""
        return self.inner.get_extra_info(name, default)


def send_without_chunks(cycle: RequestResponseCycle) -> Send:
    """Return a `send` for HTTP/1.0, which has no chunks: a body ends with its connection (RFC 9112, section 6.1)."""

    async def send(message: Message) -> None:
        cycle.chunked_encoding = False
        cycle.expected_content_length = len(message.get("body", b""))
        await cycle.send(message)  # type: ignore[arg-type]

    return send
