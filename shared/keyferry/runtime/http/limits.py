"""What a client may hold before it is authenticated: the limits of connections, and their count by address. Pure."""

from collections import Counter
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem

MAX_URL_BYTES = 8192
"""What RFC 9112, section 3, recommends to support at least."""
MAX_HEADERS = 100
_IPV6_NETWORK_BYTES = 8
"""A client usually has a /64, so its addresses count as one."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits of the HTTP server for each connection, and for all together."""

    head_bytes: int = 16 * 1024
    """Request line and headers together; also what may arrive while the request before it is being answered."""
    head_timeout_seconds: float = 10.0
    """From the start of the connection, or from the first byte of a further request."""
    idle_timeout_seconds: float = 75.0
    """Between two requests. The default is longer than common load balancers' (60 s), so that they close first."""
    write_timeout_seconds: float = 300.0
    """How long a client that has an answer waiting may take none of it."""
    connections: int = 8192
    connections_per_address: int = 4096
    """0 for no limit."""

    @property
    def check_interval_seconds(self) -> float:
        """How often connections are checked: every second, or more often if a limit is short."""
        shortest = min(self.head_timeout_seconds, self.idle_timeout_seconds, self.write_timeout_seconds)
        return min(1.0, shortest / 4)


class ConnectionCount:
    """The open connections of one server by address, and the number of those refused or closed, by reason."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._by_network: Counter[str] = Counter()
        self.open = 0
        self.ended: Counter[str] = Counter()
        """Connections that the server ended, and requests that it refused unread, by reason."""

    def admit(self, address: str) -> HttpProblem | None:
        """Count a connection of `address`, and return None; or return the answer to it if there are too many."""
        network = network_of(address)
        per_address = self._limits.connections_per_address
        if self.open >= self._limits.connections:
            return _too_many("this gateway has as many connections as it allows; try again")
        if per_address and self._by_network[network] >= per_address:
            return _too_many("your address has as many connections as this gateway allows for one; try again")
        self.open += 1
        self._by_network[network] += 1
        return None

    def release(self, address: str) -> None:
        """Forget a connection that was admitted."""
        network = network_of(address)
        self.open -= 1
        self._by_network[network] -= 1
        if self._by_network[network] <= 0:
            del self._by_network[network]


def network_of(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or the first 64 bits of an IPv6 address."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return parsed.packed[:_IPV6_NETWORK_BYTES].hex()


def _too_many(message: str) -> HttpProblem:
    headers = {"retry-after": "1"}
    return HttpProblem(503, "overloaded_error", "too_many_connections", message, headers=headers)


def head_too_large(limit: int) -> HttpProblem:
    """Return the answer to a head with more bytes than `limit`."""
    message = f"the request's headers are larger than {limit} bytes"
    return HttpProblem(431, INVALID_REQUEST, "headers_too_large", message)


def too_many_headers() -> HttpProblem:
    """Return the answer to a head with more than `MAX_HEADERS` lines."""
    return HttpProblem(431, INVALID_REQUEST, "headers_too_large", f"the request has more than {MAX_HEADERS} headers")


def url_too_long() -> HttpProblem:
    """Return the answer to a URL of more than `MAX_URL_BYTES`."""
    return HttpProblem(414, INVALID_REQUEST, "url_too_long", f"the request's URL is longer than {MAX_URL_BYTES} bytes")


def head_too_slow(timeout_seconds: float) -> HttpProblem:
    """Return the answer to a head that did not arrive in time."""
    message = f"the request's headers did not arrive within {timeout_seconds:g} s"
    return HttpProblem(408, INVALID_REQUEST, "timeout", message)


def unsupported_version() -> HttpProblem:
    """Return the answer to a version of HTTP other than 1.0 and 1.1."""
    message = "this server speaks HTTP/1.1 and HTTP/1.0 only"
    return HttpProblem(505, INVALID_REQUEST, "unsupported_version", message)


def unsupported_transfer_encoding() -> HttpProblem:
    """Return the answer to a transfer coding other than `chunked`, and to any in HTTP/1.0 (RFC 9112, section 6.1)."""
    message = "send the body with Content-Length, or with `Transfer-Encoding: chunked` in HTTP/1.1 and no other coding"
    return HttpProblem(501, INVALID_REQUEST, "unsupported_encoding", message)


def ambiguous_host() -> HttpProblem:
    """Return the answer to an HTTP/1.1 request without a Host header, or to any with several (RFC 9112, section 3.2)."""
    return HttpProblem(400, INVALID_REQUEST, "malformed_request", "send exactly one Host header")


def malformed_request(start: bytes) -> HttpProblem:
    """Return the answer to bytes that are no HTTP request; `start` is where they began."""
    if start.startswith(b"\x16\x03"):
        message = "this port speaks HTTP without TLS: use http:// here, or a proxy that ends TLS in front of it"
    elif start.startswith(b"PRI * HTTP/2"):
        return unsupported_version()
    else:
        message = "that is not a valid HTTP/1.1 request"
    return HttpProblem(400, INVALID_REQUEST, "malformed_request", message)


def oversized_framing() -> HttpProblem:
    """Return the answer to chunk extensions or trailers that never end."""
    message = "the body's chunk extensions or trailers are too large"
    return HttpProblem(400, INVALID_REQUEST, "malformed_request", message)
