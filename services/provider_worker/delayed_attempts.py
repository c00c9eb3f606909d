"""Attempts that are accepted and wait until their provider may be called: before a retry, or until it takes requests again.

They hold no place of a provider or tenant meanwhile, and nothing is recorded of them: no call has begun.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

from keyferry.contracts.chat import AttemptRun

MAX_DELAYED = 1000
"""Of one worker process."""
MAX_DELAYED_OF_TENANT = 250
"""How many of them may be of one tenant: whose own server lets requests wait must not take the retries of others."""
MAX_DELAYED_BYTES = 256 * 1024 * 1024
"""Their bodies, which stay in memory meanwhile; those of one tenant a quarter of it."""
_SHARE_OF_TENANT = 4


@dataclass(slots=True, eq=False)
class _Delayed:
    """One waiting attempt."""

    tenant: str
    body_bytes: int
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)


class DelayedAttempts:
    """The waiting attempts of one worker process."""

    def __init__(self) -> None:
        self._waiting: dict[str, _Delayed] = {}
        self._by_tenant: Counter[str] = Counter()
        self._bytes_of_tenant: Counter[str] = Counter()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def may_wait(self, tenant: str, body_bytes: int) -> bool:
        """Return whether one more attempt of `tenant` with a body of this size may wait."""
        if len(self._waiting) >= MAX_DELAYED or self._by_tenant[tenant] >= MAX_DELAYED_OF_TENANT:
            return False
        own_bytes = self._bytes_of_tenant[tenant] + body_bytes
        return self._bytes + body_bytes <= MAX_DELAYED_BYTES and own_bytes <= MAX_DELAYED_BYTES // _SHARE_OF_TENANT

    def __contains__(self, attempt_id: str) -> bool:
        return attempt_id in self._waiting

    async def wait(self, run: AttemptRun, body_bytes: int) -> AttemptRun | None:
        """Wait for the attempt's delay and return it with what is left of its time; None if its caller cancelled it.

        Its provider may be called so much later, too, because its caller knows since the acceptance that it need not ask again.
        """
        delayed = self._waiting[run.attempt_id] = _Delayed(run.tenant, body_bytes)
        self._count(delayed, 1)
        started = time.monotonic()
        try:
            async with asyncio.timeout(min(run.delay_ms, run.deadline_ms) / 1000):
                await delayed.cancelled.wait()
            return None
        except TimeoutError:
            waited_ms = int((time.monotonic() - started) * 1000)
            left_ms, start_by = max(0, run.deadline_ms - waited_ms), run.start_by_unix_ms + run.delay_ms
            within = run.first_answer_within_ms
            return run.model_copy(
                update={
                    "deadline_ms": left_ms,
                    "start_by_unix_ms": start_by,
                    "first_answer_within_ms": None if within is None else min(within, left_ms),
                }
            )
        finally:
            del self._waiting[run.attempt_id]
            self._count(delayed, -1)

    def cancel(self, attempt_id: str, tenant: str) -> bool:
        """End the wait of an attempt for its caller, and return whether it was waiting."""
        delayed = self._waiting.get(attempt_id)
        if delayed is None or delayed.tenant != tenant:
            return False
        delayed.cancelled.set()
        return True

    def _count(self, delayed: _Delayed, by: int) -> None:
        """Count an attempt that begins to wait, or one less."""
        self._by_tenant[delayed.tenant] += by
        self._bytes_of_tenant[delayed.tenant] += by * delayed.body_bytes
        self._bytes += by * delayed.body_bytes
        if not self._by_tenant[delayed.tenant]:
            del self._by_tenant[delayed.tenant], self._bytes_of_tenant[delayed.tenant]
