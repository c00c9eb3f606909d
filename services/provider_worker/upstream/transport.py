"""The httpx transport interface over aiohttp's connections, with httpx's own meaning of every error.

httpx's native pool costs several times the CPU. Bridges between the two that exist call "the server read the request and
hung up" a connect timeout, on which a gateway would send, and pay, again; here each error says what httpx would have said.
"""

import asyncio
import functools
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final

import aiohttp
import httpx
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from keyferry.contracts.origin import STANDARD_PORTS, Origin, needs_operator
from services.provider_worker.upstream.addresses import AddressPolicy, ForbiddenAddress
from services.provider_worker.upstream.guard import Lookup, guarded_connector, system_lookup

MAX_CONNECTIONS: Final = 4096
_READ_BUFFER_BYTES: Final = 64 * 1024
_WRITE_PIECE_BYTES: Final = 64 * 1024
_MAX_HEADERS: Final = 64
_MAX_HEADER_BYTES: Final = 8 * 1024
_LINGER_SECONDS: Final = 1.0
"""How long an answer that was read far enough may take to end, so that its connection serves again."""

Headers = Iterable[tuple[str, str]]


class NameNotResolved(httpx.ConnectError):
    """The host name has no address."""


class TlsFailed(httpx.ConnectError):
    """No trusted TLS session; the message is the TLS library's reason."""


class AddressForbidden(httpx.ConnectError):
    """The address guard refused the connection; the message is its reason, for the operator's log."""


