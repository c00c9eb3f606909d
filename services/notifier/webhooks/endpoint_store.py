"""Webhook endpoints in PostgreSQL. A change and its audit event are committed together; secrets are in the key vault."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.audit_changes import describe_changes
from keyferry.contracts.webhooks import MAX_ENDPOINTS, SaveWebhookEndpoint, WebhookEndpoint, WebhookTerms
from keyferry.runtime.database.service_database import ServiceDatabase
from services.notifier.rejection import NotifierRefusal, changed_meanwhile, unknown
from services.notifier.target_store import add_target, remove_target, set_target_enabled

_SELECT = """
SELECT webhook_endpoints.*, targets.enabled, targets.failing_since, targets.last_delivered_at, targets.last_error,
    targets.switched_off_at,
    (SELECT count(*) FROM notifier.deliveries WHERE target_id = endpoint_id AND finished_at IS NULL) AS waiting
FROM notifier.webhook_endpoints JOIN notifier.targets ON target_id = endpoint_id
"""
_LIST = text(f"{_SELECT} WHERE webhook_endpoints.tenant = :tenant ORDER BY created_at, endpoint_id")
_GET = text(f"{_SELECT} WHERE webhook_endpoints.tenant = :tenant AND endpoint_id = :endpoint_id")
_FIND = text(f"{_SELECT} WHERE endpoint_id = :endpoint_id")
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('notifier endpoints ' || :tenant, 0))")
_COUNT = text("SELECT count(*) FROM notifier.webhook_endpoints WHERE tenant = :tenant")
_ADD = text("""
INSERT INTO notifier.webhook_endpoints (endpoint_id, tenant, name, url, event_types, secret_id, revision, created_at)
VALUES (:endpoint_id, :tenant, :name, :url, :event_types, :secret_id, 1, :now)
""")
_CHANGE = text("""
UPDATE notifier.webhook_endpoints SET name = :name, url = :url, event_types = :event_types, revision = revision + 1
WHERE endpoint_id = :endpoint_id
""")
_ROTATED = text("UPDATE notifier.webhook_endpoints SET previous_secret_until = :until WHERE endpoint_id = :endpoint_id")
_REMOVE = text("DELETE FROM notifier.webhook_endpoints WHERE endpoint_id = :endpoint_id")
_USED_BY = text("""
SELECT channel_id FROM notifier.channels WHERE tenant = :tenant AND terms ->> 'endpoint_id' = :endpoint_id
""")
_REMOVE_SECRET = text("""
INSERT INTO notifier.removed_secrets (secret_id, tenant) VALUES (:secret_id, :tenant) ON CONFLICT DO NOTHING
""")


class WebhookEndpointStore:
    """The webhook endpoints of all tenants. Every method raises DatabaseUnavailable."""

    def __init__(self, database: ServiceDatabase) -> None:
        self._database = database

    async def list(self, tenant: str) -> list[WebhookEndpoint]:
        """Return a tenant's endpoints, oldest first."""
        async with self._database.read() as connection:
            rows = (await connection.execute(_LIST, {"tenant": tenant})).mappings().all()
        return [_endpoint_of(row) for row in rows]

    async def get(self, tenant: str, endpoint_id: str) -> WebhookEndpoint:
        """Return one endpoint. Raises NotifierRefusal."""
        async with self._database.read() as connection:
            return await _get(connection, tenant, endpoint_id)

    async def find(self, endpoint_id: str) -> WebhookEndpoint | None:
        """Return an endpoint of any tenant; None if it is gone."""
        async with self._database.read() as connection:
            row = (await connection.execute(_FIND, {"endpoint_id": endpoint_id})).mappings().one_or_none()
        return None if row is None else _endpoint_of(row)

    async def require_space(self, tenant: str) -> None:
        """Check that a tenant may have another endpoint. Raises NotifierRefusal."""
        async with self._database.read() as connection:
            await _require_space(connection, tenant)

    async def add(
        self, command: SaveWebhookEndpoint, endpoint_id: str, secret_id: str, now: datetime
    ) -> WebhookEndpoint:
        """Add an endpoint whose secret is in the vault. Raises NotifierRefusal; then the secret is to be removed."""
        async with self._database.change() as change:
            connection = change.connection
            await connection.execute(_LOCK, {"tenant": command.tenant})
            await _require_space(connection, command.tenant)
            await connection.execute(_ADD, _values(command, endpoint_id) | {"secret_id": secret_id, "now": now})
            await add_target(connection, command.tenant, endpoint_id)
            await set_target_enabled(connection, endpoint_id, enabled=command.enabled, now=now)
            saved = await _get(connection, command.tenant, endpoint_id)
            await change.audit(
                actor=command.actor,
                action="webhook_endpoint.add",
                tenant=command.tenant,
                target=endpoint_id,
                details=describe_changes({}, _audited(saved)),
            )
            return saved

    async def change(self, command: SaveWebhookEndpoint, endpoint_id: str, now: datetime) -> WebhookEndpoint:
        """Replace the terms of an endpoint. Raises NotifierRefusal. Guard: a lock of the tenant's endpoints."""
        async with self._database.change() as change:
            connection = change.connection
            await connection.execute(_LOCK, {"tenant": command.tenant})
            before = await _get(connection, command.tenant, endpoint_id)
            if command.expected_revision not in (None, before.revision):
                raise changed_meanwhile(before.revision)
            await connection.execute(_CHANGE, _values(command, endpoint_id))
            await set_target_enabled(connection, endpoint_id, enabled=command.enabled, now=now)
            saved = await _get(connection, command.tenant, endpoint_id)
            await change.audit(
                actor=command.actor,
                action="webhook_endpoint.change",
                tenant=command.tenant,
                target=endpoint_id,
                details=describe_changes(_audited(before), _audited(saved)),
            )
            return saved

    async def record_rotation(
        self, tenant: str, endpoint_id: str, previous_until: datetime | None, actor: str
    ) -> WebhookEndpoint:
        """Record that the vault has a new secret of an endpoint. Raises NotifierRefusal."""
        async with self._database.change() as change:
            await change.connection.execute(_ROTATED, {"endpoint_id": endpoint_id, "until": previous_until})
            saved = await _get(change.connection, tenant, endpoint_id)
            until = "at once" if previous_until is None else previous_until.isoformat()
            await change.audit(
                actor=actor,
                action="webhook_endpoint.rotate",
                tenant=tenant,
                target=endpoint_id,
                details={"previous_until": until},
            )
            return saved

    async def remove(self, tenant: str, endpoint_id: str, actor: str) -> tuple[WebhookEndpoint, int]:
        """Remove an endpoint and its log, and have its secret removed; return it and how many deliveries were dropped.

        Raises NotifierRefusal.
        """
        async with self._database.change() as change:
            connection = change.connection
            await connection.execute(_LOCK, {"tenant": tenant})
            endpoint = await _get(connection, tenant, endpoint_id)
            key = {"tenant": tenant, "endpoint_id": endpoint_id}
            if channel_id := await connection.scalar(_USED_BY, key):
                raise NotifierRefusal(f"the channel {channel_id} sends to this endpoint: remove that first")
            await connection.execute(_REMOVE, key)
            dropped = await remove_target(connection, endpoint_id)
            await connection.execute(_REMOVE_SECRET, {"secret_id": endpoint.secret_id, "tenant": tenant})
            await change.audit(
                actor=actor,
                action="webhook_endpoint.remove",
                tenant=tenant,
                target=endpoint_id,
                details={"name": endpoint.name},
            )
            return endpoint, dropped

    async def remove_secret_later(self, tenant: str, secret_id: str) -> None:
        """Have a secret removed whose endpoint could not be added."""
        async with self._database.change() as change:
            await change.connection.execute(_REMOVE_SECRET, {"secret_id": secret_id, "tenant": tenant})


