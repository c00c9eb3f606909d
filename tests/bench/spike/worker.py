"""Spike process 3: calls the upstream, sends the answer straight to the caller's inbox, records the usage."""

import asyncio

import aiohttp
import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

from tests.bench.spike import process, wire
from tests.bench.spike.usage import UsagePublisher

_UPSTREAM_TIMEOUT = aiohttp.ClientTimeout(total=30)
_HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer bench"}
_DONE = b"data: [DONE]"


class Worker:
    """One task for each attempt."""

    def __init__(
        self, client: Client, session: aiohttp.ClientSession, usage: UsagePublisher, upstream_url: str
    ) -> None:
        self._client = client
        self._session = session
        self._usage = usage
        self._upstream_url = upstream_url
        self._tasks: set[asyncio.Task[None]] = set()

    async def on_attempt(self, message: Msg) -> None:
        """Start an attempt and return, so that the next one need not wait."""
        task = asyncio.create_task(self._attempt(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attempt(self, message: Msg) -> None:
        head_line, _, body = message.data.partition(b"\n")
        streams = bool(orjson.loads(body).get("stream"))
        url = f"{self._upstream_url}/{'stream' if streams else 'plain'}/v1/chat/completions"
        try:
            async with self._session.post(url, data=body, headers=_HEADERS) as answer:
                answer.raise_for_status()
                relay = self._relay_stream if streams else self._relay_plain
                usage = await relay(answer, message.reply)
        except (aiohttp.ClientError, TimeoutError) as error:
            await self._client.publish(message.reply, wire.FAILED + repr(error).encode())
            return
        self._usage.add({**orjson.loads(head_line), "usage": usage})

    async def _relay_plain(self, answer: aiohttp.ClientResponse, reply: str) -> object:
        content = await answer.read()
        await self._client.publish(reply, wire.ANSWER + content)
        return orjson.loads(content)["usage"]

    async def _relay_stream(self, answer: aiohttp.ClientResponse, reply: str) -> object:
        usage: object = None
        rest = b""
        first_sent = False
        async for part in answer.content.iter_any():
            events, rest = wire.split_events(rest + part)
            for frame in wire.frames(events, first_sent):
                await self._client.publish(reply, frame)
            first_sent = first_sent or bool(events)
            for event in events:
                if not event.startswith(_DONE):
                    usage = orjson.loads(event.removeprefix(b"data: ")).get("usage") or usage
        await self._client.publish(reply, wire.END)
        return usage


async def run(client: Client, arguments: process.Arguments) -> None:
    """Work on attempts until SIGTERM."""
    usage = UsagePublisher(client)
    await usage.start()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=_UPSTREAM_TIMEOUT) as session:
        worker = Worker(client, session, usage, arguments.upstream_url)
        await client.subscribe(wire.ATTEMPT_SUBJECT, queue="worker", cb=worker.on_attempt)
        await client.flush()
        publishing = asyncio.create_task(usage.run())
        stopping = asyncio.create_task(process.until_stopped())
        wire.announce(arguments.directory, "worker")
        # A failed publish ends the process: a benchmark that loses its account must not go on.
        await asyncio.wait({publishing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if publishing.done():
            publishing.result()
        publishing.cancel()


if __name__ == "__main__":
    process.main("worker", run)
