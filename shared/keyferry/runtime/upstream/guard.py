"""Connects only to addresses that the policy allows, and to the very address that was checked."""

import asyncio
import functools
import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from ssl import SSLContext

import aiohttp
from aiohappyeyeballs import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler

from keyferry.contracts.addresses import AddressPolicy
from keyferry.runtime.upstream.response_protocol import ResponseProtocol

Lookup = Callable[[str, int], Awaitable[list[str]]]
"""The numeric addresses of a host name. Raises OSError when there are none."""

_DNS_CACHE_SECONDS = 10
_DNS_CACHE_NAMES = 1000
_KEEP_ALIVE_SECONDS = 30.0


async def system_lookup(host: str, port: int) -> list[str]:
    """Resolve a name with the system's resolver, without blocking the event loop. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )
    return [str(sockaddr[0]) for *_, sockaddr in found]


class GuardedResolver(AbstractResolver):
    """Resolves a name once per connection, and rejects the name if any of its addresses is forbidden.

    A forbidden address among allowed ones is a sign of DNS rebinding, so the allowed ones are not used either.
    """

    def __init__(self, policy: AddressPolicy, lookup: Lookup, *, operator_only: bool) -> None:
        self._policy = policy
        self._lookup = lookup
        self._operator_only = operator_only

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return numeric addresses. Raises ForbiddenAddress, and OSError if the name has none."""
        found = [ip_address(text) for text in dict.fromkeys(await self._lookup(host, port))]
        if not found:
            raise OSError(f"{host} has no address")
        for address in found:
            self._policy.check(address, operator_only=self._operator_only)
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in found
        ]

    async def close(self) -> None:
        """Do nothing; there is nothing to release."""


def make_guarded_connector(
    policy: AddressPolicy, lookup: Lookup, ssl_context: SSLContext | None, *, operator_only: bool
) -> aiohttp.TCPConnector:
    """Return a connection pool that checks every address when its socket is made. Needs a running event loop.

    IP literals never reach a resolver, but they too need a socket.
    """

    def make_checked_socket(info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, sockaddr = info
        policy.check(ip_address(sockaddr[0]), operator_only=operator_only)
        return socket.socket(family, kind, protocol)

    connector = aiohttp.TCPConnector(
        limit=0,
        keepalive_timeout=_KEEP_ALIVE_SECONDS,
        resolver=GuardedResolver(policy, lookup, operator_only=operator_only),
        ttl_dns_cache=_DNS_CACHE_SECONDS,
        dns_cache_max_size=_DNS_CACHE_NAMES,
        socket_factory=make_checked_socket,
        ssl=True if ssl_context is None else ssl_context,
    )
    # aiohttp has no setting for the class of its protocol.
    make_protocol: Callable[..., ResponseHandler] = ResponseProtocol
    connector._factory = functools.partial(make_protocol, connector._loop)
    return connector
