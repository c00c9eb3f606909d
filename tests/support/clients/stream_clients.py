"""Many HTTP clients in one thread that keep every byte: a stream's outcome is derived from these bytes alone.

Nothing between the socket and the judgement repairs or hides anything, and a client can hang up or stop reading at any byte.
"""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

_CHAT = "/v1/chat/completions"
_GIVE_UP_SECONDS = 90.0
"""No client waits for longer than this without an end: far above every deadline that the tests set."""


@dataclass(frozen=True)
class ClientResponse:
    """What one request got back. `status` is 0 when there was no HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes
    closed_well: bool
    """Whether the answer ended as HTTP says, and not with the connection."""
    timed_out: bool = False

    @property
    def request_id(self) -> str:
        return self.headers.get("x-request-id", "")

    @property
    def events(self) -> list[str]:
        """The data of all whole server-sent events."""
        whole, _, _ = self.body.rpartition(b"\n\n")
        lines = whole.decode().split("\n\n")
        return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]

    @property
    def done(self) -> bool:
        """Whether the stream says that it is whole."""
        return "[DONE]" in self.events

    @property
    def error(self) -> dict[str, Any] | None:
        """The error object, of a response or of an error event."""
        if not self._streamed:
            found: dict[str, Any] | None = self._document().get("error")
            return found
        return next((e["error"] for e in map(json.loads, self._chunks()) if e.get("error")), None)

    @property
    def text(self) -> str:
        """The answer's text as far as it came."""
        if not self._streamed:
            return "".join(choice["message"]["content"] for choice in self._document().get("choices", []))
        choices = (choice for event in map(json.loads, self._chunks()) for choice in event.get("choices", []))
        return "".join(choice["delta"].get("content") or "" for choice in choices)

    @property
    def whole(self) -> bool:
        """Whether the client was given to understand that it has the complete answer."""
        complete = self.done if self._streamed else True
        return self.status == 200 and self.closed_well and complete and self.error is None

    @property
    def reported_failure(self) -> bool:
        """Whether the client was notified of a failure: an error status, or an error event and no `[DONE]`."""
        return self.closed_well and self.error is not None and not self.done

    def _document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body) if self.body else {}
        return document

    @property
    def _streamed(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")

    def _chunks(self) -> Iterator[str]:
        return (event for event in self.events if event != "[DONE]")


@dataclass
class Exchange(asyncio.Protocol):
    """One request on a connection of its own. Only `received_bytes` may be read from another thread."""

    request: bytes
    ended: "asyncio.Future[ClientResponse]"
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    cut_after_bytes: int | None = None
    """Hang up once so many bytes of the answer, its head included, have come."""
    received_bytes: int = 0
    _data: bytearray = field(default_factory=bytearray)
    _transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        self.received_bytes = len(self._data)
        if self.cut_after_bytes is not None and self.received_bytes >= self.cut_after_bytes:
            self.hang_up()

    def connection_lost(self, exc: Exception | None) -> None:
        self.end()
        self.closed.set()

    def hang_up(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def end_sending(self) -> None:
        """End the own side of the connection, and go on reading."""
        if self._transport is not None:
            self._transport.write_eof()

    def stop_reading(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def read_on(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def end(self, *, timed_out: bool = False) -> None:
        if not self.ended.done():
            self.ended.set_result(_ending(bytes(self._data), timed_out=timed_out))


@dataclass
class PendingRequest:
    """A request under way."""

    ending: "Future[ClientResponse]"
    _clients: "StreamClients"
    exchange: Exchange | None = None

    def result(self) -> ClientResponse:
        return self.ending.result(_GIVE_UP_SECONDS + 10)

    @property
    def received_bytes(self) -> int:
        return 0 if self.exchange is None else self.exchange.received_bytes

    def hang_up(self) -> None:
        assert self.exchange is not None
        self._clients.loop.call_soon_threadsafe(self.exchange.hang_up)

    def end_sending(self) -> None:
        assert self.exchange is not None
        self._clients.loop.call_soon_threadsafe(self.exchange.end_sending)

    def stop_reading(self) -> None:
        assert self.exchange is not None
        self._clients.loop.call_soon_threadsafe(self.exchange.stop_reading)

    def read_on(self) -> None:
        assert self.exchange is not None
        self._clients.loop.call_soon_threadsafe(self.exchange.read_on)


class StreamClients:
    """Clients of one ingress with one token."""

    def __init__(self, url: str, token: str, give_up_seconds: float) -> None:
        self.loop = asyncio.new_event_loop()
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._host, self._port = parts.hostname, parts.port
        self._token = token
        self._give_up_seconds = give_up_seconds
        self._requests: list[PendingRequest] = []
        self._thread = threading.Thread(target=self.loop.run_forever, name="clients", daemon=True)

    def ask(
        self,
        model: str,
        content: str,
        *,
        stream: bool = True,
        operation: str | None = None,
        cut_after_bytes: int | None = None,
        receive_buffer_bytes: int | None = None,
        token: str | None = None,
    ) -> PendingRequest:
        """Send a chat request. `operation` is kept with the attempt in the ledger; `token` is another than that of all."""
        body = {"model": model, "messages": [{"role": "user", "content": content}], "stream": stream}
        asking = PendingRequest(Future(), self)
        request = self._request(json.dumps(body).encode(), operation, token or self._token)
        work = self._exchange(asking, request, cut_after_bytes, receive_buffer_bytes)
        asyncio.run_coroutine_threadsafe(work, self.loop)
        self._requests.append(asking)
        return asking

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        for asking in self._requests:
            if not asking.ending.done() and asking.exchange is not None:
                asking.hang_up()
                asking.result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    async def _exchange(
        self, asking: PendingRequest, request: bytes, cut_after_bytes: int | None, receive_buffer_bytes: int | None
    ) -> None:
        ended: asyncio.Future[ClientResponse] = self.loop.create_future()
        exchange = Exchange(request, ended, cut_after_bytes=cut_after_bytes)
        try:
            await self.loop.create_connection(lambda: exchange, sock=await self._connected(receive_buffer_bytes))
        except OSError:
            exchange.connection_lost(None)
        asking.exchange = exchange
        timer = self.loop.call_later(self._give_up_seconds, lambda: exchange.end(timed_out=True))
        ending = await ended
        timer.cancel()
        exchange.hang_up()
        await exchange.closed.wait()
        asking.ending.set_result(ending)

    async def _connected(self, receive_buffer_bytes: int | None) -> socket.socket:
        connection = socket.socket()
        connection.setblocking(False)
        try:
            if receive_buffer_bytes is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            await self.loop.sock_connect(connection, (self._host, self._port))
        except OSError:
            connection.close()
            raise
        return connection

    def _request(self, body: bytes, operation: str | None, token: str) -> bytes:
        lines = [
            f"POST {_CHAT} HTTP/1.1",
            f"host: {self._host}:{self._port}",
            f"authorization: Bearer {token}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            "connection: close",
        ]
        if operation is not None:
            lines.append(f"x-operation: {operation}")
        return "\r\n".join([*lines, "", ""]).encode() + body


@contextmanager
def stream_clients(url: str, token: str, give_up_seconds: float = _GIVE_UP_SECONDS) -> Iterator[StreamClients]:
    """Run clients for as long as the block lasts."""
    clients = StreamClients(url, token, give_up_seconds)
    clients.start()
    try:
        yield clients
    finally:
        clients.stop()


def _ending(data: bytes, *, timed_out: bool) -> ClientResponse:
    head, blank, rest = data.partition(b"\r\n\r\n")
    if not blank:
        return ClientResponse(0, {}, b"", closed_well=False, timed_out=timed_out)
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body, whole = _unchunked(rest)
    else:
        body, whole = rest, len(rest) == int(headers.get("content-length", -1))
    return ClientResponse(int(status_line.split()[1]), headers, body, closed_well=whole, timed_out=timed_out)


def _unchunked(data: bytes) -> tuple[bytes, bool]:
    """Return the body of RFC 9112 section 7.1, and whether its last chunk has arrived."""
    parts: list[bytes] = []
    at = 0
    while (line_end := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:line_end], 16)
        if size == 0:
            return b"".join(parts), True
        at = line_end + 2 + size + 2
        parts.append(data[line_end + 2 : at - 2])
    return b"".join(parts), False
