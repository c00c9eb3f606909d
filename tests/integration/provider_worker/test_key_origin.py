"""A provider key goes to the origin it was registered for and nowhere else, whatever attempts, responses and name servers say.

Two real listeners stand on loopback: the key's own, and a foreign one that writes down every byte. The vault in these tests is
on the attacker's side: it seals the key for any request, so that only the worker's own defences are tested.
"""

import logging
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network

import pytest

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.lease import LeaseKey, SealedKey
from keyferry.contracts.secret import Secret
from keyferry.runtime.upstream.client import Timeouts, UpstreamClient
from keyferry.runtime.upstream.errors import UpstreamError
from keyferry.sealing.leased import LeasedKey
from services.provider_worker.adapters.adapter import RefusedByAdapter
from services.provider_worker.adapters.registry import ADAPTERS
from services.provider_worker.frame_writer import FrameWriter
from services.provider_worker.http_call import HttpProvider
from services.provider_worker.keys import lease_client
from tests.support.providers.attempt_runs import attempt_run
from tests.support.providers.call_progress import CallProgress
from tests.support.providers.raw_http_server import Call, RawHttpServer, reply, servers_on_one_port
from tests.support.vault.vault_double import VaultDouble, key_facts, worker_side

CANARY = "sk-canary-0123456789abcdef"
CASES = 500
BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
ANSWER = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"finish_reason":"stop",'
    b'"message":{"role":"assistant","content":"hello"}}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
)
TIMEOUTS = Timeouts(connect_seconds=20, first_byte_seconds=20, between_bytes_seconds=20)
OWN_HOST, FOREIGN_HOST = "127.0.0.1", "127.0.0.2"
NAME = "own.example"


@dataclass
class Scene:
    """The two listeners, the key's origin, and a worker that calls them."""

    own: RawHttpServer
    foreign: RawHttpServer
    vault: VaultDouble
    client: UpstreamClient
    origin: str
    location: str = ""
    """Where the key's own listener redirects to; empty for an answer."""
    redirect_status: int = 302
    errors: list[str] = field(default_factory=list)
    """The failures of calls."""

    async def call(self, base_url: str, **changes: object) -> bool:
        """Make one attempt with the key, to `base_url`, and return whether it was answered.

        The URL is put past the message's own check, so that what comes behind it is tested too.
        """
        run: AttemptRun = attempt_run().model_copy(
            update={"base_url": base_url, "key_id": "key_0001", "key_owner": "acme", **changes}
        )
        leases = worker_side(self.vault, ask=self._colluding).leases
        provider = HttpProvider(ADAPTERS["custom"], self.client, TIMEOUTS, leases.lease)
        try:
            call = provider.prepare(run, BODY)
            await call.make(CallProgress(FrameWriter("att_test", _nowhere, 1_000_000)))
        except (RefusedByAdapter, UpstreamError) as error:
            self.errors.append(repr(error))
            return False
        return call.answer.failure is None

    async def _colluding(self, command: LeaseKey) -> SealedKey:
        """Seal and sign the one key for any request."""
        facts = self.vault.view["acme.key_0001"]
        return self.vault.seal(facts, command)

    @property
    def leaked(self) -> int:
        """Requests at the foreign listener."""
        return len(self.foreign.requests)


async def _nowhere(frame: bytes) -> None:
    """No caller takes the answer."""


