"""Pulling batches from durable consumers: what was handled is acknowledged, what failed is delivered again.

While a batch is handled the server hears of it, so that no other process gets it as well. What the server delivered but this
process never got, because it was frozen until its connection was closed, comes again after the consumer's `ack_wait`.

The framework's own pull subscriber waits for its timeout unless a batch is full (docs/decisions/2026-11-21-own-pull-loop.md).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js import JetStreamContext

from keyferry.contracts.topology import Consumer

_log = logging.getLogger(__name__)

BatchHandler = Callable[[list[Msg]], Awaitable[None]]

_BATCH_SIZE = 500
_MOST_BYTES = 32 * 1024 * 1024
"""Of one batch: the server closes a connection that has 64 MB before it, and what was on its way comes again much later."""
_LARGEST_BYTES = 4 * 1024 * 1024
"""What the messages of a stream are taken for before any has come."""
LINGER_SECONDS = 0.025
"""A pause after a batch that was not full: under load the next one is larger, and a transaction costs the same for many."""
_FETCH_TIMEOUT_SECONDS = 5.0
_REDELIVERY_DELAY_SECONDS = 2.0
_PROGRESS_SECONDS = 5.0
"""Between reports that a batch is still handled: a small part of the shortest `ack_wait`, since reports may be late."""
_MOST_REPORTS = 12
"""After a minute the batch is another process's: this one may hang."""


class BatchSize:
    """How many messages to ask for at once, by the size of those that came last: the server knows no limit in bytes here."""

    def __init__(self) -> None:
        self._largest = _LARGEST_BYTES

    @property
    def messages(self) -> int:
        """Return how many messages to ask for."""
        return min(_BATCH_SIZE, max(1, _MOST_BYTES // self._largest))

    def add(self, batch: Sequence[Msg]) -> None:
        """Learn from a batch that came. An earlier large message counts half as much with each."""
        self._largest = max(1, self._largest // 2, *(len(message.data) for message in batch))


class Puller:
    """Hands batches of one durable consumer to `handler` until `stop`.

    `start_work` runs a coroutine as a task that the process waits for when it drains.
    """

    def __init__(
        self,
        consumer: Consumer,
        handler: BatchHandler,
        start_work: Callable[[Awaitable[None]], asyncio.Task[None]],
        linger_seconds: float = LINGER_SECONDS,
    ) -> None:
        self.consumer = consumer
        self._handler = handler
        self._start_work = start_work
        self._linger_seconds = linger_seconds
        self._size = BatchSize()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def start(self, jetstream: JetStreamContext) -> None:
        """Begin to pull."""
        self._task = asyncio.create_task(self._run(jetstream), name=f"pull {self.consumer.stream}")

    async def stop(self) -> None:
        """Stop pulling; a batch that was begun goes on."""
        self._stopping = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, jetstream: JetStreamContext) -> None:
        subscription = await jetstream.pull_subscribe_bind(consumer=self.consumer.durable, stream=self.consumer.stream)
        try:
            while not self._stopping:  # before Python 3.12, `wait_for` can lose a cancellation
                await self._pull(subscription)
        finally:
            await _return_undelivered(subscription)

    async def _pull(self, subscription: JetStreamContext.PullSubscription) -> None:
        size = self._size.messages
        try:
            batch = await subscription.fetch(size, timeout=_FETCH_TIMEOUT_SECONDS)
        except (NatsTimeoutError, TimeoutError):
            return
        except NatsError as error:
            _log.warning("cannot pull", extra={"stream": self.consumer.stream, "error": type(error).__name__})
            await asyncio.sleep(_REDELIVERY_DELAY_SECONDS)
            return
        self._size.add(batch)
        # `stop` cancels this task; a batch that was begun goes on, and the drain waits for it.
        await asyncio.shield(self._start_work(self._handle(batch)))
        if len(batch) < size:
            await asyncio.sleep(self._linger_seconds)

    async def _handle(self, batch: list[Msg]) -> None:
        reporting = asyncio.create_task(_report_progress(batch), name=f"progress of {self.consumer.stream}")
        try:
            await self._handler(batch)
        except Exception:  # the edge of the loop: nothing is acknowledged, so nothing is lost
            _log.exception(
                "a batch failed and will be delivered again",
                extra={"stream": self.consumer.stream, "messages": len(batch)},
            )
            for message in batch:
                with suppress(NatsError):
                    await message.nak(delay=_REDELIVERY_DELAY_SECONDS)
            await asyncio.sleep(_REDELIVERY_DELAY_SECONDS)
            return
        finally:
            reporting.cancel()
        for message in batch:
            with suppress(NatsError):  # without an acknowledgement it comes again, and the reader knows it by its ids
                await message.ack()


async def _report_progress(batch: Sequence[Msg]) -> None:
    """Let the server wait longer for the acknowledgements of a batch that takes long."""
    for _ in range(_MOST_REPORTS):
        await asyncio.sleep(_PROGRESS_SECONDS)
        for message in batch:
            with suppress(NatsError):
                await message.in_progress()


async def _return_undelivered(subscription: JetStreamContext.PullSubscription) -> None:
    """Stop pulling, and release what was delivered here but not fetched to other processes at once.

    Left in the buffer, it would come again only after the consumer's `ack_wait`, and the connection's drain would wait for
    it to be fetched.
    """
    delivered = (
        subscription._sub._pending_queue
    )  # nats-py has no public access to what a pull subscription has buffered
    with suppress(NatsError):
        await subscription.unsubscribe()
        while not delivered.empty():
            message = delivered.get_nowait()
            if message.reply:  # the server's own status messages have none
                await message.nak()
