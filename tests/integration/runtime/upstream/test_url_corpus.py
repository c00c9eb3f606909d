"""No URL of the corpus reaches an internal listener or sends a key elsewhere; without the defences, its loopback URLs do."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from ipaddress import ip_network

import httpx
import pytest

from deploy.embedded.ports import LOOPBACK
from keyferry.contracts.addresses import AddressPolicy, Network
from keyferry.contracts.origin import ForbiddenUrl, check_url
from keyferry.contracts.secret import Secret
from keyferry.runtime.upstream import guard
from keyferry.runtime.upstream.client import Timeouts, UpstreamClient
from keyferry.runtime.upstream.errors import NotSent, NotSentReason
from keyferry.runtime.upstream.transport import AiohttpTransport
from keyferry.sealing.leased import LeasedKey
from services.provider_worker.adapters.adapter import UpstreamRequest
from services.provider_worker.upstream import attach_key as attaching
from services.provider_worker.upstream.attach_key import NotAttached, attach_key
from tests.support.providers.raw_http_server import (
    Call,
    RawHttpServer,
    answers,
    raw_http_server,
    reply,
    servers_on_one_port,
)
from tests.support.providers.raw_transport import closing, send_raw
from tests.support.providers.url_corpus import NAMES, UrlCase, cases, forbidden_addresses

TIMEOUTS = Timeouts(connect_seconds=20, first_byte_seconds=20, between_bytes_seconds=20)
ELSEWHERE: tuple[Network, ...] = (ip_network("203.0.113.7/32"),)
GOOD: tuple[Network, ...] = (ip_network("127.0.0.2/32"),)
LOOPBACKS: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
KEY = "sk-canary-Zq8Xw2Lr6Tn0Vb4Kd"
OWN_ORIGIN = "https://api.example"


async def names(host: str, port: int) -> list[str]:
    """A name server: the corpus' names, and numbers in every form that the C library reads. Sends no query."""
    if host in NAMES:
        return NAMES[host]
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
    )
    return [str(sockaddr[0]) for *_, sockaddr in found]


def key_for(origin: str) -> LeasedKey:
    return LeasedKey(
        owner="acme",
        provider="custom",
        key_id="key_0001",
        version=1,
        origin=origin,
        not_after_unix_ms=2**50,
        key=Secret(KEY),
    )


def request_to(url: str) -> UpstreamRequest:
    return UpstreamRequest(url=url, headers={"content-type": "application/json"}, content=b"{}")


@asynccontextmanager
async def listeners() -> AsyncIterator[tuple[RawHttpServer, RawHttpServer]]:
    """What must not be reached: one listener on each loopback, on the same port."""
    secret = answers(reply(b"secret", "connection: close"), close=True)
    async with servers_on_one_port((secret, LOOPBACK), (secret, "::1")) as (four, six):
        yield four, six


@asynccontextmanager
async def client(allow: tuple[Network, ...], lookup: guard.Lookup = names) -> AsyncIterator[UpstreamClient]:
    made = UpstreamClient(allow, lookup=lookup)
    try:
        yield made
    finally:
        await made.close()


async def send(upstream: UpstreamClient, url: str, headers: Mapping[str, str]) -> bytes:
    async with upstream.stream("POST", url, headers, b"{}", TIMEOUTS) as response:
        return b"".join([piece async for piece in response.aiter_raw()])


def keys_seen(*doubles: RawHttpServer) -> int:
    return sum(KEY in str(request) for double in doubles for request in double.requests)


def test_the_corpus_has_five_hundred_cases_and_each_is_another_url() -> None:
    urls = {case.url for case in cases(4321)}
    assert len(urls) >= 500
    assert len(urls) == len(list(cases(4321)))


@pytest.mark.parametrize("allow", [(), ELSEWHERE], ids=["nothing allowed", "elsewhere allowed"])
async def test_no_url_of_the_corpus_reaches_a_listener(allow: tuple[Network, ...]) -> None:
    async with listeners() as (four, six), client(allow) as upstream:
        for case in cases(four.port):
            with pytest.raises(NotSent) as refused:
                await send(upstream, case.url, {"authorization": f"Bearer {KEY}"})
            known = (NotSentReason.INVALID, NotSentReason.FORBIDDEN, NotSentReason.NAME)
            assert refused.value.reason in known, case
            assert KEY not in str(refused.value), case
        assert (four.connections, six.connections) == (0, 0)


async def test_no_url_of_the_corpus_gets_the_key_of_another_origin() -> None:
    """Also where the operator lets the connector go there: a key belongs to one origin."""
    key = key_for(OWN_ORIGIN)
    async with listeners() as (four, six), client(LOOPBACKS) as upstream:
        for case in cases(four.port):
            with pytest.raises(NotAttached):
                await send(upstream, case.url, attach_key(request_to(case.url), key, datetime.now(UTC)))
        assert (four.connections, six.connections) == (0, 0)


