"""What waits for the consumers that a process pulls: the server is asked now and then, and the last answer is kept."""

import asyncio
import logging
from collections.abc import Callable, Iterable

from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import APIError

from keyferry.contracts.topology import Consumer
from keyferry.runtime.concurrency import cancel_and_wait

_log = logging.getLogger(__name__)

_EVERY_SECONDS = 5.0

Counts = dict[tuple[str, ...], float]
"""A number of messages by stream and consumer."""


class ConsumerState:
    """Follows the state of `consumers`, which all processes of a service share. `jetstream` is called for each question."""

    def __init__(self, jetstream: Callable[[], JetStreamContext], consumers: Callable[[], Iterable[Consumer]]) -> None:
        self._jetstream = jetstream
        self._consumers = consumers
        self._task: asyncio.Task[None] | None = None
        self.pending: Counts = {}
        """Messages that a consumer has not delivered yet; nothing for one whose state is unknown now."""
        self.unacknowledged: Counts = {}
        """Messages that were delivered and are not acknowledged."""

    async def start(self) -> None:
        """Begin to follow them."""
        self._task = asyncio.create_task(self._follow(), name="state of consumers")

    async def stop(self) -> None:
        """Stop following them."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def _follow(self) -> None:
        while True:
            for consumer in self._consumers():
                await self._ask(consumer)
            await asyncio.sleep(_EVERY_SECONDS)

    async def _ask(self, consumer: Consumer) -> None:
        key = (consumer.stream, consumer.durable)
        try:
            found = await self._jetstream().consumer_info(consumer.stream, consumer.durable)
        except (NatsError, APIError, TimeoutError) as error:
            _log.debug("the state of a consumer is not known: %s", type(error).__name__)
            self.pending.pop(key, None)
            self.unacknowledged.pop(key, None)
            return
        self.pending[key] = found.num_pending or 0
        self.unacknowledged[key] = found.num_ack_pending or 0
