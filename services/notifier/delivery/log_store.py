"""The log of deliveries: reading a page of it, and making deliveries anew."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import text

from keyferry.contracts import ids
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.webhooks import (
    MAX_REPLAYED,
    Deliveries,
    DeliveryState,
    ListDeliveries,
    NotificationDelivery,
    ReplayDeliveries,
)
from keyferry.runtime.database.service_database import ServiceDatabase
from services.notifier.rejection import NotifierRefusal, unknown

_TARGET = text("SELECT enabled FROM notifier.targets WHERE tenant = :tenant AND target_id = :target_id")
_PAGE = text("""
SELECT delivery_id, target_id, event_id, event_type, state, attempts, created_at, last_attempt_at, status, latency_ms, answer,
    replay_of, CASE WHEN finished_at IS NULL THEN next_attempt_at END AS next_attempt_at
FROM notifier.deliveries
WHERE tenant = :tenant AND target_id = :target_id
    AND (CAST(:state AS text) IS NULL OR state = :state) AND (CAST(:event_type AS text) IS NULL OR event_type = :event_type)
    AND (CAST(:since AS timestamptz) IS NULL OR created_at >= :since)
    AND (CAST(:until AS timestamptz) IS NULL OR created_at < :until)
    AND (CAST(:before AS text) IS NULL OR delivery_id < :before)
ORDER BY delivery_id DESC LIMIT :limit
""")
_CHOSEN = text("""
SELECT delivery_id FROM notifier.deliveries
WHERE tenant = :tenant AND target_id = :target_id AND finished_at IS NOT NULL
    AND (CAST(:delivery_id AS text) IS NULL OR delivery_id = :delivery_id)
    AND (CAST(:since AS timestamptz) IS NULL OR created_at >= :since)
    AND (CAST(:until AS timestamptz) IS NULL OR created_at < :until)
    AND (NOT CAST(:failed_only AS boolean) OR state = 'failed')
    AND (CAST(:delivery_id AS text) IS NOT NULL OR replay_of IS NULL)
ORDER BY delivery_id LIMIT :most
""")
_REPLAY = text("""
INSERT INTO notifier.deliveries (delivery_id, tenant, target_id, event_id, event_type, critical, payload, state, created_at,
    next_attempt_at, replay_of)
SELECT :new_id, tenant, target_id, event_id, event_type, true, payload, 'pending', :now, :now, delivery_id
FROM notifier.deliveries WHERE delivery_id = :delivery_id
""")


class DeliveryLog:
    """The log of all targets. Every method raises DatabaseUnavailable and NotifierRefusal."""

    def __init__(self, database: ServiceDatabase) -> None:
        self._database = database

    async def list(self, command: ListDeliveries) -> Deliveries:
        """Return a page of the log of a target."""
        values = command.model_dump(mode="python") | {"limit": command.limit + 1}
        async with self._database.read() as connection:
            if (await connection.execute(_TARGET, values)).one_or_none() is None:
                raise unknown(command.tenant, "webhook endpoint or channel", command.target_id)
            rows = (await connection.execute(_PAGE, values)).mappings().all()
        found = [_delivery_of(row) for row in rows[: command.limit]]
        return Deliveries(target_id=command.target_id, deliveries=found, more=len(rows) > command.limit)

    async def replay(self, command: ReplayDeliveries, now: datetime) -> int:
        """Make deliveries anew that are finished; return how many. They keep their event ids, and quiet hours do not matter."""
        failed_only = command.failed_only and command.delivery_id is None
        values = command.model_dump(mode="python") | {"failed_only": failed_only, "most": MAX_REPLAYED + 1}
        async with self._database.change() as change:
            target = (await change.connection.execute(_TARGET, values)).one_or_none()
            if target is None:
                raise unknown(command.tenant, "webhook endpoint or channel", command.target_id)
            if not target.enabled:
                raise NotifierRefusal(f"nothing was replayed: {command.target_id} is not enabled; enable it first")
            chosen = list(await change.connection.scalars(_CHOSEN, values))
            if len(chosen) > MAX_REPLAYED:
                raise NotifierRefusal(
                    f"nothing was replayed: these are more than {MAX_REPLAYED}; choose a shorter span"
                )
            if command.delivery_id is not None and not chosen:
                raise NotifierRefusal(
                    f"the log has no finished delivery {command.delivery_id} of {command.target_id}: one that is pending is"
                    " tried again by itself",
                    ErrorCode.NOT_FOUND,
                )
            if chosen:
                rows = [{"new_id": ids.new(ids.DELIVERY), "delivery_id": each, "now": now} for each in chosen]
                await change.connection.execute(_REPLAY, rows)
                await change.audit(
                    actor=command.actor,
                    action="delivery.replay",
                    tenant=command.tenant,
                    target=command.target_id,
                    details={"deliveries": str(len(chosen))},
                )
        return len(chosen)


def _delivery_of(row: Mapping[Any, Any]) -> NotificationDelivery:
    return NotificationDelivery.model_validate(dict(row) | {"state": DeliveryState(row["state"])})
