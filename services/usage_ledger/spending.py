"""Tells the vault what calls with a provider key came to this month: its monthly limits hang on it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from nats.errors import Error as NatsError

from keyferry.contracts.key import KeySpend
from keyferry.contracts.usage import LedgerRow
from keyferry.runtime.database.errors import DatabaseUnavailable
from keyferry.runtime.process.tasks import cancel_and_wait
from services.usage_ledger.store import LedgerStore

_log = logging.getLogger(__name__)

_GATHER_SECONDS = 0.5
"""Of many attempts with one key in this time only their sum is told."""
_RETRY_SECONDS = 2.0
_MAX_KEYS = 500

Publish = Callable[[KeySpend], Awaitable[None]]
"""Raises nats-py's errors when the message is not stored."""
KeyMonth = tuple[str, str]
"""Key id, and the calendar month in UTC: `2026-11`."""


class Spending:
    """Keys whose spending has changed, and the task that tells of it. Sums are cumulative: telling one twice does no harm."""

    def __init__(self, store: LedgerStore, publish: Publish) -> None:
        self._store = store
        self._publish = publish
        self._changed: set[KeyMonth] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def changed_by(self, rows: Iterable[LedgerRow]) -> None:
        """These attempts were recorded."""
        changed = {
            (row.record.key_id, row.record.started_at.strftime("%Y-%m"))
            for row in rows
            if row.record.key_id is not None
        }
        if changed:
            self._changed |= changed
            self._wake.set()

    async def start(self) -> None:
        """Begin; keys of the current month are told anew, since a predecessor may have died before it could."""
        with suppress(DatabaseUnavailable):
            self._changed |= await self._store.keys_used_this_month()
        self._wake.set()
        self._task = asyncio.create_task(self._run(), name="tell of spending")

    async def stop(self) -> None:
        """Stop; the next process tells what is left."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(_GATHER_SECONDS)
            self._wake.clear()
            while self._changed:
                some = [self._changed.pop() for _ in range(min(_MAX_KEYS, len(self._changed)))]
                try:
                    for spend in await self._store.spent(some):
                        await self._publish(spend)
                except (DatabaseUnavailable, NatsError, TimeoutError) as error:
                    self._changed |= set(some)
                    _log.warning("spending cannot be told now; trying on", extra={"error": type(error).__name__})
                    await asyncio.sleep(_RETRY_SECONDS)
