"""Probes of endpoints' addresses against real servers: what is found, within bounds, and nothing but one GET."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Network

import pytest
from aiohttp import web

from deploy.embedded.ports import LOOPBACK
from keyferry.contracts.route import ProbeEndpoint, ProbeOutcome
from keyferry.runtime.upstream.client import UpstreamClient
from services.provider_worker.endpoint_probe import EndpointProber
from tests.support.servers.ports import find_free_port

LOCAL = (IPv4Network("127.0.0.0/8"),)
Responder = Callable[[web.Request], web.StreamResponse]


@asynccontextmanager
async def server(respond: Responder) -> AsyncIterator[tuple[str, list[web.Request]]]:
    """Run a server; yield its base URL and the requests that it gets."""
    seen: list[web.Request] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        return respond(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    port = find_free_port()
    await web.TCPSite(runner, LOOPBACK, port).start()
    try:
        yield f"http://{LOOPBACK}:{port}/v1", seen
    finally:
        await runner.cleanup()


@pytest.fixture
async def client() -> AsyncIterator[UpstreamClient]:
    found = UpstreamClient(allow=LOCAL)
    yield found
    await found.close()


def listing(*models: str) -> web.Response:
    return web.Response(text=json.dumps({"object": "list", "data": [{"id": name} for name in models]}))


async def test_a_server_that_lists_its_models(client: UpstreamClient) -> None:
    async with server(lambda _: listing("llama3.2", "phi")) as (url, seen):
        found = await EndpointProber(client).probe(ProbeEndpoint(base_url=url))
    assert (found.outcome, found.status, found.models) == (ProbeOutcome.LISTED, 200, ["llama3.2", "phi"])
    ((method, path, headers),) = [(one.method, one.path, one.headers) for one in seen]
    assert (method, path) == ("GET", "/v1/models")
    assert not {"authorization", "x-api-key", "cookie"} & {name.lower() for name in headers}


@pytest.mark.parametrize(
    ("respond", "status"),
    [
        (lambda _: web.Response(status=404, text="nothing"), 404),
        (lambda _: web.Response(status=401), 401),
        (lambda _: web.Response(text="<html>a router's login page</html>"), 200),
        (lambda _: web.Response(text="[" * 100_000), 200),
        (lambda _: web.Response(body=b"x" * 5_000_000), 200),
        (lambda _: web.Response(status=302, headers={"location": "http://169.254.169.254/"}), 302),
    ],
    ids=["not found", "a key is missing", "a page", "nested", "endless", "a redirect"],
)
async def test_a_server_that_answers_otherwise(client: UpstreamClient, respond: Responder, status: int) -> None:
    async with server(respond) as (url, seen):
        found = await EndpointProber(client).probe(ProbeEndpoint(base_url=url))
    assert (found.outcome, found.status, found.models) == (ProbeOutcome.ANSWERED, status, [])
    assert len(seen) == 1, "no redirect is followed, nothing is repeated"


async def test_a_port_where_nobody_listens(client: UpstreamClient) -> None:
    base_url = f"http://{LOOPBACK}:{find_free_port()}/v1"
    found = await EndpointProber(client).probe(ProbeEndpoint(base_url=base_url))
    assert (found.outcome, found.status) == (ProbeOutcome.UNREACHABLE, None)
    assert found.detail


async def test_a_server_that_never_answers(client: UpstreamClient) -> None:
    never = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await never.wait()
        writer.close()

    listener = await asyncio.start_server(hold, LOOPBACK, 0)
    port = listener.sockets[0].getsockname()[1]
    probe = EndpointProber(client, within_seconds=0.05).probe(ProbeEndpoint(base_url=f"http://{LOOPBACK}:{port}/v1"))
    found = await probe
    never.set()
    listener.close()
    assert found.outcome is ProbeOutcome.UNREACHABLE
    assert "within 0.05 s" in found.detail


@pytest.mark.parametrize("base_url", ["https://127.0.0.1/v1", "https://169.254.169.254/v1", "http://10.0.0.1:80/v1"])
async def test_an_address_that_is_not_called(base_url: str) -> None:
    strict = UpstreamClient()
    found = await EndpointProber(strict).probe(ProbeEndpoint(base_url=base_url))
    await strict.close()
    assert (found.outcome, found.status) == (ProbeOutcome.FORBIDDEN, None)
