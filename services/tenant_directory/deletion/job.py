"""Deletes tenants: asks every service to remove what it has, again and again, until nothing is left.

What is done is stored after each step, and each step can be repeated. A stop at any moment therefore costs a repetition at most.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime

from nats.errors import Error as NatsError

from keyferry.contracts.erasure import ErasedTenant, EraseTenant
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.tenant_directory.deletion import progress
from services.tenant_directory.deletion.store import DeletionStore, PartOfDeletion

_log = logging.getLogger(__name__)

_INTERVAL_SECONDS = 5.0

Erase = Callable[[EraseTenant], Awaitable[ErasedTenant]]
"""Has one service count or remove rows. Raises Refused, BusError, NatsError, DatabaseUnavailable."""


class DeletionJob:
    """The job of one process; among all processes one works at a time.

    `erasers` are by service; `clock` returns the time in UTC.
    """

    def __init__(self, store: DeletionStore, erasers: Mapping[str, Erase], clock: Callable[[], datetime]) -> None:
        self._store = store
        self._erasers = erasers
        self._clock = clock
        self._committed: Callable[[], None] = lambda: None
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, committed: Callable[[], None]) -> None:
        """Start in a task of its own; `committed` is called after each step."""
        self._committed = committed
        self._task = asyncio.create_task(self._run(), name="delete tenants")

    async def stop(self) -> None:
        """Stop; another process, or the next one, goes on."""
        task, self._task = self._task, None
        if task is not None:
            await cancel_and_wait(task)

    def wake(self) -> None:
        """Begin now with what was requested."""
        self._wake.set()

    async def work(self) -> bool:
        """Do one step of every deletion; return whether more can be done at once. Raises DatabaseUnavailable."""
        async with self._store.elected() as elected:
            if not elected:
                return False
            await self._store.begin_sweeps(self._clock())
            advanced = [await self._advance(part) for part in await self._store.pending()]
        return any(advanced)

    async def _run(self) -> None:
        while True:
            more = False
            self._wake.clear()
            try:
                more = await self.work()
            except DatabaseUnavailable:
                _log.warning("deletions of tenants wait for PostgreSQL")
            except Exception:  # the job must survive any failure: what is stored says where it stands
                _log.exception("the deletion of tenants failed, and is tried again")
            if not more:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), _INTERVAL_SECONDS)

    async def _advance(self, part: PartOfDeletion) -> bool:
        """Count what a service has, or have it remove some of it; return whether there is a next step to do at once."""
        command = EraseTenant(tenant=part.tenant, count_only=not part.counted, actor=part.actor)
        try:
            step = await self._erasers[part.service](command)
        except (Refused, BusError, NatsError) as error:
            obstacle = error.refusal.message if isinstance(error, Refused) else str(error)
            await self._store.note_obstacle(part, obstacle)
            return False
        tables = progress.note_step(step, part.tables) if part.counted else progress.count(step.tables, part.tables)
        waits_for = None if step.done else progress.describe_unfinished(tables)
        await self._store.record(part, tables, done=step.done, waits_for=waits_for, now=self._clock())
        self._committed()
        return not step.done
