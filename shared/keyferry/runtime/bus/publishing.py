"""Durable publishing in batches: many records, one message, one sync to disk.

A stream that is synced syncs every acknowledged message, so records are sent together: those that arrive while a batch is being
acknowledged go into the next one.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import APIError

from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.usage import BatchHead
from keyferry.runtime.backoff import Backoff
from keyferry.runtime.concurrency import cancel_and_wait

_log = logging.getLogger(__name__)

MAX_RECORDS = 64
_MAX_BATCH_BYTES = 4 * 1024 * 1024
_PUBLISH_TIMEOUT_SECONDS = 5.0
_RETRIES = Backoff(first_seconds=0.1, longest_seconds=5.0)


class BatchPublisher:
    """Publishes records (JSON texts without a newline) in batches, in order, one batch in flight.

    A batch is repeated with the same message id until the server has stored it. `capacity` bounds the records in memory while
    the server is away; beyond it the oldest are dropped and counted, so records that must not be lost need another place (the
    worker's spool). `jetstream` is called for each publish, once the bus is connected.

    `watermark` returns what the head of the next batch says, as of the batches before it; `on_stored` gets the keys of a
    batch's records once the server has stored it.
    """

    def __init__(
        self,
        jetstream: Callable[[], JetStreamContext],
        subject: str,
        *,
        producer: str,
        spool_id: str | None = None,
        linger_seconds: float = 0.0,
        capacity: int = 50_000,
        watermark: Callable[[], int | None] = lambda: None,
        on_stored: Callable[[Sequence[str]], None] = lambda keys: None,
    ) -> None:
        self._jetstream = jetstream
        self._subject = subject
        self._producer = producer
        self._spool_id = spool_id
        self._linger_seconds = linger_seconds
        self._watermark = watermark
        self._on_stored = on_stored
        self._waiting: deque[tuple[bytes, str | None]] = deque(maxlen=capacity)
        self._mark_due = False
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0

    def start(self) -> None:
        """Begin to publish."""
        self._task = asyncio.create_task(self._run(), name=f"publish {self._subject}")

    def put(self, record: bytes, key: str | None = None) -> None:
        """Queue a record, under the key by which `on_stored` names it. Never blocks."""
        if len(self._waiting) == self._waiting.maxlen:
            self.dropped += 1
        self._waiting.append((record, key))
        self._idle.clear()
        self._wake.set()

    def put_mark(self) -> None:
        """Queue a batch with no record, for its watermark alone, unless another batch is about to carry it."""
        self._mark_due = True
        self._idle.clear()
        self._wake.set()

    async def flush(self, within_seconds: float) -> bool:
        """Wait until everything queued has been acknowledged; return whether that happened in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                await self._idle.wait()
        return self._idle.is_set()

    async def stop(self) -> None:
        """Stop publishing; records that are still queued are not published."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            if self._linger_seconds:
                await asyncio.sleep(self._linger_seconds)
            self._wake.clear()
            while self._waiting or self._mark_due:
                batch, keys = self._next_batch()
                await self._publish(batch)
                self._on_stored(keys)
            self._idle.set()

    def _next_batch(self) -> tuple[bytes, list[str]]:
        """Return the next batch, and the keys of its records."""
        lines: list[bytes] = []
        keys: list[str] = []
        size = 0
        self._mark_due = False
        while self._waiting and len(lines) < MAX_RECORDS and size < _MAX_BATCH_BYTES:
            line, key = self._waiting.popleft()
            size += len(line)
            lines.append(line)
            if key is not None:
                keys.append(key)
        head = BatchHead(
            producer=self._producer,
            spool_id=self._spool_id,
            count=len(lines),
            settled_until_unix_ms=self._watermark(),
        )
        return head.with_body(b"\n".join(lines)), keys

    async def _publish(self, batch: bytes) -> None:
        headers = {"Nats-Msg-Id": secrets.token_urlsafe(12)}
        failures = 0
        while True:
            try:
                await self._jetstream().publish(self._subject, batch, timeout=_PUBLISH_TIMEOUT_SECONDS, headers=headers)
                return
            except (TimeoutError, NatsError, APIError) as error:
                _log.warning(
                    "a batch is not stored yet", extra={"subject": self._subject, "error": type(error).__name__}
                )
                await asyncio.sleep(_RETRIES.delay_seconds(failures))
                failures += 1


def split_batch(batch: bytes) -> tuple[BatchHead, list[bytes]]:
    """Return the head of a batch and its records, one line each. Raises MalformedMessage for an invalid head."""
    head, body = BatchHead.split(batch)
    if body and not head.count:
        raise MalformedMessage("BatchHead", "count: records follow a head that counts none")
    return head, body.split(b"\n") if body else []
