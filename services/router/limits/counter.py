"""One limit of a tenant or client token in one window, as this router sees it: its block, and the requests that wait for more.

Requests that need more than the block holds wait together for one message to the counter on the bus.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

from keyferry.contracts.limit_counters import SKEW_MS
from services.router.limits.block import SHARE, Block

_EXHAUSTED_SECONDS = 0.05
"""So long a window that was found exhausted is not asked again, although others may have given back meanwhile.

Concurrency is asked at once: a request that has just ended makes way for the next.
"""
_STALE_SECONDS = 0.25
"""After so long the counter is read again, so that what is reported as remaining includes the other routers' requests."""
_UNAVAILABLE_SECONDS = 1.0
"""So long a counter that did not answer is not asked again."""
_IDLE_SECONDS = 1.0
"""A block that is not used for so long goes back, for the other routers."""
_SETTLED_SECONDS = 2 * SKEW_MS / 1000
"""After so long nobody adds to the epoch before any more, whatever is behind: a router's clock, or a worker that moves counts."""

Add = Callable[[str, int], Awaitable[int]]
"""Adds an amount to a counter on the bus and returns its new value. Raises CounterUnavailable."""
Spawn = Callable[[Awaitable[None]], None]
"""Runs work beside the caller."""


class CounterUnavailable(Exception):
    """The counters on the bus do not answer."""


class Counter:
    """A counter and its limit. `previous` is the counter of the epoch before, which counts as well; None for windows."""

    def __init__(
        self, subject: str, limit: int, add: Add, spawn: Spawn, *, previous: str | None = None, share: int = SHARE
    ) -> None:
        self.subject = subject
        self.limit = limit
        self._add = add
        self._spawn = spawn
        self._previous = previous
        self._is_window = previous is None
        self._block = Block(limit, share)
        self._waiting: deque[tuple[int, asyncio.Future[bool]]] = deque()
        self._filling = False
        self._closed = False
        self._read_at = self._exhausted_at = 0.0
        self._used_at = self._created_at = time.monotonic()
        self._unavailable_until = 0.0

    @property
    def remaining(self) -> int:
        """What is left of the limit, as far as this router knows."""
        return self._block.remaining

    def try_take(self, amount: int) -> bool | None:
        """Return whether the amount is taken; None if only the counter on the bus knows. Raises CounterUnavailable."""
        now = self._used_at = time.monotonic()
        if now < self._unavailable_until:
            raise CounterUnavailable
        if not self._waiting and self._block.spend(amount):
            if now - self._read_at > _STALE_SECONDS and not self._filling:
                self._filling = True
                self._spawn(self._refresh())
            return True
        exhausted = now - self._exhausted_at < _EXHAUSTED_SECONDS
        if exhausted and self._is_window and amount > self._block.remaining:
            return False
        return None

    async def take(self, amount: int) -> bool:
        """Return whether the amount is taken. Raises CounterUnavailable."""
        if (taken := self.try_take(amount)) is not None:
            return taken
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((amount, future))
        if not self._filling:
            self._filling = True
            self._spawn(self._fill())
        taken_later: bool = await future
        return taken_later

    async def look(self) -> int:
        """Return what is left of the limit, read from the bus unless that was done a moment ago."""
        now = time.monotonic()
        if now - self._read_at > _STALE_SECONDS and now >= self._unavailable_until and not self._filling:
            self._filling = True
            await self._refresh()
        return self.remaining

    def expire(self) -> None:
        """Have the next look read the counter again, since it has just changed."""
        self._read_at = 0.0

    def put_back(self, amount: int) -> None:
        """Put back what was taken for a request that is not made."""
        self._block.available += amount
        if self._closed:
            self.give_back()

    def give_back(self) -> None:
        """Take the block off the counter, so that other routers can use it."""
        if amount := self._block.give_back():
            self._spawn(self._subtract(amount))

    def close(self) -> None:
        """Give back everything, now and later: another counter takes this one's place."""
        self._closed = True
        self.give_back()

    def give_back_if_idle(self) -> None:
        """Give the block back if no request has used it for a while."""
        if self._block.available and time.monotonic() - self._used_at > _IDLE_SECONDS:
            self.give_back()

    # --- inside

    async def _fill(self) -> None:
        try:
            while self._waiting:
                await self._take_block()
        except CounterUnavailable as error:
            self._unavailable_until = time.monotonic() + _UNAVAILABLE_SECONDS
            while self._waiting:
                _, future = self._waiting.popleft()
                if not future.done():
                    future.set_exception(error)
        finally:
            self._filling = False
            if self._closed:
                self.give_back()

    async def _take_block(self) -> None:
        amount = self._block.amount_to_take(self._waiting[0][0], sum(amount for amount, _ in self._waiting))
        before = await self._read_previous()
        before += max(0, await self._add(self.subject, amount) - amount)
        self._read_at = time.monotonic()
        back = self._block.take(amount, before)
        still_waiting: deque[tuple[int, asyncio.Future[bool]]] = deque()
        while self._waiting:
            wanted, future = self._waiting.popleft()
            if future.done():
                continue
            if self._block.spend(wanted):
                future.set_result(True)
            elif back:
                future.set_result(False)
            else:
                still_waiting.append((wanted, future))
        self._waiting = still_waiting
        if back:
            self._exhausted_at = self._read_at
            await self._subtract(back + self._block.give_back())

    async def _read_previous(self) -> int:
        """Return what the epoch before still holds; read first, so that a count on its way from there is not missed."""
        if self._previous is None:
            return 0
        value = max(0, await self._add(self._previous, 0))
        if value == 0 and time.monotonic() - self._created_at > _SETTLED_SECONDS:
            self._previous = None
        return value

    async def _refresh(self) -> None:
        try:
            before = await self._read_previous()
            self._block.read(before + max(0, await self._add(self.subject, 0)))
            self._read_at = time.monotonic()
        except CounterUnavailable:
            self._unavailable_until = time.monotonic() + _UNAVAILABLE_SECONDS
        finally:
            self._filling = False
        if self._waiting:
            self._filling = True
            await self._fill()

    async def _subtract(self, amount: int) -> None:
        try:
            await self._add(self.subject, -amount)
        except CounterUnavailable:
            self._unavailable_until = time.monotonic() + _UNAVAILABLE_SECONDS