async def test_without_the_guard_the_loopback_urls_do_reach_the_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative case: URLs that the URL check passes are held back by the address policy and nothing else."""
    monkeypatch.setattr(AddressPolicy, "check", lambda self, address, *, operator_only=False: None)
    async with listeners() as (four, six), client(ELSEWHERE) as upstream:
        reached: list[bytes] = []
        for case in loopback(four.port):
            with suppress(NotSent):  # what the URL check alone refuses
                reached.append(await send(upstream, case.url, {"authorization": f"Bearer {KEY}"}))
        assert set(reached) == {b"secret"}
        assert len(reached) >= 10
        assert four.connections + six.connections >= len(reached)
        assert keys_seen(four, six) == len(reached)


async def test_without_guard_and_url_check_more_of_them_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers that only a resolver reads as addresses are real: the URL check is a defence of its own."""
    monkeypatch.setattr(AddressPolicy, "check", lambda self, address, *, operator_only=False: None)
    reached: list[str] = []
    async with listeners() as (four, six), closing(AiohttpTransport(AddressPolicy(), lookup=names)) as transport:
        for case in loopback(four.port):
            try:
                response = await send_raw(transport, case.url)
            except (httpx.InvalidURL, ValueError):
                continue  # the libraries themselves reject it
            except NotSent as error:
                if "the URL or a header cannot be sent" not in str(error):
                    raise
                continue
            assert await response.read() == b"secret", case
            response.close()
            reached.append(case.url)
        assert four.connections + six.connections >= len(reached)
    assert len([url for url in reached if is_refused(url)]) >= 4


async def test_without_the_origin_check_a_key_is_sent_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    key = key_for(OWN_ORIGIN)
    monkeypatch.setattr(attaching, "origin_of", lambda url: OWN_ORIGIN)
    async with listeners() as (four, six), client(LOOPBACKS) as upstream:
        for case in loopback(four.port):
            headers = attach_key(request_to(case.url), key, datetime.now(UTC))
            with suppress(NotSent):
                await send(upstream, case.url, headers)
        assert keys_seen(four, six) >= 10


def is_refused(url: str) -> bool:
    try:
        check_url(url, allow_plain_http=True, ports=None)
    except ForbiddenUrl:
        return True
    return False


def loopback(port: int) -> list[UrlCase]:
    return [case for case in cases(port) if case.loopback]


async def test_a_redirect_to_any_url_of_the_corpus_is_not_followed() -> None:
    """The key reaches its own origin once per call, and no other listener."""
    async with listeners() as (four, six):
        targets = [case.url for case in cases(four.port) if case.url.isascii() and case.url.isprintable()]
        assert len(targets) >= 400

        async def moves(call: Call) -> None:
            kind = ("301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary", "308 Permanent")[
                call.number % 5
            ]
            await call.send(reply(b"", f"location: {targets[call.number - 1]}", status=kind))

        async with raw_http_server(moves, host="127.0.0.2") as mover, client((*GOOD, *LOOPBACKS)) as upstream:
            key = key_for(mover.url(""))
            for _ in targets:
                headers = attach_key(request_to(mover.url("/v1")), key, datetime.now(UTC))
                assert await send(upstream, mover.url("/v1"), headers) == b""
            assert keys_seen(mover) == len(mover.requests) == len(targets)
        assert (four.connections, six.connections) == (0, 0)


@pytest.mark.parametrize("internal", [address for address in forbidden_addresses() if address != "127.0.0.2"])
async def test_a_name_rebound_to_an_internal_address_gets_no_key(
    monkeypatch: pytest.MonkeyPatch, internal: str
) -> None:
    """The name is the key's own origin; it resolves to an allowed address once, and then to what its owner chooses."""
    monkeypatch.setattr(guard, "_DNS_CACHE_SECONDS", -1)
    good, later = ["127.0.0.2"], ([internal], ["127.0.0.2", internal], [internal, "127.0.0.2"])
    queries = 0

    async def turning(host: str, port: int) -> list[str]:
        nonlocal queries
        queries += 1
        return good if queries == 1 else later[queries % 3]

    hangs_up = answers(reply(b"good", "connection: close"), close=True)
    async with servers_on_one_port((hangs_up, "127.0.0.2"), (hangs_up, LOOPBACK)) as (own, bad):
        origin = f"http://turning.example:{own.port}"
        headers = attach_key(request_to(f"{origin}/v1"), key_for(origin), datetime.now(UTC))
        async with client(GOOD, turning) as upstream:
            assert await send(upstream, f"{origin}/v1", headers) == b"good"
            for _ in range(3):
                with pytest.raises(NotSent) as refused:
                    await send(upstream, f"{origin}/v1", headers)
                assert refused.value.reason is NotSentReason.FORBIDDEN
        assert (keys_seen(own), own.connections, bad.connections) == (1, 1, 0)
