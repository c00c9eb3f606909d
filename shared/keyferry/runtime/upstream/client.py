"""The only HTTP client for providers: URL and header checks, body limits and decompression over the transport."""

import functools
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ssl import SSLContext

from yarl import URL

from keyferry.contracts.addresses import AddressPolicy, Network
from keyferry.contracts.origin import STANDARD_PORTS, ForbiddenUrl, Origin, check_url
from keyferry.contracts.text import parse_digits
from keyferry.runtime.upstream.errors import IncompleteResponse, NotSent, NotSentReason
from keyferry.runtime.upstream.guard import Lookup, system_lookup
from keyferry.runtime.upstream.inflate import CannotInflate, Inflater
from keyferry.runtime.upstream.transport import MAX_CONNECTIONS, AiohttpTransport, Reply

_USER_AGENT = "keyferry"
_STREAMED = ("text/event-stream", "application/vnd.amazon.eventstream", "application/x-ndjson")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
"""RFC 9110 section 5.6.2."""
_CONNECTION_HEADERS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers of the connection, which no caller or adapter sets."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each phase of a call may take."""

    connect_seconds: float
    """For name, TCP and TLS together, and for a connection of the pool to become free."""
    first_byte_seconds: float
    """For sending the body, and then for the response's head, however slowly it comes."""
    between_bytes_seconds: float
    """For a pause inside the response's body; framing is no content."""


@dataclass(frozen=True, slots=True)
class ResponseLimits:
    """How large a response may be, decompressed."""

    json_bytes: int = 16 * 1024 * 1024
    stream_bytes: int = 64 * 1024 * 1024


class UpstreamResponse:
    """A response whose head has arrived. `headers` have lower-case names; repeated ones are joined, cookies are left out."""

    __slots__ = ("_limits", "_reply", "headers", "origin", "status")

    def __init__(self, reply: Reply, limits: ResponseLimits) -> None:
        self.origin = reply.origin
        self.status = reply.status
        self.headers: Mapping[str, str] = _decode_headers(reply.headers)
        self._reply = reply
        self._limits = limits

    def aiter_raw(self) -> AsyncIterator[bytes]:
        """Iterate over the body once, in pieces as they arrive, inflated where it was compressed unasked.

        Raises IncompleteResponse.
        """
        streamed = self.headers.get("content-type", "").lower().startswith(_STREAMED)
        limit_bytes = self._limits.stream_bytes if streamed else self._limits.json_bytes
        return _Body(self._reply, limit_bytes, self.headers)


class _Body:
    """An iterator and not a generator: closing a generator that is left early costs the event loop a task."""

    __slots__ = ("_inflater", "_limit_bytes", "_pieces", "_reply", "_returned_bytes")

    def __init__(self, reply: Reply, limit_bytes: int, headers: Mapping[str, str]) -> None:
        self._reply = reply
        self._limit_bytes = limit_bytes
        self._returned_bytes = 0
        self._pieces: Iterator[bytes] = iter(())
        coding = headers.get("content-encoding", "identity")
        try:
            self._inflater = None if coding in ("", "identity") else Inflater(coding)
        except CannotInflate as error:
            raise IncompleteResponse(reply.origin, str(error)) from None
        if (parse_digits(headers.get("content-length", "")) or 0) > limit_bytes:
            raise self._too_large()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            piece = await self._next()
        except CannotInflate as error:
            raise IncompleteResponse(self._reply.origin, str(error)) from None
        self._returned_bytes += len(piece)
        if self._returned_bytes > self._limit_bytes:
            raise self._too_large()
        return piece

    async def _next(self) -> bytes:
        if self._inflater is None:
            if data := await self._reply.read():
                return data
            raise StopAsyncIteration
        while not (piece := next(self._pieces, b"")):
            if self._inflater.ended or not (data := await self._reply.read()):
                self._inflater.close()
                raise StopAsyncIteration
            self._pieces = self._inflater.feed(data)
        return piece

    def _too_large(self) -> IncompleteResponse:
        return IncompleteResponse(self._reply.origin, f"it is larger than {self._limit_bytes} bytes")


class UpstreamClient:
    """Calls providers. Never follows a redirect, keeps no cookie, uses no proxy, and retries nothing.

    `allow` are the operator's networks, for every tenant: only there may an address be private, the scheme http, or the port
    other than 443 and 8443. Opens nothing before the first call. `lookup` and `ssl_context` replace the system's resolver
    and trust store.
    """

    def __init__(
        self,
        allow: tuple[Network, ...] = (),
        *,
        limits: ResponseLimits | None = None,
        max_connections: int = MAX_CONNECTIONS,
        lookup: Lookup = system_lookup,
        ssl_context: SSLContext | None = None,
    ) -> None:
        self._transport = AiohttpTransport(
            AddressPolicy(allow), max_connections=max_connections, lookup=lookup, ssl_context=ssl_context
        )
        self._limits = limits or ResponseLimits()
        self._operator_networks = bool(allow)

    @asynccontextmanager
    async def stream(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes, timeouts: Timeouts
    ) -> AsyncIterator[UpstreamResponse]:
        """Make one call. Raises NotSent and NoResponse on entering; `aiter_raw` raises IncompleteResponse.

        Leaving the block with an error, or by cancellation, closes the connection.
        """
        origin, target = self._target(url)
        reply = await self._transport.send(
            method,
            target,
            origin,
            _check_headers(headers),
            content,
            pool_seconds=timeouts.connect_seconds,
            connect_seconds=timeouts.connect_seconds,
            write_seconds=timeouts.first_byte_seconds,
            read_seconds=timeouts.first_byte_seconds,
            between_seconds=timeouts.between_bytes_seconds,
        )
        linger = False
        try:
            yield UpstreamResponse(reply, self._limits)
            linger = True
        finally:
            reply.close(linger=linger)

    async def close(self) -> None:
        """Close every connection; calls in progress fail."""
        await self._transport.close()

    def _target(self, url: str) -> tuple[Origin, URL]:
        try:
            # A query may hold what should not be kept in memory, nor does it repeat.
            return (_parse if "?" in url else _parse_cached)(url, self._operator_networks)
        except ForbiddenUrl as error:
            raise NotSent(f"the endpoint's URL cannot be called: {error.reason}", NotSentReason.INVALID) from None


def _parse(url: str, operator_networks: bool) -> tuple[Origin, URL]:
    # Where the operator has networks, the connection's address decides about plain HTTP and other ports.
    origin = check_url(url, allow_plain_http=operator_networks, ports=None if operator_networks else STANDARD_PORTS)
    return origin, URL(url, encoded=True)


_parse_cached = functools.lru_cache(maxsize=1024)(_parse)


def _check_headers(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the headers to send. Raises NotSent for one that could end the head early or steer the connection."""
    checked = [("Accept-Encoding", "identity")]
    if not any(name.lower() == "user-agent" for name in headers):
        checked.append(("User-Agent", _USER_AGENT))
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or not (value.isascii() and value.isprintable()):
            raise NotSent("a header has characters that cannot be sent; is the key whole?", NotSentReason.INVALID)
        if name.lower() in _CONNECTION_HEADERS:
            raise NotSent(f"the header {name.lower()} is the gateway's own to set", NotSentReason.INVALID)
        checked.append((name, value))
    return checked


def _decode_headers(raw_headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw_headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name != "set-cookie":
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