async def _get(connection: AsyncConnection, tenant: str, endpoint_id: str) -> WebhookEndpoint:
    key = {"tenant": tenant, "endpoint_id": endpoint_id}
    row = (await connection.execute(_GET, key)).mappings().one_or_none()
    if row is None:
        raise unknown(tenant, "webhook endpoint", endpoint_id)
    return _endpoint_of(row)


async def _require_space(connection: AsyncConnection, tenant: str) -> None:
    if (await connection.scalar(_COUNT, {"tenant": tenant}) or 0) >= MAX_ENDPOINTS:
        raise NotifierRefusal(
            f"nothing was saved: {tenant} has {MAX_ENDPOINTS} webhook endpoints, the most there may be"
        )


def _values(command: SaveWebhookEndpoint, endpoint_id: str) -> dict[str, object]:
    types = [event_type.value for event_type in command.event_types]
    return {
        "endpoint_id": endpoint_id,
        "tenant": command.tenant,
        "name": command.name,
        "url": command.url,
        "event_types": types,
    }


def _endpoint_of(row: Mapping[Any, Any]) -> WebhookEndpoint:
    return WebhookEndpoint.model_validate(dict(row))


def _audited(endpoint: WebhookEndpoint) -> dict[str, object]:
    return endpoint.model_dump(mode="json", include=set(WebhookTerms.model_fields) - {"tenant"})
