"""Disables keys in the vault of which the use is unusual, where a rule says so.

That it is due is committed with the alert. The vault is asked until it has answered, so that a process which is killed in between
loses nothing, and to ask twice changes nothing: a key that is disabled stays so. The vault's audit has the rule as the actor.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from nats.errors import Error as NatsError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts.key import DisableKey
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.usage_ledger.database import TransactionalStore

_log = logging.getLogger(__name__)

_POLL_SECONDS = 2.0
_DUE = text("""
SELECT alert_id, tenant, rule_id, subject FROM usage_ledger.alerts WHERE key_action = 'due' ORDER BY alert_id LIMIT 20
""")
_DONE = text("UPDATE usage_ledger.alerts SET key_action = :action WHERE alert_id = :alert_id AND key_action = 'due'")

Disable = Callable[[DisableKey], Awaitable[object]]
"""Asks the vault. Raises Refused and BusError."""


class KeyDisabling(TransactionalStore):
    """Disables the keys that are due, while this process evaluates rules."""

    def __init__(self, engine: AsyncEngine, disable: Disable, leads: Callable[[], bool]) -> None:
        super().__init__(engine)
        self._disable = disable
        self._leads = leads
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Look at once: an alert has just fired."""
        self._wake.set()

    async def start(self) -> None:
        """Start in a task of its own, since the vault may take seconds to answer."""
        self._task = asyncio.create_task(self._run(), name="disable keys")

    async def stop(self) -> None:
        """Stop; what is due stays so."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self.disable_due()
            except Exception:  # the edge of the loop: what is due must not be forgotten over a defect
                _log.exception("keys that are used unusually cannot be disabled")

    async def disable_due(self) -> None:
        """Disable what is due, once."""
        if not self._leads():
            return
        try:
            async with self.transaction() as connection:
                due = (await connection.execute(_DUE)).all()
            for row in due:
                await self._disable_one(row.alert_id, row.tenant, row.rule_id, row.subject.partition(":")[0])
        except (DatabaseUnavailable, BusError, NatsError) as error:
            _log.info("keys are disabled later", extra={"reason": str(error)})

    async def _disable_one(self, alert_id: str, tenant: str, rule_id: str, key_id: str) -> None:
        action = "done"
        try:
            await self._disable(DisableKey(tenant=tenant, key_id=key_id, rule_id=rule_id))
        except Refused as refused:
            if refused.refusal.code is ErrorCode.UNAVAILABLE:
                return
            action = "refused"
            _log.warning("the vault does not disable a key", extra={"tenant": tenant, "key": key_id})
        async with self.transaction() as connection:
            await connection.execute(_DONE, {"alert_id": alert_id, "action": action})
