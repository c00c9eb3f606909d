"""Which addresses an upstream call may connect to.

An address is checked when it is connected to. Checking a name's addresses earlier would be of no use against a name server that
answers differently the second time. Pure.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from keyferry.contracts.origin import STANDARD_PORTS, ForbiddenUrl, Origin, check_url, needs_operator

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_FORBIDDEN_V4: tuple[tuple[IPv4Network, str], ...] = tuple(
    (IPv4Network(network), reason)
    for network, reason in (
        # IANA IPv4 Special-Purpose Address Registry, multicast and class E. `ipaddress.is_global` is not used: it calls
        # several of these global, and its answers differ between Python versions.
        ("0.0.0.0/8", "this host"),
        ("10.0.0.0/8", "private network"),
        ("100.64.0.0/10", "shared address space"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local, cloud metadata"),
        ("172.16.0.0/12", "private network"),
        ("192.0.0.0/24", "protocol assignments, cloud metadata"),
        ("192.0.2.0/24", "documentation"),
        ("192.31.196.0/24", "AS112 sink"),
        ("192.52.193.0/24", "multicast tunnelling"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private network"),
        ("192.175.48.0/24", "AS112 sink"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/3", "multicast, reserved or broadcast"),
        # Public by the registry, and the host agent of every virtual machine of one large cloud.
        ("168.63.129.16/32", "cloud host services"),
    )
)
_GLOBAL_V6 = IPv6Network("2000::/3")
"""IANA's range for global unicast; everything outside is loopback, local, multicast, translated or unassigned."""
_FORBIDDEN_V6: tuple[tuple[IPv6Network, str], ...] = tuple(
    (IPv6Network(network), reason)
    for network, reason in (
        ("2001::/23", "protocol assignments, Teredo"),
        ("2001:db8::/32", "documentation"),
        ("2620:4f:8000::/48", "AS112 sink"),
        ("3fff::/20", "documentation"),
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are an IPv4 address."""
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
"""RFC 8215: each network chooses where the IPv4 address is embedded, so it cannot be checked."""
_SIX_TO_FOUR = IPv6Network("2002::/16")
"""RFC 3056: the 32 bits after the prefix are an IPv4 address."""


class ForbiddenAddress(PermissionError):
    """An address that must not be connected to. `reason` is for the operator's log, as it reveals what a name resolves to."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """Which addresses may be connected to: public ones, and what the operator of the instance also allows.

    `allow` is the operator's and applies to every tenant; a tenant can never add to it.
    """

    allow: tuple[Network, ...] = ()

    def check(self, address: Address, *, operator_only: bool = False) -> None:
        """Check that `address` may be connected to. Raises ForbiddenAddress.

        With `operator_only` a public address is not enough: it must be in `allow`.
        """
        if isinstance(address, IPv4Address):
            self._check_v4(address, operator_only)
        elif (mapped := address.ipv4_mapped) is not None:
            self._check_v4(mapped, operator_only)
        elif (carried := _carried_v4(address)) is not None:
            # A translator delivers to the IPv4 address, so that one has to be allowed as well as the prefix.
            if not self._allows(address):
                raise ForbiddenAddress(f"{address} is translated to an IPv4 address")
            self._check_v4(carried, operator_only)
        else:
            self._check_v6(address, operator_only)

    def _check_v4(self, address: IPv4Address, operator_only: bool) -> None:
        if self._allows(address):
            return
        for network, reason in _FORBIDDEN_V4:
            if address in network:
                raise ForbiddenAddress(f"{address} is in {network}: {reason}")
        _refuse_unlisted(address, operator_only)

    def _check_v6(self, address: IPv6Address, operator_only: bool) -> None:
        if address in _LOCAL_NAT64:
            raise ForbiddenAddress(f"{address} is in {_LOCAL_NAT64}: local NAT64")
        if self._allows(address):
            return
        if address not in _GLOBAL_V6:
            raise ForbiddenAddress(f"{address} is not global unicast")
        for network, reason in _FORBIDDEN_V6:
            if address in network:
                raise ForbiddenAddress(f"{address} is in {network}: {reason}")
        _refuse_unlisted(address, operator_only)

    def _allows(self, address: Address) -> bool:
        return any(address in network for network in self.allow)


def check_reachable(url: str, policy: AddressPolicy) -> Origin:
    """Check as much of a URL as needs no network: its form, scheme and port, and its address where the host is one.

    `localhost` is loopback everywhere (RFC 6761, section 6.3). Raises ForbiddenUrl.
    """
    networks = bool(policy.allow)
    origin = check_url(url, allow_plain_http=networks, ports=None if networks else STANDARD_PORTS)
    local = origin.host == "localhost" or origin.host.endswith(".localhost")
    try:
        address = IPv4Address("127.0.0.1") if local else ip_address(origin.host)
    except ValueError:
        return origin
    try:
        policy.check(address, operator_only=needs_operator(origin))
    except ForbiddenAddress:
        raise ForbiddenUrl(
            "it is in a network that this gateway does not call; its operator can allow the network (KEYFERRY_EGRESS_ALLOW)"
        ) from None
    return origin


def _refuse_unlisted(address: Address, operator_only: bool) -> None:
    if operator_only:
        raise ForbiddenAddress(f"{address} is not among the networks that plain HTTP and unusual ports are for")


def _carried_v4(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in _SIX_TO_FOUR:
        return IPv4Address((int(address) >> 80) & 0xFFFF_FFFF)
    return None
