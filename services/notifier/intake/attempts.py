"""From the stream ATTEMPTS into the queue, for tenants whose endpoints chose usage.

Attempts wait in a table until the ledger has recorded and priced them; then they are asked for in batches. The deliveries and the
end of the waiting are committed together.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import orjson
from nats.aio.msg import Msg
from sqlalchemy import text

from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.notification_management import USAGE_GET_PRICED
from keyferry.contracts.usage import LedgerRow
from keyferry.contracts.webhooks import MAX_PRICED, GetPricedAttempts, WebhookEvent, WebhookEventType
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.publishing import split_batch
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.errors import DatabaseUnavailable
from keyferry.runtime.database.service_database import ServiceDatabase
from services.notifier.delivery.item import NewDelivery
from services.notifier.delivery.queue import add_deliveries
from services.notifier.delivery.schedule import GIVE_UP_AFTER
from services.notifier.intake.subscriptions import subscribed_endpoints

_log = logging.getLogger(__name__)

_USAGE = WebhookEventType.USAGE_ATTEMPT_RECORDED
_POLL_SECONDS = 1.0
_ASK_AGAIN = timedelta(seconds=5)
"""After the ledger was asked for an attempt that it had not recorded yet, or a process died that had asked."""
_TIMEOUT_SECONDS = 5.0
_ADD = text("""
INSERT INTO notifier.unpriced_attempts (attempt_id, tenant, received_at) VALUES (:attempt_id, :tenant, :now)
ON CONFLICT DO NOTHING
""")
_TAKE = text("""
UPDATE notifier.unpriced_attempts SET asked_at = :now WHERE attempt_id IN (
    SELECT attempt_id FROM notifier.unpriced_attempts
    WHERE tenant = (SELECT tenant FROM notifier.unpriced_attempts WHERE asked_at IS NULL OR asked_at < :again
                    ORDER BY received_at LIMIT 1)
        AND (asked_at IS NULL OR asked_at < :again)
    ORDER BY received_at LIMIT :most FOR UPDATE SKIP LOCKED)
RETURNING attempt_id, tenant
""")
_DONE = text("DELETE FROM notifier.unpriced_attempts WHERE attempt_id = ANY(:ids)")
_GIVE_UP = text("DELETE FROM notifier.unpriced_attempts WHERE received_at < :before")


class AttemptIntake:
    """Takes attempts in, and asks the ledger for their prices. `committed` is called after each change of the queue."""

    def __init__(
        self, bus: Bus, database: ServiceDatabase, committed: Callable[[], None], clock: Callable[[], datetime]
    ) -> None:
        self._bus = bus
        self._database = database
        self._committed = committed
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    async def on_attempts(self, batch: list[Msg]) -> None:
        """Note the attempts of tenants that want to know of them. Raises DatabaseUnavailable, so that the batch comes again."""
        async with self._database.change() as change:
            endpoints = await subscribed_endpoints(change.connection, _USAGE)
            if not endpoints:
                return
            now = self._clock()
            rows = [
                {"attempt_id": attempt_id, "tenant": tenant, "now": now}
                for message in batch
                for attempt_id, tenant in _attempts_in(message)
                if tenant in endpoints
            ]
            if rows:
                await change.connection.execute(_ADD, rows)

    async def start(self) -> None:
        """Begin to ask the ledger."""
        self._task = asyncio.create_task(self._run(), name="price attempts for webhooks")

    async def stop(self) -> None:
        """Stop asking; what waits is asked for after the next start, or by another process."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def price_some(self) -> bool:
        """Ask the ledger for attempts of one tenant; return whether there may be more. Raises what the bus and database raise."""
        now = self._clock()
        async with self._database.change() as change:
            values = {"now": now, "again": now - _ASK_AGAIN, "most": MAX_PRICED}
            taken = (await change.connection.execute(_TAKE, values)).all()
            await change.connection.execute(_GIVE_UP, {"before": now - GIVE_UP_AFTER})
        if not taken:
            return False
        tenant = taken[0].tenant
        command = GetPricedAttempts(tenant=tenant, attempt_ids=[row.attempt_id for row in taken])
        priced = await self._bus.ask(USAGE_GET_PRICED, command, timeout_seconds=_TIMEOUT_SECONDS)
        async with self._database.change() as change:
            endpoints = (await subscribed_endpoints(change.connection, _USAGE, [tenant])).get(tenant, [])
            await add_deliveries(change.connection, _deliveries(tenant, priced.rows, endpoints), now)
            await change.connection.execute(_DONE, {"ids": [row.record.attempt_id for row in priced.rows]})
        self._committed()
        return len(priced.rows) == len(taken)

    async def _run(self) -> None:
        while True:
            try:
                while await self.price_some():
                    pass
            except (DatabaseUnavailable, BusError, Refused) as error:
                _log.info("attempts are priced later: %s", error)
            except Exception:  # the loop must survive any defect
                _log.exception("cannot price attempts for webhooks; retrying")
            await asyncio.sleep(_POLL_SECONDS)


def _attempts_in(message: Msg) -> list[tuple[str, str]]:
    """Return the ids and tenants of the attempts in a batch; a worker may only report its own."""
    producer = message.subject.rpartition(".")[2]
    try:
        _, lines = split_batch(message.data)
    except MalformedMessage:
        return []
    found = []
    for line in lines:
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(record, dict) and record.get("worker_id") == producer:
            attempt_id, tenant = record.get("attempt_id"), record.get("tenant")
            if isinstance(attempt_id, str) and isinstance(tenant, str) and "\x00" not in attempt_id:
                found.append((attempt_id, tenant))
    return found


def _deliveries(tenant: str, rows: Sequence[LedgerRow], endpoints: Sequence[str]) -> list[NewDelivery]:
    new = []
    for row in rows:
        data = row.model_dump(mode="json", exclude_none=True)
        payload = WebhookEvent(type=_USAGE, timestamp=row.recorded_at, data=data).model_dump_json()
        for target_id in endpoints:
            new.append(
                NewDelivery(
                    tenant=tenant,
                    target_id=target_id,
                    event_id=row.record.attempt_id,
                    event_type=_USAGE,
                    payload=payload,
                )
            )
    return new
