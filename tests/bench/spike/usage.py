"""The spike's accounting: usage records batched into durable messages, one publish in flight."""

import asyncio

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import DiscardPolicy, StorageType, StreamConfig

from tests.bench.spike import wire

_STREAM_MAX_BYTES = 256 * 1024 * 1024


class UsagePublisher:
    """Collects records while a publish waits for its acknowledgement, and sends up to 64 of them in the next.

    A memory queue stands where the product has a spool: the spike counts what was confirmed but survives nothing.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._jetstream = client.jetstream()
        self._pending: list[dict[str, object]] = []
        self._wake = asyncio.Event()
        self._confirmed = 0

    async def start(self) -> None:
        """Create the file stream and answer questions for the count."""
        await self._jetstream.add_stream(
            StreamConfig(
                name=wire.USAGE_STREAM,
                subjects=[wire.USAGE_SUBJECT],
                storage=StorageType.FILE,
                max_bytes=_STREAM_MAX_BYTES,
                discard=DiscardPolicy.OLD,
            )
        )
        await self._client.subscribe(wire.COUNT_SUBJECT, cb=self._on_count)

    def add(self, record: dict[str, object]) -> None:
        """Queue one record."""
        self._pending.append(record)
        self._wake.set()

    async def run(self) -> None:
        """Publish for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                batch = self._pending[: wire.MAX_RECORDS_PER_BATCH]
                del self._pending[: wire.MAX_RECORDS_PER_BATCH]
                await self._jetstream.publish(wire.USAGE_SUBJECT, orjson.dumps(batch))
                self._confirmed += len(batch)

    async def _on_count(self, message: Msg) -> None:
        await message.respond(str(self._confirmed).encode())
