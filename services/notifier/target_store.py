"""Where deliveries go, as rows that channels and webhook endpoints share: whether they are enabled, and how they do."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_ADD = text("INSERT INTO notifier.targets (target_id, tenant) VALUES (:target_id, :tenant) ON CONFLICT DO NOTHING")
_ENABLE = text("""
UPDATE notifier.targets SET enabled = true, failures = 0, failing_since = NULL, paused_until = NULL, switched_off_at = NULL
WHERE target_id = :target_id
""")
_DISABLE = text("UPDATE notifier.targets SET enabled = false WHERE target_id = :target_id")
_GO_ON = text("""
UPDATE notifier.deliveries SET next_attempt_at = :now WHERE target_id = :target_id AND finished_at IS NULL
""")
_REMOVE_DELIVERIES = text("""
WITH removed AS (DELETE FROM notifier.deliveries WHERE target_id = :target_id RETURNING finished_at)
SELECT count(*) FROM removed WHERE finished_at IS NULL
""")
_REMOVE = text("DELETE FROM notifier.targets WHERE target_id = :target_id")


async def add_target(connection: AsyncConnection, tenant: str, target_id: str) -> None:
    """Add a target in the caller's transaction, or leave it as it is."""
    await connection.execute(_ADD, {"target_id": target_id, "tenant": tenant})


async def set_target_enabled(connection: AsyncConnection, target_id: str, *, enabled: bool, now: datetime) -> None:
    """Enable or disable a target. What waits for an enabled one is tried, or looked at for quiet hours, at once."""
    await connection.execute(_ENABLE if enabled else _DISABLE, {"target_id": target_id})
    if enabled:
        await connection.execute(_GO_ON, {"target_id": target_id, "now": now})


async def remove_target(connection: AsyncConnection, target_id: str) -> int:
    """Remove a target with its deliveries; return how many of them were not finished."""
    dropped = await connection.scalar(_REMOVE_DELIVERIES, {"target_id": target_id})
    await connection.execute(_REMOVE, {"target_id": target_id})
    return int(dropped or 0)
