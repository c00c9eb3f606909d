"""What the attempts of this process hold of their tenants' limits, and its release when they end.

The counters need no answer: a plain message adds to one. Those of a process that dies are free again after two epochs, since
nobody renews them (`keyferry.contracts.limit_counters`).
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from nats.errors import Error as NatsError

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.limit_counters import Increment, add_tokens, renew, settle
from keyferry.contracts.limits import Admission
from keyferry.contracts.usage import AttemptRecord, Outcome, UsageSource
from keyferry.runtime.concurrency import cancel_and_wait

_log = logging.getLogger(__name__)

_RENEW_SECONDS = 3.0
"""Often enough within an epoch that a process which stands still for a while renews in time."""

Count = Callable[[str, int], Awaitable[None]]
"""Adds an amount to a counter, by its subject; raises nats-py's errors when the bus is unavailable."""


class HeldLimits:
    """The admissions of all attempts of a process, by attempt."""

    def __init__(self, count: Count, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._count = count
        self._now_ms = now_ms
        self._held: dict[str, tuple[str, Admission]] = {}
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._held)

    async def start(self) -> None:
        """Begin to renew what is held."""
        self._task = asyncio.create_task(self._renew(), name="renew held limits")

    async def stop(self) -> None:
        """Stop renewing."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    def hold(self, run: AttemptRun) -> None:
        """Hold what a request was admitted with, until it is released or handed on."""
        if run.admission is not None:
            self._held[run.attempt_id] = run.tenant, run.admission

    async def release(self, attempt_id: str, used_tokens: int | None) -> None:
        """Release what an attempt holds, if it still holds anything: its request has ended."""
        if (held := self._held.pop(attempt_id, None)) is not None:
            await self._add(settle(held[1], held[0], used_tokens, self._now_ms()))

    async def hand_on(self, attempt_id: str, used_tokens: int | None) -> Admission | None:
        """Return what the next attempt of the request holds, after one that failed and used these tokens."""
        if (held := self._held.pop(attempt_id, None)) is None:
            return None
        await self._add(add_tokens(held[1], held[0], used_tokens or 0, self._now_ms()))
        return held[1]

    async def renew_once(self) -> None:
        """Move what is held into the present epoch."""
        for attempt_id in list(self._held):
            if (held := self._held.get(attempt_id)) is None:
                continue  # it has ended while the counts of another were sent
            tenant, admission = held
            renewed, increments = renew(admission, tenant, self._now_ms())
            if increments:
                self._held[attempt_id] = tenant, renewed
                await self._add(increments)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            await self.renew_once()

    async def _add(self, increments: list[Increment]) -> None:
        try:
            for subject, amount in increments:
                await self._count(subject, amount)
        except NatsError:
            # The counters are gone with the bus, or are free again soon.
            _log.warning("limits could not be released", extra={"counters": len(increments)})


def used_tokens(record: AttemptRecord) -> int | None:
    """Return the tokens that an attempt used; None if an answer was given whose usage is unknown."""
    if record.usage_source is UsageSource.NONE:
        return None if record.outcome is Outcome.COMPLETED else 0
    return record.token_usage.total
