"""A client with a scripted provider behind it, fake or real, scripted in one language for both."""

import asyncio
import itertools
import json
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from keyferry.cli.connection import operator
from keyferry.cli.installation import locate
from keyferry.client import Client, connect_with_credentials
from keyferry.client.testing import FakeKeyferry, Step, failure
from keyferry.contracts.failure import FailureClass, Where
from keyferry.contracts.route import SaveEndpoint
from keyferry.contracts.topology import ENDPOINT_SAVE
from tests.support.providers import upstream
from tests.support.system.keyferry_system import KeyferrySystem

PROMPT_TOKENS = 3
_TIMEOUT_SECONDS = 30.0
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Script:
    """What the provider does with one request: send `words`, then hang, break off or end; or fail with a status."""

    words: tuple[str, ...] = ()
    hangs: bool = False
    breaks_off: bool = False
    status: int = 200
    retry_after_seconds: int | None = None
    vectors: tuple[tuple[float, ...], ...] = ()
    """For a request for embeddings."""


class Side(Protocol):
    """Either of the two."""

    model: str
    """The model that the scripted provider offers."""

    @property
    def client(self) -> Client:
        """Whose requests it answers."""

    def script(self, script: Script) -> None:
        """Set the reply to the next request that has none yet."""

    async def asked(self) -> None:
        """Wait until a request has reached the provider."""

    async def given_up(self) -> None:
        """Wait until the provider has noticed that its last request was cancelled."""

    def tries(self) -> int:
        """Return how many requests have reached the provider."""


@dataclass
class FakeSide:
    """The fake. Refusals are what a worker makes of the provider's answer."""

    client: FakeKeyferry
    model: str

    def script(self, script: Script) -> None:
        if script.vectors:
            self.client.reply_embeddings(*script.vectors, prompt_tokens=PROMPT_TOKENS)
            return
        steps: list[Step] = [*script.words]
        if script.hangs:
            steps.append(asyncio.Event())
        if script.breaks_off:
            steps.append(failure(FailureClass.TRUNCATED, where=Where.MID_STREAM))
        if script.status == 429:
            delay = script.retry_after_seconds
            steps.append(failure(FailureClass.RATE_LIMIT, status=429, retry_after_seconds=delay))
        if script.status == 500:
            steps.append(failure(FailureClass.SERVER, status=500))
        self.client.reply(*steps, prompt_tokens=PROMPT_TOKENS, completion_tokens=len(script.words))

    async def asked(self) -> None:
        await self.client.wait_for_requests()

    async def given_up(self) -> None:
        assert self.client.requests[-1].cancelled

    def tries(self) -> int:
        return len([request for request in self.client.requests if request.model == self.model])


@dataclass
class RealSide:
    """A real system; the provider is an HTTP server on loopback."""

    client: Client
    provider: upstream.Upstream
    model: str
    scripts: deque[Script] = field(default_factory=deque)
    reached: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)

    def script(self, script: Script) -> None:
        self.scripts.append(script)

    def answer(self, asked: upstream.ProviderRequest) -> upstream.Reply:
        self.reached.set()
        script = self.scripts.popleft()
        if script.status != 200:
            delay = script.retry_after_seconds
            headers = {} if delay is None else {"retry-after": str(delay)}
            return upstream.failing(script.status, {"message": "as scripted"}, headers)
        if script.vectors:
            return _embedded(script, self.model)
        if not asked.body.get("stream"):
            whole = upstream.completion("".join(script.words), self.model, PROMPT_TOKENS, len(script.words))
            return upstream.Reply(200, whole.headers, self._until_gone(whole.pieces)) if script.hangs else whole
        reply = upstream.stream_of([*script.words], done=not (script.hangs or script.breaks_off))
        return upstream.Reply(200, reply.headers, self._until_gone(reply.pieces, last=True)) if script.hangs else reply

    async def _until_gone(self, pieces: upstream.Pieces, *, last: bool = False) -> upstream.Pieces:
        """Yield the pieces with endless waiting after them, or before them."""
        try:
            if last:
                async for piece in pieces:
                    yield piece
            await asyncio.Event().wait()
        finally:
            self.gone.set()  # also where it went in the middle of a piece

    async def asked(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, _TIMEOUT_SECONDS), "the provider never got a request"

    async def given_up(self) -> None:
        assert await asyncio.to_thread(self.gone.wait, _TIMEOUT_SECONDS), (
            "the provider never noticed that the client was gone"
        )
        assert not self.provider.calls[-1].finished

    def tries(self) -> int:
        return len(self.provider.calls)


def _embedded(script: Script, model: str) -> upstream.Reply:
    rows = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(script.vectors)]
    usage = {"prompt_tokens": PROMPT_TOKENS, "total_tokens": PROMPT_TOKENS}
    body = json.dumps({"object": "list", "data": rows, "model": model, "usage": usage}).encode()
    return upstream.Reply(200, {"content-type": "application/json"}, upstream.pieces_of(body))


@asynccontextmanager
async def fake_side(*, max_retries: int) -> AsyncIterator[Side]:
    """Run the fake."""
    async with FakeKeyferry(models=["scripted"], max_retries=max_retries) as client:
        yield FakeSide(client, "scripted")


@asynccontextmanager
async def real_side(system: KeyferrySystem, *, max_retries: int) -> AsyncIterator[Side]:
    """Connect the demo tenant's client to a real system, with an endpoint of its own."""
    number = next(_numbers)
    sides: list[RealSide] = []
    with upstream.running_upstream(lambda asked: sides[0].answer(asked)) as provider:
        async with connect_demo(system, max_retries=max_retries) as client:
            side = RealSide(client, provider, f"scripted-{number}")
            sides.append(side)
            await _add_endpoint(system, f"side-{number}", side)
            yield side


async def _add_endpoint(system: KeyferrySystem, name: str, side: RealSide) -> None:
    asked = SaveEndpoint(tenant="demo", name=name, base_url=side.provider.base_url, models=[side.model])
    async with operator(locate(system.environment)) as me:
        await me.ask(ENDPOINT_SAVE, asked)
    async with asyncio.timeout(_TIMEOUT_SECONDS):
        while side.model not in {model.id for model in await side.client.models()}:
            pass


@asynccontextmanager
async def connect_demo(system: KeyferrySystem, *, max_retries: int = 2) -> AsyncIterator[Client]:
    """Connect the demo tenant's client with the credentials that the launcher made."""
    async with connect_with_credentials(
        Path(system.state["client_credentials_file"]), max_retries=max_retries
    ) as client:
        yield client
