"""Tests stored keys, and looks at each when its time has come: for a test, its date, its month, its former version, its age.

One process at a time does that, chosen by an advisory lock. Everything it does is decided by `now` and the tables, so a process
that dies in between leaves nothing that the next one does not find.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal

from keyferry.contracts.key import KeyChange, KeyStatus, KeyTest, ProviderKey
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.key_vault.database.errors import RequestRejected
from services.key_vault.database.transaction import VAULT, Act
from services.key_vault.encryption.envelope import EnvelopeEncryption
from services.key_vault.encryption.kek_providers.protocol import KekUnavailable
from services.key_vault.encryption.record_cipher import Undecryptable
from services.key_vault.keys import lifecycle
from services.key_vault.keys import messages as wording
from services.key_vault.keys.editing import apply_limit
from services.key_vault.keys.lifecycle import Event
from services.key_vault.keys.reminders import Reminders
from services.key_vault.keys.store import Conflict, KeyStore
from services.key_vault.keys.testing import KeyTesting

_log = logging.getLogger(__name__)

LOCK = "looking at keys"
_BATCH = 50
_AT_ONCE = 3
_TRIES = 3
_EVERY_SECONDS = 1.0
_AFTER_TROUBLE_SECONDS = 5.0


class Retester:
    """Tests stored keys. `clock` gives the time in UTC, `jitter` numbers from 0 to 1."""

    def __init__(
        self,
        store: KeyStore,
        encryption: EnvelopeEncryption,
        checks: KeyTesting,
        clock: Callable[[], datetime],
        jitter: Callable[[], float],
    ) -> None:
        self._store = store
        self._custody = encryption
        self._checks = checks
        self._clock = clock
        self._jitter = jitter

    async def test(self, key: ProviderKey, actor: str) -> ProviderKey:
        """The key after a test. One that cannot be opened is undecryptable from now on, and no test is made.

        Raises Rejected when the key is removed or rotated meanwhile, KekUnavailable, DatabaseUnavailable.
        """
        secret = await self._secret(key)
        if secret is None:
            return await self._lost(key, actor)
        check = await self._checks.run(key, secret)
        return await self._record(key, check, actor)

    async def end(self, key: ProviderKey) -> None:
        """A key's date has passed. Raises Conflict, DatabaseUnavailable."""
        after = key.model_copy(update={"status": lifecycle.happened(key, Event.RAN_OUT)})
        after = lifecycle.rescheduled(after, self._clock(), self._jitter())
        act = Act(VAULT, "key.expire", key.tenant, key.key_id)
        await self._store.update(key, after, act, KeyChange.EXPIRED, wording.became(after, "has expired"))

    async def forget_former(self, key: ProviderKey) -> None:
        """The time to go back has passed. Raises Conflict, DatabaseUnavailable."""
        after = key.model_copy(update={"revert_until": None})
        act = Act(VAULT, "key.overlap_end", key.tenant, key.key_id)
        detail = wording.became(after, "can no longer be reverted: its former version was destroyed")
        await self._store.update(key, after, act, KeyChange.EDITED, detail)

    async def begin_month(self, key: ProviderKey, month: str) -> None:
        """Nothing is spent yet in `month`. Raises Conflict, DatabaseUnavailable."""
        after = apply_limit(key.model_copy(update={"spent_usd": Decimal(0)}))
        act = Act(VAULT, "key.month", key.tenant, key.key_id, details={"month": month})
        back = key.over_limit and not after.over_limit
        detail = wording.within_limit(after) if back else wording.became(after, "begins a new month of spending")
        await self._store.update(key, after, act, KeyChange.EDITED, detail, month=month)

    async def _secret(self, key: ProviderKey) -> Secret | None:
        sealed = await self._store.sealed(key.tenant, key.key_id, key.version)
        if sealed is None:
            return None
        try:
            return await self._custody.open(key, sealed)
        except Undecryptable as error:
            _log.error("a provider key cannot be opened", extra={"key_id": key.key_id, "why": str(error)})
            return None

    async def _lost(self, key: ProviderKey, actor: str) -> ProviderKey:
        after = key.model_copy(update={"status": lifecycle.happened(key, Event.LOST), "next_test_at": None})
        if await self._changed_meanwhile(key):
            raise _gone(key)
        act = Act(actor, "key.test", key.tenant, key.key_id, details={"status": after.status.value})
        try:
            return await self._store.update(
                key, after, act, KeyChange.TESTED, wording.became(after, "could not be opened")
            )
        except Conflict:
            raise _gone(key) from None

    async def _changed_meanwhile(self, key: ProviderKey) -> bool:
        """A record that is not there any more may have made place for the next version's."""
        fresh = await self._store.get(key.tenant, key.key_id)
        return fresh is None or fresh.version != key.version

    async def _record(self, key: ProviderKey, check: KeyTest, actor: str) -> ProviderKey:
        """Write a test's result down. What a person changed during the test stays changed."""
        for _ in range(_TRIES):
            after = lifecycle.tested(_found(key), check, self._jitter())
            details = {"result": check.result.value, "status": after.status.value}
            act = Act(actor, "key.test", key.tenant, key.key_id, details=details)
            try:
                return await self._store.update(key, after, act, KeyChange.TESTED, wording.tested(after, check))
            except Conflict:
                fresh = await self._store.get(key.tenant, key.key_id)
                if fresh is None or fresh.version != key.version:
                    raise _gone(key) from None
                key = fresh
        raise _gone(key)


