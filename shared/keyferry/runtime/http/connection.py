"""One client connection: uvicorn's protocol with limits on what a client can make the server hold or do.

Heads are limited in bytes, lines and time. One request is handled at a time: what arrives during an answer stays unparsed, and
reading stops. A body is read once the application asks for it, thus after authentication. An answer that nobody reads ends the
connection. A client that ends its side after a whole request may only have nothing more to send, or be gone: the application
is notified that it is gone, and what it answers all the same is sent. What a client sends before its refusal is read and
discarded for a moment, since closing a socket with unread bytes resets it and the client would lose the answer (RFC 9112,
section 9.6).
"""

import asyncio
from enum import Enum, auto
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from keyferry.runtime.http import limits as refusals
from keyferry.runtime.http.asgi import Message, Receive, Scope, Send
from keyferry.runtime.http.body_parser import parser_of_body
from keyferry.runtime.http.limits import MAX_HEADERS, MAX_URL_BYTES, ConnectionCount, ConnectionLimits
from keyferry.runtime.http.problem import HttpProblem
from keyferry.runtime.http.refusal import render_response
from keyferry.runtime.http.transport import CountedTransport, send_without_chunks

_END_OF_HEAD = b"\r\n\r\n"
_MAX_FRAMING_BYTES = 16 * 1024
"""Chunk extensions and trailers between two pieces of a chunked body."""
_LINGER_SECONDS = 2.0
"""For what a client is still sending when the server wants to close."""
_LINGER_BYTES = 8 * 1024 * 1024
"""More than any body that is accepted: a client that sends its whole body before it reads gets its refusal."""
_LEAST_PROGRESS_BYTES = 16 * 1024
"""What a client takes of a waiting answer within the write timeout, unless it takes all."""


class ReadPhase(Enum):
    """What the next bytes from the client are."""

    IDLE = auto()
    """The first of a head."""
    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    """Of a further request, while this one is being answered."""


class _StopParsing(Exception):
    """Raised inside a callback of the parser, which has no other way to stop it."""


class GuardedConfig(uvicorn.Config):
    """uvicorn's configuration, with what all connections of one server share."""

    limits: ConnectionLimits
    count: ConnectionCount
    guarded: "set[ClientConnection]"
    draining: bool = False
    """Whether each connection ends after its next answer."""


