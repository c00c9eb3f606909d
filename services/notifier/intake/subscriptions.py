"""Which endpoints chose a type of event."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.webhooks import WebhookEventType

_SUBSCRIBED = text("""
SELECT webhook_endpoints.tenant, endpoint_id FROM notifier.webhook_endpoints JOIN notifier.targets ON target_id = endpoint_id
WHERE enabled AND :event_type = ANY(event_types)
    AND (CAST(:tenants AS text[]) IS NULL OR webhook_endpoints.tenant = ANY(:tenants))
ORDER BY endpoint_id
""")


async def subscribed_endpoints(
    connection: AsyncConnection, event_type: WebhookEventType, tenants: Sequence[str] | None = None
) -> dict[str, list[str]]:
    """Return the ids of the enabled endpoints that chose a type, by tenant; of all tenants if none are named."""
    values = {"event_type": event_type.value, "tenants": None if tenants is None else list(tenants)}
    found: dict[str, list[str]] = {}
    for row in await connection.execute(_SUBSCRIBED, values):
        found.setdefault(row.tenant, []).append(row.endpoint_id)
    return found
