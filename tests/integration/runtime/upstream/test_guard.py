"""No endpoint URL, DNS answer or redirect may lead to an internal listener."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import httpx
import pytest

from deploy.embedded.ports import LOOPBACK
from keyferry.contracts.addresses import Address, AddressPolicy, Network
from keyferry.runtime.upstream import guard
from keyferry.runtime.upstream.client import Timeouts, UpstreamClient
from keyferry.runtime.upstream.errors import NotSent, NotSentReason
from keyferry.runtime.upstream.transport import AiohttpTransport
from tests.support.providers.raw_http_server import (
    RawHttpServer,
    answers,
    raw_http_server,
    reply,
    servers_on_one_port,
)
from tests.support.providers.raw_transport import closing, send_raw
from tests.support.providers.rebinding import GOOD_ALLOWED, answering, good_and_bad

TIMEOUTS = Timeouts(connect_seconds=20, first_byte_seconds=20, between_bytes_seconds=20)
ELSEWHERE: tuple[Network, ...] = (ip_network("203.0.113.7/32"),)
"""An operator's network that no listener here is in: with one, plain HTTP and any port pass the URL check."""
LOOPBACKS: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))

NAMES = {
    "localhost": ["127.0.0.1", "::1"],
    "localhost.localdomain": ["127.0.0.1"],
    "inside.example": ["127.0.0.1"],
    "inside6.example": ["::1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "compatible.example": ["::127.0.0.1"],
    "nat64.example": ["64:ff9b::127.0.0.1"],
    "sixtofour.example": ["2002:7f00:1::1"],
    "this-host.example": ["0.0.0.0"],
    "this-host6.example": ["::"],
    "metadata.example": ["169.254.169.254"],
    "private.example": ["10.0.0.1", "192.168.0.1"],
    "first-good.example": ["203.0.113.7", "127.0.0.1"],
    "last-good.example": ["127.0.0.1", "203.0.113.7"],
    "good-and-six.example": ["203.0.113.7", "::1"],
    "empty.example": [],
    "127.0.0.1.nip.example": ["127.0.0.1"],
    "xn--lcalhost-kcb.example": ["127.0.0.1"],
    "a_b.example": ["127.0.0.1"],
    "single": ["127.0.0.1"],
}
LITERALS = [
    "127.0.0.1",
    "127.0.0.2",
    "127.255.255.254",
    "0.0.0.0",
    "0.0.0.1",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.192",
    "192.168.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::FFFF:7F00:0001]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::ffff:0.0.0.0]",
    "[::ffff:169.254.169.254]",
    "[::ffff:0:127.0.0.1]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:7f00:1::]",
    "[fe80::1]",
    "[fec0::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
]
ODD = [
    "2130706433",
    "0x7f000001",
    "0X7F000001",
    "017700000001",
    "0x7f.0.0.1",
    "0x7f.1",
    "0177.0.0.1",
    "0177.0.0.01",
    "127.0.0.01",
    "00127.0.0.1",
    "127.1",
    "127.0.1",
    "127.0x1",
    "0",
    "0x0",
    "00",
    "0.0",
    "4294967295",
    "127.0.0.1.",
    "127.0.0.1..",
    "localhost.",
    "127。0。0。1",
    "127．0．0．1",
    "①②⑦.⓪.⓪.①",
    "①②⑦.0.0.1",
    "１２７.0.0.1",
    "ⓛocalhost",
    "ｌｏｃａｌｈｏｓｔ",
    "localhoſt",
    "loc\u00adalhost",
    "loc\u200balhost",
    "%6c%6f%63alhost",
    "%31%32%37.0.0.1",
    "127%2e0.0.1",
    "127.0.0.1%00.example",
    "127.0.0.1%20",
    "127.0.0.1%09",
    "127.0.0.1\t",
    "127.0.0.1\n",
    "127.0.0.1\r\nx:",
    " 127.0.0.1",
    "127.0.0.1 ",
    "user@127.0.0.1",
    "user:password@127.0.0.1",
    "api.example@127.0.0.1",
    "@127.0.0.1",
    ":@127.0.0.1",
    "127.0.0.1:80@127.0.0.1",
    "api.example\\@127.0.0.1",
    "127.0.0.1\\.example",
    "\\127.0.0.1",
    "/127.0.0.1",
    "[127.0.0.1]",
    "[::1%25lo]",
    "[::1%lo]",
    "[::1",
    "::1",
    "[::1]]",
    "[[::1]]",
    "[::1].example",
    "[::ffff:0x7f.1]",
    "[::ffff:127.1]",
    "[v1.127.0.0.1]",
    "",
    ".",
    "-",
    "*",
]
HOSTS = [*LITERALS, *NAMES, *ODD]


def shapes(host: str, port: int) -> list[str]:
    """The URLs with one host that are tried on a listener's port, and on the ports that are open to public addresses."""
    return [
        f"http://{host}:{port}/",
        f"https://{host}:{port}/v1/chat/completions?key=1",
        f"https://{host}/",
        f"https://{host}:8443/",
        f"http://{host}/",
    ]


def special(port: int) -> list[str]:
    """URLs that hide a host, or that are not HTTP."""
    return [
        f"http://api.example#@127.0.0.1:{port}/",
        f"http://api.example?@127.0.0.1:{port}/@",
        f"http://127.0.0.1:{port}#api.example",
        f"http:127.0.0.1:{port}/",
        f"http:/127.0.0.1:{port}/",
        f"http:///127.0.0.1:{port}/",
        f"http:\\\\127.0.0.1:{port}\\",
        f"//127.0.0.1:{port}/",
        f"127.0.0.1:{port}",
        f"http://127.0.0.1:{port}\n.example/",
        f"http://127.0.0.1:0{port}/",
        f"http://127.0.0.1:{port + 65536}/",
        f"http://127.0.0.1:{port}:{port}/",
        f"\thttp://127.0.0.1:{port}/",
        f"ht\ntp://127.0.0.1:{port}/",
        f"ftp://127.0.0.1:{port}/",
        f"ws://127.0.0.1:{port}/",
        f"wss://127.0.0.1:{port}/",
        f"tcp://127.0.0.1:{port}/",
        f"gopher://127.0.0.1:{port}/_GET%20/",
        f"http+unix://127.0.0.1:{port}/",
        "unix:///tmp/socket",
        "file:///etc/passwd",
        "data:text/plain,x",
        "",
    ]


async def names(host: str, port: int) -> list[str]:
    """A name server: the names above, and numbers in every form that the C library reads. Sends no query."""
    if host in NAMES:
        return NAMES[host]
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
    )
    return [str(sockaddr[0]) for *_, sockaddr in found]