class Upload(aiohttp.Payload):
    """A request body of bytes, which may stand still for `pause_seconds`, and knows whether it was handed over whole."""

    _autoclose = True

    def __init__(self, content: bytes, pause_seconds: float | None) -> None:
        super().__init__(content)
        self._size = len(content)
        self._pause_seconds = pause_seconds
        self.written = False

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The body as text; part of aiohttp's interface."""
        content: bytes = self._value
        return content.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write in pieces, so that a slow reader holds back the writer. Raises TimeoutError, of which aiohttp has none."""
        content: bytes = self._value
        if len(content) <= _WRITE_PIECE_BYTES:
            await writer.write(content)
        else:
            view = memoryview(content)
            for start in range(0, len(content), _WRITE_PIECE_BYTES):
                async with asyncio.timeout(self._pause_seconds):
                    await writer.write(view[start : start + _WRITE_PIECE_BYTES])
                    await writer.drain()
        self.written = True


class Reply:
    """A response whose head has come. Iterate for its body once; close it in every case."""

    __slots__ = ("_connection_error", "_free", "_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse, free: Callable[[], None]) -> None:
        self.status: int = response.status
        self.headers = response.raw_headers
        self._response = response
        self._free: Callable[[], None] | None = free
        connection = response.connection
        protocol = None if connection is None else connection.protocol
        self._connection_error = None if protocol is None else protocol.exception

    async def read(self) -> bytes:
        """The bytes that have come, decoded by nothing but the transfer coding; empty at the end. Raises httpx's errors."""
        try:
            data = await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise _as_httpx(error) from error
        if not data and self._was_reset():
            raise httpx.ReadError("the connection broke")
        return data

    def _was_reset(self) -> bool:
        """Whether the body's end is only that of its connection, and that a broken one, which aiohttp takes for an end."""
        headers = self._response.headers
        if "Content-Length" in headers or "Transfer-Encoding" in headers or self._connection_error is None:
            return False
        return isinstance(self._connection_error(), aiohttp.ClientOSError)

    def close(self, *, linger: bool = False) -> None:
        """Give the connection back when the body is over, else close it.

        With `linger` the rest may still come: a stream's terminal event is often read just before the end of its body.
        """
        if self._free is None:
            return
        self._free()
        self._free = None
        response = self._response
        if linger and not response.closed:
            asyncio.get_running_loop().call_later(_LINGER_SECONDS, response.close)
        else:
            response.close()


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Connections to upstreams, checked by an address policy, with no cookies, redirects, proxies or headers of its own.

    Plain HTTP and ports outside `ports` only reach addresses in the policy's `allow`. `lookup` and `ssl_context` replace the
    system's resolver and trust store. Opens nothing before the first request.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        *,
        ports: frozenset[int] = STANDARD_PORTS,
        max_connections: int = MAX_CONNECTIONS,
        lookup: Lookup = system_lookup,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._ports = ports
        self._open_session = functools.partial(_new_session, policy, lookup, ssl_context)
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._free = asyncio.Semaphore(max_connections)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """httpx's door. Timeouts come from the request's `timeout` extension. Raises httpx.TransportError."""
        url = request.url
        if url.scheme not in ("http", "https"):
            raise httpx.UnsupportedProtocol("only http and https are supported")
        origin = Origin(url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80))
        try:
            target = URL(str(url), encoded=True)
        except ValueError as error:
            raise _as_httpx(error) from error
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
        times = request.extensions.get("timeout", {})
        reply = await self.send(request.method, target, origin, headers, await request.aread(), **times)
        return httpx.Response(reply.status, headers=reply.headers, stream=_ReplyStream(reply))

    async def send(
        self,
        method: str,
        url: URL,
        origin: Origin,
        headers: Headers,
        content: bytes,
        *,
        connect: float | None = None,
        read: float | None = None,
        write: float | None = None,
        pool: float | None = None,
        between: float | None = None,
    ) -> Reply:
        """Send one request and await the head of its response. Raises httpx.TransportError.

        Same as `handle_async_request` without building httpx's request and response, which costs half as much as sending. Times
        are seconds: `connect` for name, TCP and TLS together, `write` for a pause in sending, `read` for a pause in the
        response, `between` for a pause in its body when that differs; and all of them together for the head.
        """
        await self._take(pool)
        upload = Upload(content, write)
        try:
            session = self._session(needs_operator(origin, self._ports))
            # For heads that drip: aiohttp takes any byte as progress.
            async with asyncio.timeout(_total(connect, write, read)):
                response = await session.request(
                    method,
                    url,
                    headers=headers,
                    data=upload if content else None,
                    allow_redirects=False,
                    timeout=_client_timeout(connect, read),
                )
        except BaseException as error:  # cancellation too gives the place back
            self._free.release()
            if isinstance(error, aiohttp.ClientError | OSError | ValueError):
                raise _as_httpx(error, written=upload.written or not content) from error
            raise
        if between is not None and (connection := response.connection) is not None and connection.protocol is not None:
            connection.protocol.read_timeout = between
            connection.protocol.start_timeout()
        return Reply(response, self._free.release)

    async def aclose(self) -> None:
        """Close all connections; what is under way fails."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    async def _take(self, pool_seconds: float | None) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        try:
            async with asyncio.timeout(pool_seconds):
                await self._free.acquire()
        except TimeoutError:
            raise httpx.PoolTimeout("no connection became free in time") from None

    def _session(self, operator_only: bool) -> aiohttp.ClientSession:
        if (session := self._sessions.get(operator_only)) is None:
            session = self._sessions[operator_only] = self._open_session(operator_only=operator_only)
        return session


class _ReplyStream(httpx.AsyncByteStream):
    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while data := await self._reply.read():
            yield data

    async def aclose(self) -> None:
        self._reply.close()


def _new_session(
    policy: AddressPolicy, lookup: Lookup, ssl_context: ssl.SSLContext | None, *, operator_only: bool
) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=guarded_connector(policy, lookup, ssl_context, operator_only=operator_only),
        # A shared jar would send one tenant's upstream cookie with another tenant's request.
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        auto_decompress=False,
        trust_env=False,
        read_bufsize=_READ_BUFFER_BYTES,
        max_line_size=_MAX_HEADER_BYTES,
        max_field_size=_MAX_HEADER_BYTES,
        max_headers=_MAX_HEADERS,
    )


def _total(*phases_seconds: float | None) -> float | None:
    return sum(phase for phase in phases_seconds if phase is not None) if None not in phases_seconds else None


@functools.lru_cache(maxsize=64)
def _client_timeout(connect_seconds: float | None, read_seconds: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=connect_seconds, sock_read=read_seconds)


_MEANINGS: Final[tuple[tuple[type[Exception], type[httpx.TransportError], str], ...]] = (
    # aiohttp's classes overlap, and each of its timeouts is an OSError: the first that fits is the one.
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout, "connecting took too long"),
    (aiohttp.SocketTimeoutError, httpx.ReadTimeout, "nothing came for too long"),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError, "the server closed the connection"),
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError, "the body ended before it was complete"),
    (aiohttp.ClientResponseError, httpx.RemoteProtocolError, "the answer is not valid HTTP, or its head is too large"),
    (aiohttp.ClientOSError, httpx.ReadError, "the connection broke"),
    (aiohttp.NonHttpUrlClientError, httpx.UnsupportedProtocol, "only http and https are supported"),
    (TimeoutError, httpx.ReadTimeout, "no answer in time"),
    (ValueError, httpx.LocalProtocolError, "the URL or a header cannot be sent"),
)


def _as_httpx(error: Exception, *, written: bool = True) -> httpx.TransportError:
    """The error that httpx's own transport raises for the same event."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return _as_connect_error(error)
    if type(error) is TimeoutError and not written:
        return httpx.WriteTimeout("sending took too long")
    for kind, meaning, message in _MEANINGS:
        if isinstance(error, kind):
            return meaning(message)
    return httpx.WriteError("the connection broke while sending")


def _as_connect_error(error: aiohttp.ClientConnectorError) -> httpx.ConnectError:
    cause = error.os_error
    if isinstance(cause, ForbiddenAddress):
        return AddressForbidden(cause.reason)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return NameNotResolved("the host name has no address")
    if isinstance(error, aiohttp.ClientSSLError):
        reason = cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else cause.strerror
        return TlsFailed(reason or "no TLS session")
    # Not the error's own text, in which asyncio puts the address.
    return httpx.ConnectError(os.strerror(cause.errno) if cause.errno else "no connection")
