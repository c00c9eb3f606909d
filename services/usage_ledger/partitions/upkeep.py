"""Makes partitions ahead and lets old ones go, every hour, in one process at a time; answers which there are."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError

from keyferry.contracts.ledger_management import PARTITION_LIST
from keyferry.contracts.partitions import LedgerPartitions, ListPartitions
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.usage_ledger.database_outage import refuse_outages
from services.usage_ledger.partitions.months import Retention
from services.usage_ledger.partitions.store import PartitionStore

_log = logging.getLogger(__name__)

_EVERY_SECONDS = 3600.0
_RETRY_SECONDS = 60.0
"""After a busy table or an outage."""


class PartitionUpkeep:
    """The task, and the handler of the request."""

    def __init__(self, store: PartitionStore, retention: Retention, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._retention = retention
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def register(self, bus: Bus) -> None:
        """Subscribe on `bus`."""
        bus.respond(PARTITION_LIST, self.list_partitions)

    async def start(self) -> None:
        """Start."""
        self._task = asyncio.create_task(self._run(), name="keep partitions")

    async def stop(self) -> None:
        """Stop; a change that was begun is undone."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def list_partitions(self, _command: ListPartitions) -> LedgerPartitions:
        """Return all partitions, and how long rows are kept."""
        with refuse_outages():
            found = await self._store.list_partitions(self._retention)
        return LedgerPartitions(
            partitions=found,
            retention_attempts_days=self._retention.attempts_days or 0,
            retention_decisions_days=self._retention.decisions_days or 0,
            retention_detached_days=self._retention.detached_days or 0,
        )

    async def _run(self) -> None:
        while True:
            seconds = _EVERY_SECONDS if await self._pass() else _RETRY_SECONDS
            await asyncio.sleep(seconds)

    async def _pass(self) -> bool:
        try:
            changes = await self._store.maintain(self._retention, self._clock())
        except (DatabaseUnavailable, SQLAlchemyError) as error:
            _log.warning("partitions are not maintained now, retrying", extra={"error": type(error).__name__})
            return False
        for what in ("created", "detached", "dropped"):
            for name in getattr(changes, what):
                _log.info("a partition was %s", what, extra={"partition": name})
        return True