@asynccontextmanager
async def inside() -> AsyncIterator[tuple[RawHttpServer, RawHttpServer]]:
    """The listeners that must not be reached: one on each loopback, on the same port."""
    secret = answers(reply(b"secret"))
    async with servers_on_one_port((secret, LOOPBACK), (secret, "::1")) as (four, six):
        yield four, six


@asynccontextmanager
async def client(allow: tuple[Network, ...], lookup: guard.Lookup = names) -> AsyncIterator[UpstreamClient]:
    made = UpstreamClient(allow, lookup=lookup)
    try:
        yield made
    finally:
        await made.close()


async def get(upstream: UpstreamClient, url: str) -> bytes:
    async with upstream.stream("POST", url, {}, b"{}", TIMEOUTS) as response:
        return b"".join([piece async for piece in response.aiter_raw()])


async def test_listeners_on_one_port_move_when_it_is_taken_on_one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    start, tried = asyncio.start_server, list[int]()

    async def taken_at_first(serve: Any, host: str, port: int, **settings: Any) -> asyncio.Server:
        tried.append(port)
        if len(tried) == 2:
            raise OSError(errno.EADDRINUSE, "address already in use")
        return await start(serve, host, port, **settings)

    monkeypatch.setattr(asyncio, "start_server", taken_at_first)
    async with inside() as (four, six), client(LOOPBACKS) as upstream:
        assert (tried[0], tried[2], four.port) == (0, 0, six.port)
        for host in ("127.0.0.1", "[::1]"):
            assert await get(upstream, f"http://{host}:{four.port}/") == b"secret"


def test_the_corpus_is_large() -> None:
    assert len(set(HOSTS)) == len(HOSTS)
    assert len(HOSTS) + len(special(1)) >= 150


@pytest.mark.parametrize("allow", [(), ELSEWHERE], ids=["nothing allowed", "elsewhere allowed"])
async def test_no_url_reaches_a_listener_inside(allow: tuple[Network, ...]) -> None:
    async with inside() as (four, six), client(allow) as upstream:
        urls = [url for host in HOSTS for url in shapes(host, four.port)] + special(four.port)
        for url in urls:
            with pytest.raises(NotSent) as caught:
                await get(upstream, url)
            assert caught.value.reason in (NotSentReason.INVALID, NotSentReason.FORBIDDEN, NotSentReason.NAME), url
        assert (four.connections, six.connections) == (0, 0)


async def test_the_socket_refuses_what_a_laxer_url_check_would_pass() -> None:
    """Directly through the transport, which has only the check at the socket."""
    async with inside() as (four, six), closing(AiohttpTransport(AddressPolicy(ELSEWHERE), lookup=names)) as transport:
        refused = 0
        for url in [url for host in HOSTS for url in shapes(host, four.port)] + special(four.port):
            try:
                with pytest.raises((NotSent, ValueError)):  # ValueError: not a URL for yarl
                    await send_raw(transport, url)
            except httpx.InvalidURL:
                continue
            refused += 1
        assert refused >= 150
        assert (four.connections, six.connections) == (0, 0)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "inside.example", "mapped.example"]
)
async def test_what_the_operator_allows_is_reached(host: str) -> None:
    async with inside() as (four, six), client(LOOPBACKS) as upstream:
        assert await get(upstream, f"http://{host}:{four.port}/") == b"secret"
        assert four.connections + six.connections == 1


