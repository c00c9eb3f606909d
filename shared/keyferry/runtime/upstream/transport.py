"""HTTP exchanges over aiohttp's connection pool; every aiohttp error is translated here, once, into one of `errors`.

What a caller needs to know of a failure is whether the provider may have charged for the request. aiohttp's classes do not say
so by themselves: a server that read the request and hung up must never look like one that could not be reached.
"""

import asyncio
import functools
import logging
import os
import ssl
from collections.abc import Callable, Iterable
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from keyferry.contracts.addresses import AddressPolicy, ForbiddenAddress
from keyferry.contracts.origin import STANDARD_PORTS, Origin, needs_operator
from keyferry.runtime.upstream.errors import IncompleteResponse, NoResponse, NotSent, NotSentReason
from keyferry.runtime.upstream.guard import Lookup, make_guarded_connector, system_lookup
from keyferry.runtime.upstream.response_protocol import ResponseProtocol

_log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 4096
_READ_BUFFER_BYTES: Final = 64 * 1024
_WRITE_PIECE_BYTES: Final = 64 * 1024
_MAX_HEADERS: Final = 64
_MAX_HEADER_BYTES: Final = 8 * 1024
_LINGER_SECONDS: Final = 1.0
"""How long a response that was read far enough may take to end, so that its connection can be reused."""

Headers = Iterable[tuple[str, str]]


class Upload(aiohttp.Payload):
    """A request body of bytes. One write may stall for `pause_seconds`; `written` says whether all of it was handed over.

    `on_written` is called then.
    """

    _autoclose = True

    def __init__(self, content: bytes, pause_seconds: float | None, on_written: Callable[[], None]) -> None:
        super().__init__(content)
        self._on_written = on_written
        self._size = len(content)
        self._pause_seconds = pause_seconds
        self.written = False

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the body as text; part of aiohttp's interface."""
        content: bytes = self._value
        return content.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write in pieces, so that a slow reader holds back the writer. Raises TimeoutError, which aiohttp has no setting for."""
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
        self._on_written()


class HeadDeadline:
    """The moment by which the head has to be complete: for heads that drip, since aiohttp takes any byte as progress.

    First `sending_seconds` from now, then `head_seconds` from when the request was sent. Null is no limit.
    """

    def __init__(self, sending_seconds: float | None, head_seconds: float | None) -> None:
        self._timeout = asyncio.timeout(sending_seconds)
        self._head_seconds = head_seconds

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *error: Any) -> None:
        self._head_seconds = None
        await self._timeout.__aexit__(*error)

    def sent(self) -> None:
        """Begin the time of the head."""
        # The head may have come before the body was sent; then nothing is limited any more.
        if self._head_seconds is not None and not self._timeout.expired():
            self._timeout.reschedule(asyncio.get_running_loop().time() + self._head_seconds)


class Reply:
    """A response whose head has arrived. Read its body once; close it in every case."""

    __slots__ = ("_broken", "_free", "_lingering", "_protocol", "_response", "headers", "origin", "status")

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        origin: str,
        free: Callable[[], None],
        lingering: set[aiohttp.ClientResponse],
    ) -> None:
        self.origin = origin
        self.status: int = response.status
        self.headers = response.raw_headers
        self._response = response
        self._broken = False
        self._lingering = lingering
        self._free: Callable[[], None] | None = free
        connection = response.connection
        self._protocol = None if connection is None else connection.protocol

    async def read(self) -> bytes:
        """Return the bytes that have arrived, with only the transfer coding removed; empty at the end.

        Raises IncompleteResponse.
        """
        content = self._response.content
        try:
            data = await content.readany()
        except (aiohttp.ClientError, OSError) as error:
            # aiohttp raises before it returns what had arrived.
            if data := content._read_nowait(-1):
                return data
            raise self._incomplete(_detail(error), timed_out=isinstance(error, TimeoutError)) from None
        if not data and isinstance(self._protocol, ResponseProtocol) and self._protocol.broken_body is content:
            raise self._incomplete("its framing is not valid HTTP")
        if not data and self._was_reset():
            raise self._incomplete(_BROKEN_CONNECTION)
        return data

    def _incomplete(self, detail: str, *, timed_out: bool = False) -> IncompleteResponse:
        self._broken = True
        return IncompleteResponse(
            self.origin, "nothing more came for too long" if timed_out else detail, timed_out=timed_out
        )

    def _was_reset(self) -> bool:
        """Return whether the body ended because its connection was reset, which aiohttp takes for a regular end."""
        headers = self._response.headers
        if "Content-Length" in headers or "Transfer-Encoding" in headers or self._protocol is None:
            return False
        return isinstance(self._protocol.exception(), aiohttp.ClientOSError)

    def close(self, *, linger: bool = False) -> None:
        """Return the connection to the pool when the body is over, else close it.

        With `linger` the rest may still arrive: a stream's terminal event is often read just before the end of its body.
        """
        if self._free is None:
            return
        self._free()
        self._free = None
        response = self._response
        if linger and not self._broken and not response.closed:
            self._lingering.add(response)
            asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._end_lingering)
        else:
            response.close()

    def _end_lingering(self) -> None:
        self._lingering.discard(self._response)
        self._response.close()


class AiohttpTransport:
    """Connections to providers, checked by an address policy, with no cookies, redirects, proxies or headers of its own.

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
        self._lingering: set[aiohttp.ClientResponse] = set()
        """Responses that were read far enough, and may still end by themselves."""

    async def send(
        self,
        method: str,
        url: URL,
        origin: Origin,
        headers: Headers,
        content: bytes,
        *,
        pool_seconds: float | None = None,
        connect_seconds: float | None = None,
        write_seconds: float | None = None,
        read_seconds: float | None = None,
        between_seconds: float | None = None,
    ) -> Reply:
        """Send one request and await the head of its response. Raises NotSent and NoResponse.

        `pool_seconds` limit the wait for a free connection, `connect_seconds` name, TCP and TLS together, `write_seconds` a pause
        in sending and, with `connect_seconds`, all of it; `read_seconds` the time from then to the end of the head,
        `between_seconds` a pause in the body if that differs.
        """
        await self._acquire(pool_seconds)
        sending_seconds = _total(connect_seconds, write_seconds if content else read_seconds)
        head = HeadDeadline(sending_seconds, read_seconds)
        upload = Upload(content, write_seconds, head.sent)
        try:
            session = self._session(needs_operator(origin, self._ports))
            async with head:
                response = await session.request(
                    method,
                    url,
                    headers=headers,
                    data=upload if content else None,
                    allow_redirects=False,
                    timeout=_client_timeout(connect_seconds),
                )
        except BaseException as error:  # cancellation, too, has to free the connection's place
            self._free.release()
            if isinstance(error, aiohttp.ClientError | OSError | ValueError):
                raise _send_error(error, origin, written=upload.written or not content) from None
            raise
        connection = response.connection
        if connection is not None and connection.protocol is not None:  # the body is still to come
            connection.protocol.read_timeout = read_seconds if between_seconds is None else between_seconds
            connection.protocol.start_timeout()
        return Reply(response, str(origin), self._free.release, self._lingering)

    async def close(self) -> None:
        """Close all connections; calls in progress fail."""
        for response in self._lingering:
            response.close()
        self._lingering.clear()
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    async def _acquire(self, pool_seconds: float | None) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        try:
            async with asyncio.timeout(pool_seconds):
                await self._free.acquire()
        except TimeoutError:
            message = "all of this worker's connections are in use; try again"
            raise NotSent(message, NotSentReason.POOL) from None

    def _session(self, operator_only: bool) -> aiohttp.ClientSession:
        if (session := self._sessions.get(operator_only)) is None:
            session = self._sessions[operator_only] = self._open_session(operator_only=operator_only)
        return session