class ClientConnection(HttpToolsProtocol):
    """Parses requests and starts the application for each, within the limits of its server."""

    config: GuardedConfig
    transport: CountedTransport

    def __init__(
        self,
        config: GuardedConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._served_app = self.app
        self.app = self._serve
        self._limits = config.limits
        self._count = config.count
        self._address: str | None = None
        self._phase = ReadPhase.IDLE
        self._deadline: float | None = None
        self._head_bytes = 0
        self._head_tail = b""
        self._head_start = b""
        self._body_bytes_left: int | None = None
        self._framing_bytes = 0
        self._pending = b""
        self._overrun = False
        self._half_closed = False
        self._may_keep_alive = not config.draining
        self._refusal: HttpProblem | None = None
        self._discarded_bytes = 0
        self._stalled_since = 0.0
        self._taken_bytes_then = -1

    # --- the transport's side

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Admit the connection, or answer it with 503 and close it."""
        super().connection_made(CountedTransport(transport, self._close))
        address = self.client[0] if self.client else ""
        problem = self._count.admit(address)
        if problem is not None:
            self._refuse(problem)
            return
        self._address = address
        self.config.guarded.add(self)
        self._deadline = self.loop.time() + self._limits.head_timeout_seconds

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, and let the application know."""
        if self._address is not None:
            self._count.release(self._address)
            self._address = None
        self.config.guarded.discard(self)
        self._pending = b""
        self.transport.closing = True
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse `data`, keep it for later, or discard it."""
        if self.transport.is_closing():
            self._discarded_bytes += len(data)
            if self._discarded_bytes > _LINGER_BYTES:
                self.transport.abort()
        elif self._phase is ReadPhase.ANSWER:
            self._keep(data)
        else:
            self._feed(data)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the own side open for the answer to a whole request; return whether there is one."""
        if self.transport.is_closing() or self._phase is not ReadPhase.ANSWER or self.scheme == "https":
            return False  # event loops end both sides of a TLS connection together
        self._half_closed = True
        if not self._pending and not self.cycle.response_started:
            self.cycle.keep_alive = False
        self.cycle.message_event.set()
        return True

    def shutdown(self) -> None:
        """Close after the answer in progress, and at once if there is none, unless a request is just arriving.

        A client that has sent nothing yet is about to: hardly any connects earlier than it asks.
        """
        self._may_keep_alive = False
        arriving = self._phase is ReadPhase.HEAD or (self._phase is ReadPhase.IDLE and self.cycle is None)
        if arriving and self._deadline is not None:
            self._deadline = min(self._deadline, self.loop.time() + _LINGER_SECONDS)
        else:
            super().shutdown()

    def check(self, now: float) -> None:
        """End the connection if a time limit has passed; `now` is the event loop's time, in seconds."""
        if self._deadline is not None and now >= self._deadline:
            self._time_out()
        if self.transport.waiting_bytes == 0:
            self._taken_bytes_then = -1
            return
        taken = self.transport.taken_bytes
        if self._taken_bytes_then < 0 or taken - self._taken_bytes_then >= _LEAST_PROGRESS_BYTES:
            self._stalled_since, self._taken_bytes_then = now, taken
        elif now - self._stalled_since >= self._limits.write_timeout_seconds:
            self._count.ended["answer_not_read"] += 1
            self.transport.reset()

    def _time_out(self) -> None:
        self._deadline = None
        if self.transport.closing:
            self.transport.abort()
        elif self._phase is ReadPhase.HEAD:
            self._refuse(refusals.head_too_slow(self._limits.head_timeout_seconds))
        else:
            self._count.ended["idle"] += 1
            self.transport.close()

    def _close(self) -> None:
        """Close; if the client may still be sending, end only the own side first, and discard what arrives."""
        inner = self.transport.inner
        self._deadline = None
        if inner.is_closing():
            return
        unread = self._phase is ReadPhase.BODY or self._pending or self._overrun or self._refusal is not None
        if not unread or self._address is None or not inner.can_write_eof():
            inner.close()
            return
        self._pending = b""
        self._deadline = self.loop.time() + _LINGER_SECONDS
        inner.write_eof()
        self.flow.resume_reading()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application for one request; when its client has ended its side, `receive` says so after the body."""
        body_given = False

        async def receive_until_end() -> Message:
            nonlocal body_given
            if not (body_given and self._half_closed):
                message = await receive()
                if not (body_given and self._half_closed):
                    body_given = not message.get("more_body", False)
                    return message
            return {"type": "http.disconnect"}

        cycle: RequestResponseCycle = self.cycle
        if scope["http_version"] == "1.0":
            send = send_without_chunks(cycle)
        await self._served_app(scope, receive_until_end, send)
        if self._half_closed and not cycle.response_complete:
            cycle.disconnected = True
            self.transport.close()

    # --- from bytes to the parser

    def _feed(self, data: bytes) -> None:
        began = self._phase
        try:
            while data and not self.transport.closing:
                if self._phase is ReadPhase.BODY:
                    data = self._feed_body(data)
                elif self._phase is ReadPhase.ANSWER:
                    self._keep(data)
                    break
                else:
                    data = self._feed_head(data)
        except httptools.HttpParserError:
            if not self._overrun:
                self._refuse(self._refusal or refusals.malformed_request(self._head_start))
        if self._phase is ReadPhase.BODY and began is not ReadPhase.BODY and not self.transport.closing:
            self.flow.pause_reading()  # until the application asks for the body

    def _feed_head(self, data: bytes) -> bytes:
        """Give the parser the rest of a head, and return what follows it."""
        if self._phase is ReadPhase.IDLE:
            self._begin_head(data)
        window = self._head_tail + data
        found = window.find(_END_OF_HEAD)
        end = len(data) if found < 0 else found + len(_END_OF_HEAD) - len(self._head_tail)
        self._head_bytes += end
        if self._head_bytes > self._limits.head_bytes:
            self._refuse(refusals.head_too_large(self._limits.head_bytes))
            return b""
        self._head_tail = window[1 - len(_END_OF_HEAD) :] if found < 0 else b""
        try:
            self.parser.feed_data(data[:end])
        except httptools.HttpParserUpgrade:  # the request is answered without one, and closes the connection
            if self._phase is ReadPhase.BODY:
                self.parser = parser_of_body(self, self._body_bytes_left)
        return data[end:]

    def _begin_head(self, data: bytes) -> None:
        self._phase = ReadPhase.HEAD
        self._head_bytes = 0
        self._head_tail = b""
        self._head_start = data[:16]
        if self.cycle is not None:  # the first head's time began with the connection
            self._deadline = self.loop.time() + self._limits.head_timeout_seconds

    def _feed_body(self, data: bytes) -> bytes:
        """Give the parser some of a body, and return what follows."""
        if self._body_bytes_left is not None:
            part = data[: self._body_bytes_left]
            self._body_bytes_left -= len(part)
        else:
            part = data[:_MAX_FRAMING_BYTES]
            self._framing_bytes += len(part)
        self.parser.feed_data(part)
        if self._framing_bytes > _MAX_FRAMING_BYTES:
            self._refuse(refusals.oversized_framing())
        return data[len(part) :]

    def _keep(self, data: bytes) -> None:
        """Keep the beginning of a further request until this one is answered; give up if it is long."""
        self.flow.pause_reading()
        if self._overrun:
            return
        self._pending += data
        if len(self._pending) > self._limits.head_bytes:
            self._stop_after_answer()

    def _stop_after_answer(self) -> None:
        self._pending = b""
        self._overrun = True
        self._may_keep_alive = False
        self.cycle.keep_alive = False

    # --- the parser's callbacks

    def on_message_begin(self) -> None:
        """Begin a request; refuse to, where the previous one is not answered."""
        if self._phase is not ReadPhase.HEAD:
            # Only behind a chunked body, whose end is known by the parser alone.
            self._stop_after_answer()
            raise _StopParsing
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Collect the URL."""
        super().on_url(url)
        if len(self.url) > MAX_URL_BYTES:
            self._stop(refusals.url_too_long())

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header. Trailers of a chunked body are ignored."""
        if self._phase is not ReadPhase.HEAD:
            return
        if len(self.headers) >= MAX_HEADERS:
            self._stop(refusals.too_many_headers())
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the application."""
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1"):
            self._stop(refusals.unsupported_version())
        self._body_bytes_left = 0
        hosts = 0
        for name, value in self.headers:
            if name == b"host":
                hosts += 1
            elif name == b"content-length":
                self._body_bytes_left = int(value)
            elif name == b"transfer-encoding":
                self._body_bytes_left = None
                if version == "1.0" or value.strip().lower() != b"chunked":
                    self._stop(refusals.unsupported_transfer_encoding())
        if hosts > 1 or (hosts == 0 and version == "1.1"):
            self._stop(refusals.ambiguous_host())
        self.expect_100_continue = self.expect_100_continue and version == "1.1"
        super().on_headers_complete()
        self._phase = ReadPhase.BODY
        self._deadline = None
        self._framing_bytes = 0
        self._may_keep_alive = self._may_keep_alive and self.cycle.keep_alive and not self.parser.should_upgrade()
        self.cycle.keep_alive = False  # until the whole request has arrived

    def on_body(self, body: bytes) -> None:
        """Pass on a piece of the body."""
        self._framing_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request, whose answer may still be in progress."""
        if self.parser.should_upgrade() and self._body_bytes_left != 0:
            return  # only its head, which asks for an upgrade
        self._phase = ReadPhase.ANSWER
        if not self.cycle.response_started:
            self.cycle.keep_alive = self._may_keep_alive
        super().on_message_complete()
        self.flow.resume_reading()  # to notice that the client closes the connection

    def on_response_complete(self) -> None:
        """Take the next request."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self._phase = ReadPhase.IDLE
        self._deadline = self.loop.time() + self._limits.idle_timeout_seconds
        data, self._pending = self._pending, b""
        self.flow.resume_reading()
        if data:
            self._feed(data)
        if self._half_closed and self._phase is not ReadPhase.ANSWER:
            self.transport.close()

    # --- refusals

    def _stop(self, problem: HttpProblem) -> None:
        """Leave the parser, and refuse the request. Raises _StopParsing."""
        self._refusal = problem
        raise _StopParsing

    def _refuse(self, problem: HttpProblem) -> None:
        """Answer with `problem` unless an answer has begun, end the application's request, and close."""
        self._refusal = problem
        self._count.ended[problem.code] += 1
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
            begun = cycle.response_started
        else:
            begun = False
        if not begun:
            self.transport.write(render_response(problem))
        self.transport.close()