async def test_an_allowed_network_opens_no_other() -> None:
    async with inside() as (four, six), client((ip_network("127.0.0.2/32"),)) as upstream:
        for host in ("127.0.0.1", "[::1]", "localhost", "127.0.0.3"):
            with pytest.raises(NotSent) as caught:
                await get(upstream, f"http://{host}:{four.port}/")
            assert caught.value.reason is NotSentReason.FORBIDDEN
        assert (four.connections, six.connections) == (0, 0)


@pytest.mark.parametrize("url", ["http://{}/", "http://{}:443/", "https://{}:22/", "https://{}:8444/"])
async def test_plain_http_and_other_ports_never_leave_the_operators_networks(url: str) -> None:
    async with client(LOOPBACKS) as upstream:
        with pytest.raises(NotSent) as caught:
            await get(upstream, url.format("[2606:4700:4700::1111]"))
        assert caught.value.reason is NotSentReason.FORBIDDEN


async def test_a_refusal_reveals_no_internal_address_to_the_tenant(caplog: pytest.LogCaptureFixture) -> None:
    async with client(ELSEWHERE) as upstream:
        with pytest.raises(NotSent) as caught:
            await get(upstream, "https://private.example/")
    assert "10.0.0.1" not in str(caught.value)
    assert "KEYFERRY_EGRESS_ALLOW" in str(caught.value)
    (record,) = [record for record in caplog.records if record.name.startswith("keyferry.")]
    assert "10.0.0.1 is in 10.0.0.0/8" in record.__dict__["why"]


async def test_a_name_is_resolved_once_per_connection_and_cached() -> None:
    lookup, queries = answering(["127.0.0.2"], ["127.0.0.1"])
    async with good_and_bad(close=True) as (good, bad), client(GOOD_ALLOWED, lookup) as upstream:
        for _ in range(3):
            assert await get(upstream, f"http://rebinding.example:{good.port}/") == b"good"
        assert queries() == 1
        assert (good.connections, bad.connections) == (3, 0)


async def test_a_name_rebound_to_an_internal_address_after_the_check_is_rejected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guard, "_DNS_CACHE_SECONDS", -1)
    lookup, queries = answering(["127.0.0.2"], ["127.0.0.1"])
    async with good_and_bad(close=True) as (good, bad), client(GOOD_ALLOWED, lookup) as upstream:
        url = f"http://rebinding.example:{good.port}/"
        assert await get(upstream, url) == b"good"
        for _ in range(3):
            with pytest.raises(NotSent) as caught:
                await get(upstream, url)
            assert caught.value.reason is NotSentReason.FORBIDDEN
        assert queries() == 4
        assert (good.connections, bad.connections) == (1, 0)


@pytest.mark.parametrize("mixed", [["127.0.0.2", "127.0.0.1"], ["127.0.0.1", "127.0.0.2"], ["127.0.0.2", "::1"]])
async def test_one_forbidden_address_among_allowed_ones_rejects_the_name(mixed: list[str]) -> None:
    lookup, _ = answering(mixed)
    async with good_and_bad(close=False) as (good, bad), client(GOOD_ALLOWED, lookup) as upstream:
        with pytest.raises(NotSent) as caught:
            await get(upstream, f"http://mixed.example:{good.port}/")
        assert caught.value.reason is NotSentReason.FORBIDDEN
        assert (good.connections, bad.connections) == (0, 0)


async def test_a_forbidden_address_that_passed_the_resolver_is_stopped_at_the_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passed: list[str] = []
    check = AddressPolicy.check

    def second_only(policy: AddressPolicy, address: Address, *, operator_only: bool = False) -> None:
        passed.append(str(address))
        if len(passed) > 1:
            check(policy, address, operator_only=operator_only)

    monkeypatch.setattr(AddressPolicy, "check", second_only)
    lookup, _ = answering(["127.0.0.1"])
    async with good_and_bad(close=False) as (good, bad), client(GOOD_ALLOWED, lookup) as upstream:
        with pytest.raises(NotSent) as caught:
            await get(upstream, f"http://inside.example:{good.port}/")
        assert caught.value.reason is NotSentReason.FORBIDDEN
        assert passed == ["127.0.0.1", "127.0.0.1"]
        assert bad.connections == 0


async def test_a_redirect_inside_is_not_followed() -> None:
    async with good_and_bad(close=False) as (_, bad):
        moved = reply(b"", f"location: {bad.url()}", status="302 Found")
        async with raw_http_server(answers(moved), host="127.0.0.2") as mover, client(GOOD_ALLOWED) as upstream:
            assert await get(upstream, mover.url()) == b""
        assert bad.connections == 0
