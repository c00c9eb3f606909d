"""The queue of deliveries in PostgreSQL: any number of replicas add, claim and finish.

A claim is a row whose `claimed_until` lies ahead. A process that is killed leaves its claims to run out, and then others make the
same delivery again: at least once, with the same event id. Deliveries in order are claimed only once no earlier one is open. What
quiet hours hold back blocks nothing that is critical; others are claimed to be held back as well, until the digest is due.
"""

import random
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts import ids
from keyferry.runtime.database.service_database import ServiceDatabase
from services.notifier.delivery.item import ClaimedDelivery, NewDelivery
from services.notifier.delivery.outcome import DeliveryOutcome
from services.notifier.delivery.schedule import GIVE_UP_AFTER, is_dead, next_attempt, pause_of_target
from services.notifier.delivery.switch_off import switch_off

CLAIM = timedelta(seconds=60)
"""Longer than any attempt may take."""
KEPT = timedelta(days=30)
"""How long finished deliveries stay in the log."""
_MAX_FORGOTTEN = 5000
_ADD = text("""
INSERT INTO notifier.deliveries (delivery_id, tenant, target_id, event_id, event_type, order_key, sequence, critical, payload,
    state, created_at, next_attempt_at)
VALUES (:delivery_id, :tenant, :target_id, :event_id, :event_type, :order_key, :sequence, :critical, :payload,
    'pending', :now, :now)
ON CONFLICT (target_id, event_id) WHERE replay_of IS NULL DO NOTHING
""")
_READY = "finished_at IS NULL AND next_attempt_at <= :now AND (claimed_until IS NULL OR claimed_until <= :now)"
_FREE = text(f"""
WITH RECURSIVE waiting AS (
    (SELECT target_id FROM notifier.deliveries WHERE finished_at IS NULL ORDER BY target_id LIMIT 1)
    UNION ALL
    SELECT (SELECT following.target_id FROM notifier.deliveries AS following
            WHERE following.finished_at IS NULL AND following.target_id > waiting.target_id
            ORDER BY following.target_id LIMIT 1)
    FROM waiting WHERE waiting.target_id IS NOT NULL
)
SELECT target_id, failures FROM waiting JOIN notifier.targets USING (target_id)
WHERE enabled AND (paused_until IS NULL OR paused_until <= :now) AND EXISTS (
    SELECT 1 FROM notifier.deliveries AS due WHERE due.target_id = waiting.target_id AND {_READY})
""")  # noqa: S608 - the condition is a constant
_IN_ORDER = """(order_key IS NULL OR NOT EXISTS (
    SELECT 1 FROM notifier.deliveries AS earlier
    WHERE earlier.target_id = due.target_id AND earlier.order_key = due.order_key AND earlier.finished_at IS NULL
        AND earlier.sequence < due.sequence AND (earlier.state = 'pending'
            OR (NOT due.critical AND (earlier.attempts > 0 OR earlier.next_attempt_at <= :now)))))"""
_CLAIM = text(f"""
UPDATE notifier.deliveries SET claimed_until = :until, attempts = attempts + 1, last_attempt_at = :now
WHERE delivery_id IN (
    SELECT delivery_id FROM notifier.deliveries AS due
    WHERE target_id = :target_id AND state = :state AND {_READY} AND (CAST(:state AS text) = 'held' OR {_IN_ORDER})
    ORDER BY next_attempt_at, sequence, delivery_id LIMIT :most FOR UPDATE SKIP LOCKED)
    AND (claimed_until IS NULL OR claimed_until <= :now)
RETURNING delivery_id, tenant, target_id, event_id, event_type, payload, critical, attempts, created_at, sequence
""")  # noqa: S608 - the conditions are constants
_HOLD = text("""
UPDATE notifier.deliveries SET state = 'held', next_attempt_at = :until, claimed_until = NULL, attempts = attempts - 1
WHERE delivery_id = ANY(:ids) AND finished_at IS NULL
""")
_DELIVERED = text("""
UPDATE notifier.deliveries SET state = 'delivered', finished_at = :now, claimed_until = NULL, status = :status,
    latency_ms = :latency_ms, answer = :answer
WHERE delivery_id = ANY(:ids) AND finished_at IS NULL
""")
_AGAIN = text("""
UPDATE notifier.deliveries SET next_attempt_at = :next_at, claimed_until = NULL, status = :status, latency_ms = :latency_ms,
    answer = :answer,
    state = CASE WHEN CAST(:finished_at AS timestamptz) IS NULL THEN state ELSE 'failed' END, finished_at = :finished_at
WHERE delivery_id = :id AND finished_at IS NULL
""")
_WORKS = text("""
UPDATE notifier.targets SET failures = 0, failing_since = NULL, paused_until = NULL, last_error = NULL, last_delivered_at = :now
WHERE target_id = :target_id
""")
_FAILS = text("""
UPDATE notifier.targets SET failures = failures + 1, failing_since = coalesce(failing_since, :now), last_error = :answer
WHERE target_id = :target_id RETURNING failures, failing_since, last_delivered_at
""")
_PAUSE = text("UPDATE notifier.targets SET paused_until = :until WHERE target_id = :target_id")
_OVERDUE = text("""
UPDATE notifier.deliveries SET state = 'failed', finished_at = :now, claimed_until = NULL,
    answer = coalesce(answer, 'its target was not enabled for three days')
WHERE delivery_id IN (
    SELECT delivery_id FROM notifier.deliveries WHERE finished_at IS NULL AND created_at < :before
        AND (claimed_until IS NULL OR claimed_until <= :now) LIMIT :most)
""")
_FORGET = text("""
DELETE FROM notifier.deliveries WHERE delivery_id IN (
    SELECT delivery_id FROM notifier.deliveries WHERE finished_at < :before ORDER BY finished_at LIMIT :most)
""")