@asynccontextmanager
async def scene(name: str | None = None, addresses: Iterator[list[str]] | None = None) -> AsyncIterator[Scene]:
    """With `name` the key's origin is a name that resolves as `addresses` say, look-up by look-up."""

    async def lookup(host: str, port: int) -> list[str]:
        assert addresses is not None
        return next(addresses)

    async def own(call: Call) -> None:
        if made.location:
            head = f"{made.redirect_status} Elsewhere"
            await call.send(reply(b"{}", f"location: {made.location}", status=head))
        else:
            await call.send(reply(ANSWER, "content-type: application/json"))

    async def foreign(call: Call) -> None:
        await call.send(reply(ANSWER, "content-type: application/json"))

    allow = (ip_network(f"{OWN_HOST}/32"),) if name else (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    client = UpstreamClient(allow=allow, lookup=lookup) if name else UpstreamClient(allow=allow)
    async with AsyncExitStack() as stack:
        mine, theirs = await stack.enter_async_context(servers_on_one_port((own, OWN_HOST), (foreign, FOREIGN_HOST)))
        origin = f"http://{name or OWN_HOST}:{mine.port}"
        vault = VaultDouble()
        vault.put(key_facts(provider="custom", origin=origin), Secret(CANARY))
        made = Scene(mine, theirs, vault, client, origin)
        stack.push_async_callback(client.close)
        yield made


@pytest.fixture
async def stage() -> AsyncIterator[Scene]:
    async with scene() as made:
        yield made


def foreign_urls(port: int) -> list[str]:
    """Base URLs that lead to the foreign listener, or are made to look as if they led to the key's own."""
    own, foreign = f"{OWN_HOST}:{port}", f"{FOREIGN_HOST}:{port}"
    hosts = [
        foreign,
        f"{own}@{foreign}",
        f"user:{own}@{foreign}",
        f"{foreign}#@{own}",
        f"{foreign}#{own}",
        f"{foreign}?@{own}",
        f"{foreign}/@{own}",
        f"{foreign}\\@{own}",
        f"{own}\\.{foreign}",
        f"{own}%40{foreign}",
        f"{own}%00.{foreign}",
        f"{own}\t@{foreign}",
        f"{own}\r\nhost: {foreign}\r\n",
        f" {foreign}",
        f"{foreign} ",
        f"0x7f.0.0.2:{port}",
        f"0177.0.0.2:{port}",
        f"127.2:{port}",
        f"2130706434:{port}",
        f"[::ffff:127.0.0.2]:{port}",
        f"[::ffff:7f00:2]:{port}",
        f"127.0.0.2.:{port}",
        f"127.0.0.1.:{port}",
        f"①②⑦.0.0.2:{port}",
        f"localhost:{port}",
        f"LOCALHOST:{port}",
        f"[::1]:{port}",
        f"{OWN_HOST}:{port + 1}",
        f"{OWN_HOST}:0{port}",
        OWN_HOST,
        f"{OWN_HOST}.evil.example:{port}",
        f"127.0.0.1:{port}.evil.example",
    ]
    schemes = ["http://", "https://", "HTTP://", "//", "http:/", "http:\\\\", "ftp://", ""]
    paths = ["/v1", "", f"/v1/http://{own}"]
    return [scheme + host + path for scheme in schemes for host in hosts for path in paths]


async def test_the_key_reaches_its_own_origin(stage: Scene) -> None:
    """Without this, the tests below could not fail."""
    assert await stage.call(f"{stage.origin}/v1")
    (request,) = stage.own.requests
    assert request.header("authorization") == f"Bearer {CANARY}"


async def test_five_hundred_attempts_send_the_key_nowhere_else(stage: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    source = random.Random(5)
    urls = foreign_urls(stage.own.port)
    changes: list[dict[str, object]] = [
        {},
        {"key_owner": "platform"},
        {"key_owner": None},
        {"tenant": "globex", "key_owner": "globex"},
        {"provider": "openai"},
        {"key_id": "key_0002"},
        {"key_version": 7},
        {"key_fields": {"base_url": stage.origin}},
    ]
    for number in range(CASES):
        url = urls[number] if number < len(urls) else source.choice(urls)
        await stage.call(url, **changes[number % len(changes)])
    assert (stage.leaked, len(stage.own.requests)) == (0, 0)
    assert len(stage.errors) == CASES
    assert "canary" not in caplog.text + "".join(stage.errors)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(stage: Scene, status: int) -> None:
    stage.redirect_status = status
    targets = [f"http://{FOREIGN_HOST}:{stage.own.port}/v1/chat/completions", *foreign_urls(stage.own.port)[:20]]
    for location in targets:
        if location.isascii() and location.isprintable():
            stage.location = location
            assert not await stage.call(f"{stage.origin}/v1")
    assert stage.leaked == 0
    assert stage.own.requests


async def test_a_name_rebound_to_another_address_gets_no_key() -> None:
    """DNS rebinding: the name of the key's origin resolves to the foreign listener, at once, later, or sometimes."""
    turns: list[list[list[str]]] = [
        [[FOREIGN_HOST]],
        [[OWN_HOST, FOREIGN_HOST]],
        [[FOREIGN_HOST, OWN_HOST]],
        [["::ffff:127.0.0.2"]],
        [["10.0.0.1"]],
        [[]],
    ]
    for answers in turns:
        async with scene(NAME, iter(answers)) as made:
            assert not await made.call(f"{made.origin}/v1")
            assert (made.leaked, made.own.requests) == (0, [])
    async with scene(NAME, iter([[OWN_HOST]])) as made:
        assert await made.call(f"{made.origin}/v1")
        assert len(made.own.requests) == 1


async def test_without_its_defences_the_key_is_sent_elsewhere(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_client, "check_delivery", lambda sealed, command: None)
    monkeypatch.setattr(LeasedKey, "for_origin", lambda key, origin: key._LeasedKey__key)
    assert await stage.call(f"http://{FOREIGN_HOST}:{stage.own.port}/v1")
    (request,) = stage.foreign.requests
    assert request.header("authorization") == f"Bearer {CANARY}"


@pytest.mark.parametrize("defence", ["the question", "the origin"])
async def test_either_defence_is_enough(stage: Scene, monkeypatch: pytest.MonkeyPatch, defence: str) -> None:
    if defence == "the origin":
        monkeypatch.setattr(lease_client, "check_delivery", lambda sealed, command: None)
    else:
        monkeypatch.setattr(LeasedKey, "for_origin", lambda key, origin: key._LeasedKey__key)
    for url in foreign_urls(stage.own.port)[:40]:
        await stage.call(url)
    assert stage.leaked == 0
