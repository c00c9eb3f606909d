"""Publishes to the vault what calls with provider keys cost this month, for the keys' monthly limits: many keys a message."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import datetime

from nats.errors import Error as NatsError

from keyferry.contracts.key import KeySpends
from keyferry.contracts.usage import LedgerRow
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.usage_ledger.key_spending_store import KeyMonth, KeySpendingStore, month_of

_log = logging.getLogger(__name__)

_LINGER_SECONDS = 0.5
"""Many attempts with one key within this time are published as one sum."""
_RETRY_SECONDS = 2.0
_MAX_KEYS = 500

Publish = Callable[[KeySpends], Awaitable[None]]
"""Raises nats-py's errors when the message is not stored."""


class KeySpendPublisher:
    """Keys with changed spending, and the task that publishes their sums. Sums are cumulative, so repeating one is harmless."""

    def __init__(self, store: KeySpendingStore, publish: Publish, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._publish = publish
        self._clock = clock
        self._changed: set[KeyMonth] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def mark_changed(self, rows: Iterable[LedgerRow]) -> None:
        """Schedule the keys of these newly recorded attempts."""
        changed = {
            (row.record.key_id, month_of(row.record.started_at)) for row in rows if row.record.key_id is not None
        }
        self.mark_keys(changed)

    def mark_keys(self, changed: set[KeyMonth]) -> None:
        """Schedule keys."""
        if changed:
            self._changed |= changed
            self._wake.set()

    async def start(self) -> None:
        """Start, with all keys of the current month, since the previous process may have died before it published."""
        with suppress(DatabaseUnavailable):
            self._changed |= await self._store.keys_used_in(month_of(self._clock()))
        self._wake.set()
        self._task = asyncio.create_task(self._run(), name="publish key spending")

    async def stop(self) -> None:
        """Stop; the next process publishes the rest."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(_LINGER_SECONDS)
            self._wake.clear()
            while self._changed:
                some = [self._changed.pop() for _ in range(min(_MAX_KEYS, len(self._changed)))]
                try:
                    if spends := await self._store.read_key_spending(some):
                        await self._publish(KeySpends(spends=spends))
                except (DatabaseUnavailable, NatsError, TimeoutError) as error:
                    self._changed |= set(some)
                    _log.warning("key spending cannot be published, retrying", extra={"error": type(error).__name__})
                    await asyncio.sleep(_RETRY_SECONDS)
                except (
                    Exception
                ):  # the edge of the loop: the sums of these keys must not end the publishing of all others
                    _log.exception("key spending could not be published", extra={"keys": len(some)})
