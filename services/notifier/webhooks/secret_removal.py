"""Has the vault destroy the secrets of removed endpoints, again and again until it has."""

import asyncio
import logging

from sqlalchemy import text

from keyferry.contracts.integration_management import WEBHOOK_SECRET_REMOVE
from keyferry.contracts.integration_secrets import RemoveIntegrationSecret
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.errors import DatabaseUnavailable
from keyferry.runtime.database.service_database import ServiceDatabase

_log = logging.getLogger(__name__)
_EVERY_SECONDS = 30.0
_TIMEOUT_SECONDS = 5.0
_ALL = text("SELECT secret_id, tenant FROM notifier.removed_secrets LIMIT 100")
_DONE = text("DELETE FROM notifier.removed_secrets WHERE secret_id = :secret_id")


class SecretRemoval:
    """The task of one process. To remove a secret twice does no harm."""

    def __init__(self, database: ServiceDatabase, bus: Bus) -> None:
        self._database = database
        self._bus = bus
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name="remove secrets of webhooks")

    async def stop(self) -> None:
        """Stop; what is left is removed by another process, or after the next start."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    def wake(self) -> None:
        """Look at once."""
        self._wake.set()

    async def remove_all(self) -> None:
        """Remove what is listed now. Raises DatabaseUnavailable and BusError."""
        async with self._database.read() as connection:
            rows = (await connection.execute(_ALL)).all()
        for row in rows:
            command = RemoveIntegrationSecret(tenant=row.tenant, secret_id=row.secret_id, actor="notifier")
            try:
                await self._bus.ask(WEBHOOK_SECRET_REMOVE, command, timeout_seconds=_TIMEOUT_SECONDS)
            except Refused as error:
                if error.refusal.code is not ErrorCode.NOT_FOUND:
                    _log.warning("the vault keeps a secret of a removed endpoint", extra={"reason": str(error)})
                    continue
            async with self._database.change() as change:
                await change.connection.execute(_DONE, {"secret_id": row.secret_id})

    async def _run(self) -> None:
        while True:
            try:
                await self.remove_all()
            except (DatabaseUnavailable, BusError) as error:
                _log.info("secrets of removed endpoints are removed later: %s", error)
            except Exception:  # the loop must survive any defect
                _log.exception("cannot remove secrets of removed endpoints; retrying")
            self._wake.clear()
            try:
                async with asyncio.timeout(_EVERY_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue
