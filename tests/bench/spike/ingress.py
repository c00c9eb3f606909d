"""Spike process 1: HTTP in, one bus message out, and frames from its own inbox back to the client."""

import asyncio
import itertools
import secrets
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson
import uvicorn
from nats.aio.client import Client
from nats.aio.msg import Msg

from tests.bench.spike import process, wire

# The ASGI specification types its messages as dictionaries of anything.
_Message = MutableMapping[str, Any]
_ANSWER_TIMEOUT_SECONDS = 30


class Ingress:
    """An ASGI application over one connection and one wildcard inbox subscription."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._inbox = f"{wire.INBOX_PREFIX}.{secrets.token_hex(16)}"
        self._numbers = itertools.count()
        self._waiting: dict[str, asyncio.Queue[bytes]] = {}

    async def subscribe(self) -> None:
        """Listen to the inbox of this process."""
        await self._client.subscribe(f"{self._inbox}.*", cb=self._on_frame)

    async def _on_frame(self, message: Msg) -> None:
        queue = self._waiting.get(message.subject.rpartition(".")[2])
        if queue is not None:
            queue.put_nowait(message.data)

    async def __call__(
        self, scope: _Message, receive: Callable[[], Awaitable[_Message]], send: Callable[[_Message], Awaitable[None]]
    ) -> None:
        """Answer one HTTP request."""
        body = await _read(receive)
        number = str(next(self._numbers))
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._waiting[number] = queue
        try:
            head = orjson.dumps({"request": number, "tenant": "bench"})
            await self._client.publish(wire.REQUEST_SUBJECT, head + b"\n" + body, reply=f"{self._inbox}.{number}")
            async with asyncio.timeout(_ANSWER_TIMEOUT_SECONDS):
                await _answer(queue, send)
        finally:
            del self._waiting[number]


async def _read(receive: Callable[[], Awaitable[_Message]]) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _answer(queue: asyncio.Queue[bytes], send: Callable[[_Message], Awaitable[None]]) -> None:
    frame = await queue.get()
    if frame[:1] == wire.DELTAS:
        await _start(send, 200, b"text/event-stream", None)
        while frame[:1] == wire.DELTAS:
            await send({"type": "http.response.body", "body": frame[1:], "more_body": True})
            frame = await queue.get()
        if frame[:1] != wire.END:
            raise ConnectionError(frame[1:].decode())
        await send({"type": "http.response.body", "body": b""})
        return
    status = 200 if frame[:1] == wire.ANSWER else 502
    await _start(send, status, b"application/json", len(frame) - 1)
    await send({"type": "http.response.body", "body": frame[1:]})


async def _start(
    send: Callable[[_Message], Awaitable[None]], status: int, content_type: bytes, length_bytes: int | None
) -> None:
    headers = [(b"content-type", content_type)]
    if length_bytes is not None:
        headers.append((b"content-length", str(length_bytes).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def run(client: Client, arguments: process.Arguments) -> None:
    """Serve HTTP on a free loopback port until SIGTERM; the readiness file holds the port."""
    ingress = Ingress(client)
    await ingress.subscribe()
    await client.flush()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        wire.announce(arguments.directory, "ingress", str(listener.getsockname()[1]))
        config = uvicorn.Config(ingress, http="httptools", lifespan="off", access_log=False, log_level="warning")
        await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    process.main("ingress", run)
