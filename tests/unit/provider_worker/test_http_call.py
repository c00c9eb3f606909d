"""One call over HTTP: when the key is leased and to whom it is sent, and what becomes of each way in which an answer ends.

Client and adapter follow a script; tests/integration/provider_worker has the real ones.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import orjson
import pytest

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.secret import Secret
from keyferry.contracts.usage import KeySource
from keyferry.runtime.upstream.client import Timeouts, UpstreamClient
from keyferry.runtime.upstream.errors import IncompleteResponse
from keyferry.sealing.leased import LeasedKey
from services.provider_worker.adapters.adapter import Adapter, Answer, UpstreamRequest
from services.provider_worker.http_call import HttpCall, HttpProvider
from services.provider_worker.keys.lease_client import KeyUnavailable
from services.provider_worker.provider_call import Phase
from services.provider_worker.redaction.redactors import Redactors
from services.provider_worker.redaction.secret_forms import MARK
from services.provider_worker.upstream.attach_key import NotAttached
from tests.support.providers.attempt_runs import attempt_run

ORIGIN = "https://llm.example"
OTHER = "https://other.example"
KEY = "sk-canary-0123456789abcdef"
BROKEN_OFF = Failure(failure_class=FailureClass.TRUNCATED, message="no end", where=Where.MID_STREAM)


@dataclass
class Provider:
    """A provider, its adapter and the attempt that the call reports to."""

    pieces: list[bytes] = field(default_factory=lambda: [b"one", b"two"])
    """What arrives of the body; the connection breaks after it if `breaks`."""
    breaks: bool = False
    over_after: int = 1000
    """After so many pieces the adapter wants no more."""
    answer: Answer = field(default_factory=lambda: Answer(body=b"{}"))
    key_origin: str = ORIGIN
    key_unavailable: bool = False
    steps: list[str] = field(default_factory=list)
    delivered: list[bytes] = field(default_factory=list)
    sent: Mapping[str, str] | None = None
    seen: Mapping[str, str] | None = None
    """The response's headers as the adapter has them."""
    read: list[bytes] = field(default_factory=list)
    """The body as the adapter has it."""
    status: int = 200
    redactors: Redactors = field(default_factory=Redactors)
    origin: str = ORIGIN
    headers: Mapping[str, str] = field(default_factory=dict)

    def call(self, **changes: object) -> HttpCall:
        paid = {"key_id": "key_1", "key_source": KeySource.BYOK, **changes}
        run = attempt_run(base_url=f"{ORIGIN}/v1").model_copy(update=paid)
        provider = HttpProvider(
            cast(Adapter, self), cast(UpstreamClient, self), Timeouts(1, 1, 1), self._lease, self.redactors
        )
        return provider.prepare(run, b"{}")

    # the adapter

    def request(self, run: AttemptRun, body: bytes) -> UpstreamRequest:
        return UpstreamRequest(f"{ORIGIN}/v1/chat", {"content-type": "application/json"}, body)

    def reader(self, run: AttemptRun, request: UpstreamRequest, status: int, headers: Mapping[str, str]) -> "Provider":
        self.seen = headers
        return self

    @property
    def over(self) -> bool:
        return self.steps.count("read") >= self.over_after

    def feed(self, data: bytes) -> list[bytes]:
        self.steps.append("read")
        self.read.append(data)
        return [b'{"choices":[{"index":0,"delta":{"content":"%b"}}]}' % data]

    def close(self) -> Answer:
        return self.answer

    # the client

    @asynccontextmanager
    async def stream(self, method: str, url: str, headers: Mapping[str, str], *_: object) -> AsyncIterator["Provider"]:
        self.steps.append("send")
        self.sent = headers
        yield self

    async def aiter_raw(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece
        if self.breaks:
            raise IncompleteResponse(ORIGIN, "the connection broke")

    # the vault

    async def _lease(self, run: AttemptRun, origin: str, body: bytes) -> LeasedKey:
        self.steps.append(f"lease for {origin}")
        if self.key_unavailable:
            raise KeyUnavailable("the vault is away")
        return LeasedKey(
            owner="acme",
            provider="custom",
            key_id="key_1",
            version=1,
            origin=self.key_origin,
            not_after_unix_ms=0,
            key=Secret(KEY),
        )

    # the attempt

    def enter(self, phase: Phase) -> None:
        self.steps.append(phase.name)

    async def deliver(self, texts: list[bytes]) -> None:
        self.delivered += texts


def texts_of(provider: Provider) -> list[str]:
    """The texts of the chunks that were delivered."""
    return [orjson.loads(text)["choices"][0]["delta"]["content"] for text in provider.delivered]


async def test_the_key_is_leased_for_the_urls_origin_right_before_it_is_sent_there() -> None:
    provider = Provider()
    call = provider.call()
    assert provider.steps == []
    await call.make(provider)
    assert provider.steps == ["LEASING", f"lease for {ORIGIN}", "SENDING", "send", "read", "read"]
    assert provider.sent == {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
    assert call.origin == ORIGIN
    assert texts_of(provider) == ["one", "two"]


async def test_without_a_key_nothing_is_leased_or_attached() -> None:
    provider = Provider()
    await provider.call(key_id=None).make(provider)
    assert provider.steps[:2] == ["SENDING", "send"]
    assert provider.sent == {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("provider", "error"),
    [(Provider(key_unavailable=True), KeyUnavailable), (Provider(key_origin=OTHER), NotAttached)],
    ids=["no key", "another origin's key"],
)
async def test_nothing_is_sent_without_the_right_key(provider: Provider, error: type[Exception]) -> None:
    call = provider.call()
    with pytest.raises(error):
        await call.make(provider)
    assert "send" not in provider.steps
    assert "SENDING" not in provider.steps
    assert call.origin is None


async def test_a_key_in_headers_and_answer_reaches_neither_the_adapter_nor_the_caller() -> None:
    provider = Provider(headers={"retry-after": KEY, "x-note": f"Bearer {KEY}"}, pieces=[f"a {KEY} b".encode()])
    provider.answer = Answer(body=f'{{"key":"{KEY}"}}'.encode(), model_served=KEY, late=(f'{{"k":"{KEY}"}}'.encode(),))
    call = provider.call()
    await call.make(provider)
    assert provider.seen == {"retry-after": MARK, "x-note": f"Bearer {MARK}"}
    assert KEY.encode() not in b"".join(provider.delivered)
    assert KEY not in repr(call.answer)
    assert provider.redactors.repetitions == 1


async def test_a_key_in_an_answer_that_broke_off_is_counted_too() -> None:
    provider = Provider(breaks=True, answer=Answer(failure=BROKEN_OFF, model_served=KEY))
    with pytest.raises(IncompleteResponse):
        await provider.call().make(provider)
    assert provider.redactors.repetitions == 1


@pytest.mark.parametrize("status", [199, 302, 400, 503])
async def test_not_even_a_part_of_a_key_in_an_error_reaches_the_adapter(status: int) -> None:
    """Adapters shorten messages, which leaves parts that are no longer recognised."""
    provider = Provider(status=status, pieces=[f"the key {KEY[:12]} is".encode(), b" wrong"])
    await provider.call().make(provider)
    assert b"".join(provider.read) == f"the key {MARK} is wrong".encode()


async def test_what_is_held_back_as_the_beginning_of_a_key_comes_at_the_end() -> None:
    provider = Provider(pieces=[b"it begins with ", KEY[:8].encode()])
    await provider.call().make(provider)
    assert "".join(texts_of(provider)) == f"it begins with {KEY[:8]}"


async def test_no_more_of_an_error_is_read_than_its_explanation() -> None:
    provider = Provider(status=500, pieces=[b"x" * 65536] * 100)
    await provider.call().make(provider)
    assert sum(map(len, provider.read)) <= 2 * 65536


async def test_chunks_that_only_the_end_completes_are_delivered() -> None:
    provider = Provider(answer=Answer(late=(b'{"text":"last"}',)))
    await provider.call().make(provider)
    assert provider.delivered[-1] == b'{"text":"last"}'


async def test_nothing_is_read_behind_the_end_of_an_answer() -> None:
    provider = Provider(over_after=1, breaks=True)
    await provider.call().make(provider)
    assert texts_of(provider) == ["one"]


async def test_an_answer_that_broke_off_is_an_error_and_its_usage_is_kept() -> None:
    provider = Provider(breaks=True, answer=Answer(failure=BROKEN_OFF, model_served="m-1"))
    call = provider.call()
    with pytest.raises(IncompleteResponse):
        await call.make(provider)
    assert (call.answer.model_served, call.origin) == ("m-1", ORIGIN)


async def test_an_answer_that_is_complete_counts_although_its_connection_broke() -> None:
    provider = Provider(breaks=True, answer=Answer(body=b"{}", late=(b'{"text":"last"}',)))
    call = provider.call()
    await call.make(provider)
    assert call.answer.failure is None
    assert provider.delivered[-1] == b'{"text":"last"}'
