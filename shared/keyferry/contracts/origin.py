"""The origin of a URL, and the check that a URL is unambiguous enough to be called.

A provider key belongs to one origin (RFC 6454: scheme, host and port), so every service has to parse a URL alike: the vault
when the key is added, the router when it builds a plan, the worker when it makes the call. Pure.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

STANDARD_PORTS = frozenset({443, 8443})
"""The ports that may be called on any public address."""

MAX_URL_CHARACTERS = 8192
_MAX_HOST_CHARACTERS = 253
_DEFAULT_PORTS = {"https": 443, "http": 80}


class ForbiddenUrl(ValueError):
    """A URL that must not be called. `reason` can be shown to the user: it repeats no part of the URL but its port."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Origin:
    """The scheme, host and port of a URL; the host in lower case, an IPv6 host without its brackets."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        """Return the serialization of RFC 6454, with the port only where it is not the scheme's default."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}")


_URL = re.compile(
    r"(?P<scheme>[A-Za-z]+)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?(?:\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?",
    re.ASCII,
)
"""RFC 3986 without user information and fragments, which an upstream URL must not have."""
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
"""What resolvers parse as part of an IPv4 address: https://url.spec.whatwg.org/#ends-in-a-number-checker"""


def check_url(url: str, *, allow_plain_http: bool, ports: frozenset[int] | None = STANDARD_PORTS) -> Origin:
    """Return the origin of an absolute URL that every parser reads alike. Raises ForbiddenUrl.

    `ports` are the allowed ports; None allows all, for a connector that checks the address instead.
    """
    if len(url) > MAX_URL_CHARACTERS:
        raise ForbiddenUrl(f"it is longer than {MAX_URL_CHARACTERS} characters")
    if (match := _URL.fullmatch(url)) is None:
        raise ForbiddenUrl(
            "it must read https://host/path in plain ASCII, without user name, password, fragment, spaces or backslashes"
        )
    scheme = match["scheme"].lower()
    if scheme != "https" and not (scheme == "http" and allow_plain_http):
        raise ForbiddenUrl(
            "it must start with https://; http:// is only for networks that the operator allows (KEYFERRY_EGRESS_ALLOW)"
        )
    port = int(match["port"] or _DEFAULT_PORTS[scheme])
    if port > 65535:
        raise ForbiddenUrl("its port is above 65535")
    if ports is not None and port not in ports:
        usual = ", ".join(map(str, sorted(ports)))
        raise ForbiddenUrl(
            f"port {port} is only for networks that the operator allows (KEYFERRY_EGRESS_ALLOW); others are {usual}"
        )
    return Origin(scheme, _host(match["host"].lower()), port)


@lru_cache(maxsize=4096)
def cached_origin(url: str) -> str | None:
    """Return the origin of a URL that some policy already allowed to be called; None if it has none."""
    try:
        return str(check_url(url, allow_plain_http=True, ports=None))
    except ForbiddenUrl:
        return None


def may_hold_a_secret(url: str) -> bool:
    """Return whether a base URL has a part in which secrets are passed: user information, a query or a fragment.

    For clients, which reject such a URL before it crosses the bus.
    """
    authority = url.rpartition("://")[2].partition("/")[0]
    return "@" in authority or "?" in url or "#" in url


def needs_operator(origin: Origin, ports: frozenset[int] = STANDARD_PORTS) -> bool:
    """Return whether the operator must allow the address: the scheme is plain http, or the port is unusual."""
    return origin.scheme != "https" or origin.port not in ports


def _host(text: str) -> str:
    if text.startswith("["):
        return _canonical(text[1:-1], IPv6Address)
    labels = text.split(".")
    if _NUMERIC.fullmatch(labels[-1]):
        # Only one spelling of an IPv4 address: parsers disagree about octal, hexadecimal, short and undotted forms.
        return _canonical(text, IPv4Address)
    if len(text) > _MAX_HOST_CHARACTERS or not all(map(_LABEL.fullmatch, labels)):
        raise ForbiddenUrl("its host is not a host name")
    return text


def _canonical(text: str, kind: type[IPv4Address] | type[IPv6Address]) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        address = None
    if not isinstance(address, kind):
        raise ForbiddenUrl("its host is a number that is not an IP address in its usual form")
    return str(address)