class KeySweeper:
    """Looks at every key in its time, in one process of the vault. `passing` makes one round for a given moment."""

    def __init__(self, store: KeyStore, retester: Retester, notices: Reminders, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._retester = retester
        self._notices = notices
        self._clock = clock
        self._committed: Callable[[], None] = lambda: None
        self._task: asyncio.Task[None] | None = None

    def start(self, committed: Callable[[], None]) -> None:
        """Begin, in a task of its own; `committed` is called after each round that changed something."""
        self._committed = committed
        self._task = asyncio.create_task(self._run(), name="watch keys")

    async def stop(self) -> None:
        """Stop; a test that is under way is dropped, and made again later."""
        task, self._task = self._task, None
        if task is not None:
            await cancel_and_wait(task)

    async def passing(self, now: datetime) -> int:
        """One round: how many keys were looked at; none where another process has the lock.

        Raises DatabaseUnavailable, KekUnavailable.
        """
        async with self._store.alone(LOCK) as mine:
            if not mine:
                return 0
            month = lifecycle.month_of(now)
            for key in (former := await self._store.overlap_over(now, _BATCH)):
                await _unless_overtaken(self._retester.forget_former(key))
            for key in (old := await self._store.spent_before(month, _BATCH)):
                await _unless_overtaken(self._retester.begin_month(key, month))
            due = await self._store.due(now, _BATCH)
            for first in range(0, len(due), _AT_ONCE):
                async with asyncio.TaskGroup() as group:
                    for key in due[first : first + _AT_ONCE]:
                        group.create_task(self._look_at(key, now))
            return len(former) + len(old) + len(due) + await self._notices.passing(now)

    async def _look_at(self, key: ProviderKey, now: datetime) -> None:
        if lifecycle.over_time(key, now):
            await _unless_overtaken(self._retester.end(key))
        else:
            await _unless_overtaken(self._retester.test(key, VAULT))

    async def _run(self) -> None:
        while True:
            pause = _EVERY_SECONDS
            try:
                if await self.passing(self._clock()):
                    self._committed()
            except* (DatabaseUnavailable, KekUnavailable) as trouble:
                pause = _AFTER_TROUBLE_SECONDS
                _log.warning("keys are not looked at now", extra={"why": str(trouble.exceptions[0])})
            except* Exception:  # the edge of the loop: the keys are due still, and the next round tries again
                pause = _AFTER_TROUBLE_SECONDS
                _log.exception("looking at keys failed")
            await asyncio.sleep(pause)


async def _unless_overtaken(work: Awaitable[object]) -> None:
    """Do `work`; where somebody else changed the key in this moment it is for the next round."""
    try:
        await work
    except (Conflict, RequestRejected):
        return


def _found(key: ProviderKey) -> ProviderKey:
    """The key, which can be opened."""
    if key.status is not KeyStatus.UNDECRYPTABLE:
        return key
    return key.model_copy(update={"status": lifecycle.happened(key, Event.FOUND)})


def _gone(key: ProviderKey) -> RequestRejected:
    return RequestRejected(
        ErrorCode.CONFLICT, f"{key.key_id} was changed or removed during its test: look at it and test it again"
    )