async def add_deliveries(connection: AsyncConnection, new: Sequence[NewDelivery], now: datetime) -> None:
    """Add deliveries in the caller's transaction; those that are there already stay as they are. Wake the sender afterwards."""
    if new:
        await connection.execute(
            _ADD, [asdict(each) | {"delivery_id": ids.new(ids.DELIVERY), "now": now} for each in new]
        )


class DeliveryQueue:
    """The queue of all tenants. Every method raises DatabaseUnavailable. `now` is the time in UTC."""

    def __init__(self, database: ServiceDatabase) -> None:
        self._database = database

    async def list_ready_targets(self, now: datetime) -> dict[str, int]:
        """Return the targets that something can be sent to now, each with how often in a row it has failed."""
        async with self._database.read() as connection:
            found = await connection.execute(_FREE, {"now": now})
            return {row.target_id: row.failures for row in found}

    async def claim(self, target_id: str, now: datetime, most: int) -> list[ClaimedDelivery]:
        """Claim what is to be sent to a target now, oldest first."""
        return await self._claim(target_id, now, most, "pending")

    async def claim_held(self, target_id: str, now: datetime, most: int) -> list[ClaimedDelivery]:
        """Claim what quiet hours held back until now, oldest first."""
        return await self._claim(target_id, now, most, "held")

    async def hold(self, deliveries: Sequence[ClaimedDelivery], until: datetime) -> None:
        """Hold claimed deliveries back: what is done with them is no attempt."""
        async with self._database.change() as change:
            ids_of = [delivery.delivery_id for delivery in deliveries]
            await change.connection.execute(_HOLD, {"ids": ids_of, "until": until})

    async def finish(self, deliveries: Sequence[ClaimedDelivery], outcome: DeliveryOutcome, now: datetime) -> bool:
        """Record what came of claimed deliveries to one target that were sent as one; return whether to go on with it.

        After a failure nothing more is sent to the target for a while; one that is gone, or has failed for three days, is
        switched off, and its tenant's owners are notified.
        """
        target_id = deliveries[0].target_id
        values = {"status": outcome.status, "latency_ms": outcome.latency_ms, "answer": outcome.answer, "now": now}
        async with self._database.change() as change:
            connection = change.connection
            if outcome.delivered:
                ids_of = [delivery.delivery_id for delivery in deliveries]
                await connection.execute(_DELIVERED, values | {"ids": ids_of})
                await connection.execute(_WORKS, {"target_id": target_id, "now": now})
                return True
            given_up_since: datetime | None = None
            for delivery in deliveries:
                again = _again(delivery, outcome, now)
                await connection.execute(_AGAIN, values | again)
                if again["finished_at"] is not None and not outcome.refused:
                    given_up_since = delivery.created_at
            row = (await connection.execute(_FAILS, values | {"target_id": target_id})).one_or_none()
            if row is None:  # removed in the meantime, with its deliveries
                return False
            if outcome.gone or is_dead(row.failing_since, row.last_delivered_at, given_up_since, now):
                await add_deliveries(connection, await switch_off(change, target_id, outcome, now), now)
            pause = pause_of_target(row.failures, now, random.random())
            await connection.execute(_PAUSE, {"target_id": target_id, "until": pause})
            return False

    async def sweep(self, now: datetime) -> None:
        """Give up what is three days old and was not even tried, and forget what was finished long ago; some of each."""
        async with self._database.change() as change:
            await change.connection.execute(
                _OVERDUE, {"now": now, "before": now - GIVE_UP_AFTER, "most": _MAX_FORGOTTEN}
            )
            await change.connection.execute(_FORGET, {"before": now - KEPT, "most": _MAX_FORGOTTEN})

    async def _claim(self, target_id: str, now: datetime, most: int, state: str) -> list[ClaimedDelivery]:
        values = {"target_id": target_id, "now": now, "until": now + CLAIM, "most": most, "state": state}
        async with self._database.change() as change:
            rows = (await change.connection.execute(_CLAIM, values)).mappings().all()
        ordered = sorted(rows, key=lambda row: (row["sequence"] or 0, row["delivery_id"]))
        return [ClaimedDelivery.of(row) for row in ordered]


def _again(delivery: ClaimedDelivery, outcome: DeliveryOutcome, now: datetime) -> dict[str, object]:
    """Return when a delivery that has failed is tried again, or that it is given up."""
    again = None if outcome.refused else next_attempt(delivery.created_at, delivery.attempts, now, random.random())
    return {"id": delivery.delivery_id, "next_at": again or now, "finished_at": None if again else now}
