"""Publishes what was committed to the pages that are open. Nobody waits for it, and what cannot be published is counted."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from itertools import islice

from nats.errors import Error as NatsError

from keyferry.contracts.credit_management import to_micro_usd
from keyferry.contracts.live_events import (
    CREDITS_CHANGED,
    DEAD_LETTERS_COUNTED,
    REQUESTS_RECORDED,
    CreditAmounts,
    DeadLetterCount,
)
from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.usage import LedgerRow
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.errors import DatabaseUnavailable
from keyferry.runtime.tracing.context import trace_id
from services.usage_ledger.live.pending import PendingRequests

_log = logging.getLogger(__name__)

_LINGER_SECONDS = 0.1
"""What is committed within this time of the last message is published together."""
_CREDIT_LINGER_SECONDS = 1.0
"""The credits of a tenant are read at most this often: many attempts change them."""
_RETRY_SECONDS = 0.5
_MAX_TENANTS = 100
"""Whose credits are read at once; with more tenants than that in a second, each waits for its turn."""

Publish = Callable[[str, bytes], Awaitable[None]]
"""Publishes on a subject. Raises nats-py's errors."""
ReadCredits = Callable[[list[str], datetime], Awaitable[list[CreditAmounts]]]
"""Raises DatabaseUnavailable."""


class LivePublisher:
    """What is still to be published, and the two tasks that do it. The methods `add_…` and `mark_…` neither wait nor fail."""

    def __init__(self, publish: Publish, read_credits: ReadCredits, clock: Callable[[], datetime]) -> None:
        self._publish = publish
        self._read_credits = read_credits
        self._clock = clock
        self._requests = PendingRequests()
        self._letters: int | None = None
        self._wake = asyncio.Event()
        self._credits: dict[str, None] = {}
        """Tenants in the order in which they are read."""
        self._holding: set[str] = set()
        self._credits_wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def add_attempts(self, rows: list[LedgerRow]) -> None:
        """Publish attempts that were committed, and the credits that they change."""
        if rows:
            self._requests.add_attempts(rows, time.monotonic())
            self._wake.set()
            self.mark_credits({row.record.tenant for row in rows if row.record.reservation is not None})

    def add_decisions(self, records: list[DecisionRecord]) -> None:
        """Publish requests that were refused by decisions that were committed."""
        refused = [(record, trace_id(record.traceparent)) for record in records if record.refusal is not None]
        self._requests.add_decisions(refused, time.monotonic())
        if self._requests:
            self._wake.set()

    def mark_credits(self, tenants: Iterable[str]) -> None:
        """Publish what these tenants have in credits, after those that wait already."""
        self._credits.update(dict.fromkeys(tenants))
        if self._credits:
            self._credits_wake.set()

    def mark_credits_first(self, tenants: Iterable[str]) -> None:
        """Publish what these tenants have in credits, before all that wait: somebody has just changed it."""
        self._credits = dict.fromkeys(tenants) | self._credits
        self._credits_wake.set()

    def mark_released(self) -> None:
        """Publish what those tenants have of whom something was held: some of it was released."""
        self.mark_credits(self._holding)

    def count_dead_letters(self, number: int) -> None:
        """Publish how many dead letters there are."""
        self._letters = number
        self._wake.set()

    async def start(self) -> None:
        """Start to publish."""
        self._tasks = [
            asyncio.create_task(self._run(self._wake, _LINGER_SECONDS, self._publish_requests), name="live requests"),
            asyncio.create_task(
                self._run(self._credits_wake, _CREDIT_LINGER_SECONDS, self._publish_credits), name="live credits"
            ),
        ]

    async def stop(self) -> None:
        """Stop; what is not published yet is not missed by anybody but pages, which load everything again."""
        for task in self._tasks:
            await cancel_and_wait(task)

    async def _run(self, wake: asyncio.Event, pause_seconds: float, publish: Callable[[], Awaitable[None]]) -> None:
        while True:
            await wake.wait()
            wake.clear()
            try:
                await publish()
            except DatabaseUnavailable:
                wake.set()
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception:  # the edge of the loop: an event that cannot be published must not end the publishing
                _log.exception("a live event could not be published")
            await asyncio.sleep(pause_seconds)

    async def _publish_requests(self) -> None:
        for tenant, message in self._requests.take(self._clock()):
            await self._send(REQUESTS_RECORDED.format(tenant=tenant), message)
            await asyncio.sleep(0)
        letters, self._letters = self._letters, None
        if letters is not None:
            await self._send(DEAD_LETTERS_COUNTED.format(), DeadLetterCount(count=letters, at=self._clock()).encode())

    async def _publish_credits(self) -> None:
        some = list(islice(self._credits, _MAX_TENANTS))
        for tenant in some:
            del self._credits[tenant]
        try:
            found = await self._read_credits(some, self._clock())
        except DatabaseUnavailable:
            self.mark_credits(some)
            raise
        finally:
            if self._credits:
                self._credits_wake.set()
        for amounts in found:
            holds = to_micro_usd(amounts.held) > 0
            (self._holding.add if holds else self._holding.discard)(amounts.tenant)
            await self._send(CREDITS_CHANGED.format(tenant=amounts.tenant), amounts.encode())

    async def _send(self, subject: str, data: bytes) -> None:
        """Publish a message, as soon as the bus takes it."""
        while True:
            try:
                await self._publish(subject, data)
                return
            except (NatsError, OSError, TimeoutError):
                await asyncio.sleep(_RETRY_SECONDS)
