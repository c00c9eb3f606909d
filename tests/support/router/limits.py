"""A request limiter over counters in memory."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from keyferry.tiers.file import BUNDLED_TIERS, Tiers
from services.router.limits.counter import Add, CounterUnavailable
from services.router.limits.limiter import RequestLimiter

TIERS = Tiers.parse(BUNDLED_TIERS.read_text(encoding="utf-8"))
_running: set[asyncio.Future[None]] = set()


class MemoryCounters:
    """Counters as the server keeps them: each adds, and returns its new value. `available` can be switched off."""

    def __init__(self) -> None:
        self.values: Counter[str] = Counter()
        self.calls = 0
        self.available = True

    async def add(self, subject: str, amount: int) -> int:
        """Add to a counter, a moment later."""
        self.calls += 1
        await asyncio.sleep(0)
        if not self.available:
            raise CounterUnavailable
        self.values[subject] += amount
        value = self.values[subject]
        await asyncio.sleep(0)
        return value


class SetClock:
    """A clock that shows what it is set to, in Unix milliseconds."""

    def __init__(self, now_ms: int = 1_800_000_000_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


def run_beside(work: Awaitable[None]) -> None:
    """Run work beside the caller, as the bus does."""
    task = asyncio.ensure_future(work)
    _running.add(task)
    task.add_done_callback(_running.discard)


def limiter(add: Add, now_ms: Callable[[], int] | None = None, *, fail_closed: bool = False) -> RequestLimiter:
    """Return a limiter with the bundled tiers."""
    return RequestLimiter(TIERS, now_ms or SetClock(), add, run_beside, fail_closed=fail_closed)
