"""Sweeps over all keys for what is due: a test, an expiry, a new month, the end of a revert period, a reminder.

One process at a time sweeps, chosen by an advisory lock. Every action follows from the time and the tables, so a process that
is killed leaves nothing that the next one does not find.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime

from keyferry.contracts.key import ProviderKey
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.key_vault.database.errors import Conflict, RequestRejected
from services.key_vault.database.transaction import VAULT, Database
from services.key_vault.encryption.kek_providers.protocol import KekUnavailable
from services.key_vault.keys import lifecycle
from services.key_vault.keys.reminders import Reminders
from services.key_vault.keys.retesting import Retester
from services.key_vault.keys.store import KeyStore

_log = logging.getLogger(__name__)

LOCK = "sweep keys"
_BATCH = 50
_PARALLEL_TESTS = 3
_INTERVAL_SECONDS = 1.0
_INTERVAL_AFTER_ERROR_SECONDS = 5.0


class KeySweeper:
    """Runs `sweep` every second. `clock` returns the time in UTC."""

    def __init__(
        self,
        database: Database,
        keys: KeyStore,
        retester: Retester,
        reminders: Reminders,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._keys = keys
        self._retester = retester
        self._reminders = reminders
        self._clock = clock
        self._on_commit: Callable[[], None] = lambda: None
        self._task: asyncio.Task[None] | None = None

    def start(self, on_commit: Callable[[], None]) -> None:
        """Start the task; `on_commit` is called after each sweep that changed something."""
        self._on_commit = on_commit
        self._task = asyncio.create_task(self._run(), name="sweep keys")

    async def stop(self) -> None:
        """Stop; a running test is dropped and repeated later."""
        task, self._task = self._task, None
        if task is not None:
            await cancel_and_wait(task)

    async def sweep(self, now: datetime) -> int:
        """Process what is due at `now`, and return how many keys; 0 where another process holds the lock.

        Raises DatabaseUnavailable, KekUnavailable.
        """
        async with self._database.try_lock(LOCK) as locked:
            if not locked:
                return 0
            month = lifecycle.month_of(now)
            for key in (former := await self._keys.list_revert_expired(now, _BATCH)):
                await _skip_if_changed(self._retester.delete_former(key))
            for key in (old := await self._keys.list_spent_before(month, _BATCH)):
                await _skip_if_changed(self._retester.start_month(key, month))
            due = await self._keys.list_due(now, _BATCH)
            for first in range(0, len(due), _PARALLEL_TESTS):
                async with asyncio.TaskGroup() as group:
                    for key in due[first : first + _PARALLEL_TESTS]:
                        group.create_task(self._check(key, now))
            return len(former) + len(old) + len(due) + await self._reminders.sweep(now)

    async def _check(self, key: ProviderKey, now: datetime) -> None:
        if lifecycle.is_expired(key, now):
            await _skip_if_changed(self._retester.expire(key))
        else:
            await _skip_if_changed(self._retester.test(key, VAULT))

    async def _run(self) -> None:
        while True:
            interval = _INTERVAL_SECONDS
            try:
                if await self.sweep(self._clock()):
                    self._on_commit()
            except* (DatabaseUnavailable, KekUnavailable) as errors:
                interval = _INTERVAL_AFTER_ERROR_SECONDS
                _log.warning("the sweep over the keys is delayed", extra={"why": str(errors.exceptions[0])})
            except* Exception:  # the keys are still due, so the next sweep tries again
                interval = _INTERVAL_AFTER_ERROR_SECONDS
                _log.exception("the sweep over the keys failed")
            await asyncio.sleep(interval)


async def _skip_if_changed(work: Awaitable[object]) -> None:
    """Await `work`; a key that another process changed at the same moment is left for the next sweep."""
    try:
        await work
    except (Conflict, RequestRejected):
        return
