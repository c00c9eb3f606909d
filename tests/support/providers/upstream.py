"""A provider on loopback that a test scripts, with its own log of the requests it got: the oracle of accounting tests.

It runs in a thread with its own event loop, so that a test may block while it serves.
"""

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Pieces = AsyncIterator[bytes]


@dataclass(frozen=True)
class ProviderRequest:
    """One request as it arrived."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    """Empty where nothing was sent."""
    query: str = ""
    method: str = "POST"


@dataclass(frozen=True)
class Reply:
    """What to answer: `pieces` are written one by one."""

    status: int
    headers: Mapping[str, str]
    pieces: Pieces
    before: Callable[[], Awaitable[None]] | None = None
    """Awaited before the status line is sent."""
    reason: str | None = None
    """The text of the status line, where it is not the usual one."""
    hang_up: bool = False
    """Close the connection in place of any answer."""


Responder = Callable[[ProviderRequest], Reply]


@dataclass
class Call:
    """One line of the provider's own log."""

    request: ProviderRequest
    at: float = field(default_factory=time.monotonic)
    """When it arrived, by the monotonic clock (seconds)."""
    finished: bool = False
    """Whether the whole reply was written; a client that went away leaves it false."""
    over: bool = False
    """Whether nothing more happens, however it ended."""
    pieces: int = 0
    """How many pieces of the reply were written so far."""
    written_bytes: int = 0


@dataclass
class Upstream:
    """The running provider."""

    answer: Responder
    port: int = 0
    calls: list[Call] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        """What an endpoint is added with."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        at, sent = time.monotonic(), await request.read()
        body = json.loads(sent) if sent else {}
        call = Call(
            ProviderRequest(request.path, dict(request.headers), body, request.query_string, request.method), at
        )
        self.calls.append(call)
        try:
            return await self._reply(request, call, self.answer(call.request))
        finally:
            call.over = True

    async def _reply(self, request: web.Request, call: Call, reply: Reply) -> web.StreamResponse:
        if reply.before is not None:
            await reply.before()
        response = web.StreamResponse(status=reply.status, reason=reply.reason, headers=dict(reply.headers))
        if reply.hang_up:
            assert request.transport is not None
            request.transport.close()
            return response
        await response.prepare(request)
        # Closed at once if a write fails, so that the generator ends then and not at some garbage collection.
        async with _closed_in_the_end(reply.pieces) as pieces:
            async for piece in pieces:
                await response.write(piece)
                call.pieces += 1
                call.written_bytes += len(piece)
        await response.write_eof()
        call.finished = True
        return response


@asynccontextmanager
async def _closed_in_the_end(pieces: Pieces) -> AsyncIterator[Pieces]:
    try:
        yield pieces
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


@contextmanager
def running_upstream(answer: Responder) -> Iterator[Upstream]:
    """Serve any path until the block ends."""
    upstream = Upstream(answer)
    loop = asyncio.new_event_loop()
    started, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", upstream.handle)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        upstream.port = runner.addresses[0][1]
        started.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="upstream", daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield upstream
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


async def pieces_of(*data: bytes, pause: Callable[[], Awaitable[None]] | None = None) -> Pieces:
    """Yield `data` one after the other, with `pause` before each."""
    for piece in data:
        if pause is not None:
            await pause()
        yield piece


def completion(text: str, model: str = "m", prompt_tokens: int = 3, completion_tokens: int = 2) -> Reply:
    """Return a complete chat completion."""
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": usage(prompt_tokens, completion_tokens),
    }
    return Reply(200, {"content-type": "application/json"}, pieces_of(json.dumps(body).encode()))


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """Return an OpenAI usage object."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def event(document: Mapping[str, Any]) -> bytes:
    """Return one server-sent event."""
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def chunk(delta: Mapping[str, Any], finish_reason: str | None = None, model: str = "m") -> bytes:
    """Return a `chat.completion.chunk` event."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return event({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]})


def stream_of(words: list[str], *, done: bool = True, pause: Callable[[], Awaitable[None]] | None = None) -> Reply:
    """Return a streamed answer, complete unless `done` is false."""
    events = [chunk({"role": "assistant", "content": ""}), *(chunk({"content": word}) for word in words)]
    if done:
        final = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": []}
        events += [chunk({}, "stop"), event(final | {"usage": usage(3, len(words))}), b"data: [DONE]\n\n"]
    return Reply(200, {"content-type": "text/event-stream"}, pieces_of(*events, pause=pause))


def failing(status: int, error: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Reply:
    """Return an error in OpenAI's format."""
    body = json.dumps({"error": error}).encode()
    return Reply(status, {"content-type": "application/json", **(headers or {})}, pieces_of(body))