def _new_session(
    policy: AddressPolicy, lookup: Lookup, ssl_context: ssl.SSLContext | None, *, operator_only: bool
) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=make_guarded_connector(policy, lookup, ssl_context, operator_only=operator_only),
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
def _client_timeout(connect_seconds: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=connect_seconds)


_BROKEN_CONNECTION: Final = "the connection broke"
_DETAILS: Final[tuple[tuple[type[Exception], str], ...]] = (
    # aiohttp's classes overlap, and each of its timeouts is an OSError: the first that fits counts.
    (aiohttp.SocketTimeoutError, "nothing came for too long"),
    (aiohttp.ServerDisconnectedError, "the server closed the connection"),
    (aiohttp.ClientPayloadError, "the body ended before it was complete"),
    (aiohttp.ClientResponseError, "the answer is not valid HTTP, or its head is too large"),
    (aiohttp.ClientOSError, _BROKEN_CONNECTION),
    (TimeoutError, "no answer in time"),
)


def _detail(error: Exception) -> str:
    """Describe an error of an exchange that had begun. Not by the error's own text, which may hold the address or the URL."""
    return next((detail for kind, detail in _DETAILS if isinstance(error, kind)), "the connection broke while sending")


def _send_error(error: Exception, origin: Origin, *, written: bool) -> NotSent | NoResponse:
    """Translate what ended a request before its response began."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return _connect_error(error, origin)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return NotSent(f"{origin} did not take a connection in time", NotSentReason.CONNECT_TIMEOUT)
    if isinstance(error, aiohttp.NonHttpUrlClientError):
        return NotSent("the request cannot be sent: only http and https are supported", NotSentReason.INVALID)
    if isinstance(error, ValueError):
        return NotSent("the request cannot be sent: the URL or a header cannot be sent", NotSentReason.INVALID)
    if type(error) is TimeoutError and not written:
        return NoResponse(str(origin), "sending took too long", timed_out=True)
    return NoResponse(str(origin), _detail(error), timed_out=isinstance(error, TimeoutError))


def _connect_error(error: aiohttp.ClientConnectorError, origin: Origin) -> NotSent:
    cause = error.os_error
    if isinstance(cause, ForbiddenAddress):
        # What a name resolves to inside is for the operator's log only.
        _log.warning("refused to connect to a forbidden address", extra={"origin": str(origin), "why": cause.reason})
        return NotSent(
            f"{origin} is at an address that this gateway does not call; its operator can allow the network "
            "(KEYFERRY_EGRESS_ALLOW)",
            NotSentReason.FORBIDDEN,
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return NotSent(f"the host of {origin} has no address; check the endpoint's URL", NotSentReason.NAME)
    if isinstance(error, aiohttp.ClientSSLError):
        reason = cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else cause.strerror
        return NotSent(f"no trusted TLS connection to {origin}: {reason or 'no TLS session'}", NotSentReason.TLS)
    # Not the error's own text, in which asyncio puts the address.
    detail = os.strerror(cause.errno) if cause.errno else "no connection"
    return NotSent(f"could not connect to {origin}: {detail}", NotSentReason.CONNECT)
