"""Destroys the previous versions of integration secrets whose time is over. Readers do not get them from that moment on."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.key_vault.integration_secrets.store import IntegrationSecretStore

_log = logging.getLogger(__name__)

_INTERVAL_SECONDS = 5.0
_BATCH = 100


class IntegrationSweeper:
    """Runs `sweep` every few seconds. `clock` returns the time in UTC."""

    def __init__(self, store: IntegrationSecretStore, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._on_commit: Callable[[], None] = lambda: None
        self._task: asyncio.Task[None] | None = None

    def start(self, on_commit: Callable[[], None]) -> None:
        """Start the task; `on_commit` is called after each sweep that changed something."""
        self._on_commit = on_commit
        self._task = asyncio.create_task(self._run(), name="sweep integration secrets")

    async def stop(self) -> None:
        """Stop; what is due stays due."""
        task, self._task = self._task, None
        if task is not None:
            await cancel_and_wait(task)

    async def sweep(self, now: datetime) -> int:
        """Destroy what has ended at `now`, and return how many secrets that was about. Raises DatabaseUnavailable."""
        done = 0
        while count := await self._store.expire(now, _BATCH):
            done += count
        return done

    async def _run(self) -> None:
        while True:
            try:
                if await self.sweep(self._clock()):
                    self._on_commit()
            except DatabaseUnavailable as error:
                _log.warning("the sweep over the integration secrets is delayed", extra={"why": str(error)})
            except Exception:  # what is due stays due, so the next sweep tries again
                _log.exception("the sweep over the integration secrets failed")
            await asyncio.sleep(_INTERVAL_SECONDS)
