"""A provider on loopback with scripted answers by path, and a key to test with it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_network

from keyferry.contracts.key import KeyTest
from keyferry.contracts.lease import RunKeyTest, SealedKey
from keyferry.contracts.secret import Secret
from keyferry.runtime.upstream.client import Timeouts, UpstreamClient
from keyferry.sealing.leased import LeasedKey
from services.provider_worker.key_test.tester import KeyTester
from tests.support.providers.raw_http_server import Behaviour, Call, RawHttpServer, raw_http_server, reply
from tests.support.providers.recorded_traffic import Case

KEY = "sk-canary-Zq8Xw2Lr6Tn0Vb4Kd"
TIMEOUTS = Timeouts(connect_seconds=10, first_byte_seconds=10, between_bytes_seconds=10)
FIELDS = {"region": "eu-central-1", "project": "example", "location": "europe-west4"}
NOT_THERE = reply(b'{"error":{"message":"no such path"}}', "content-type: application/json", status="404 Not Found")
_FRAMING = frozenset({"content-encoding", "content-length", "transfer-encoding", "connection", "set-cookie"})


def json_reply(body: str, status: str = "200 OK", *headers: str) -> bytes:
    """A JSON answer."""
    return reply(body.encode(), "content-type: application/json", *headers, status=status)


def recorded_reply(case: Case) -> bytes:
    """A recorded response, framed anew."""
    headers = [
        f"{name}: {value}" for name, value in case.headers.items() if name not in _FRAMING and value.isprintable()
    ]
    return reply(case.body, *headers, status=f"{case.status} Recorded")


def routes(answers: Mapping[str, bytes], otherwise: bytes = NOT_THERE) -> Behaviour:
    """Answer by `METHOD /path`, without the query, or by `METHOD` alone."""

    async def behave(call: Call) -> None:
        method, target, _ = call.request.line.split(" ")
        path = target.partition("?")[0]
        await call.send(answers.get(f"{method} {path}") or answers.get(method) or otherwise)

    return behave


def lease(provider: str, origin: str, key: str = KEY) -> LeasedKey:
    """A key as it comes out of a delivery."""
    return LeasedKey(
        owner="acme",
        provider=provider,
        key_id="key_0001",
        version=1,
        origin=origin,
        not_after_unix_ms=2**50,
        key=Secret(key),
    )


def build_command(
    provider: str, base_url: str, model: str | None = None, fields: Mapping[str, str] = FIELDS
) -> RunKeyTest:
    """Build the vault's command; its receiver has already opened the key."""
    sealed = SealedKey(
        worker_id="provider-worker-1",
        instance_id="inst_1",
        suite="x",
        tenant="acme",
        owner="acme",
        provider=provider,
        key_id="key_0001",
        version=1,
        origin="https://sealed.example",
        nonce="AAAA",
        not_after_unix_ms=1,
        sealed="AAAA",
        signature="AAAA",
    )
    return RunKeyTest(key=sealed, base_url=base_url, fields=dict(fields), model=model)


@asynccontextmanager
async def key_tester(within_seconds: float = 30.0, timeouts: Timeouts = TIMEOUTS) -> AsyncIterator[KeyTester]:
    """Create a key tester that may call loopback."""
    client = UpstreamClient((ip_network("127.0.0.0/8"),))
    try:
        yield KeyTester(client, timeouts, within_seconds=within_seconds)
    finally:
        await client.close()


async def run_test(
    provider: str,
    behave: Behaviour,
    *,
    path: str = "/v1",
    model: str | None = None,
    fields: Mapping[str, str] = FIELDS,
    key: str = KEY,
) -> tuple[KeyTest, RawHttpServer]:
    """One test of a key of `provider` against a double below `path`, and what the double has seen."""
    async with raw_http_server(behave) as double, key_tester() as tests:
        origin = double.url("")
        check = await tests.check(
            build_command(provider, f"{origin}{path}", model, fields), lease(provider, origin, key)
        )
        assert KeyTest.decode(check.encode()) == check
        return check, double
