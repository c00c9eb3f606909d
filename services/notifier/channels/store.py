"""Channels in PostgreSQL. A change and its audit event are committed together."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import bindparam

from keyferry.contracts import ids
from keyferry.contracts.audit_changes import describe_changes
from keyferry.contracts.notification_channels import (
    MAX_CHANNELS,
    ChannelKind,
    ChannelTerms,
    NotificationChannel,
    SaveChannel,
)
from keyferry.runtime.database.service_database import ServiceDatabase
from services.notifier.channels.address_rules import describe_recipients
from services.notifier.channels.address_store import confirmed_addresses
from services.notifier.people import People
from services.notifier.rejection import NotifierRefusal, changed_meanwhile, unknown
from services.notifier.target_store import add_target, remove_target, set_target_enabled

_SELECT = """
SELECT channels.*, targets.enabled, targets.failing_since, targets.last_delivered_at, targets.last_error, targets.switched_off_at,
    (SELECT count(*) FROM notifier.deliveries WHERE target_id = coalesce(terms ->> 'endpoint_id', channel_id)
        AND finished_at IS NULL) AS waiting,
    (SELECT count(*) FROM notifier.deliveries WHERE target_id = channel_id AND finished_at IS NULL AND state = 'held') AS held
FROM notifier.channels JOIN notifier.targets ON target_id = channel_id
"""
_LIST = text(f"{_SELECT} WHERE channels.tenant = :tenant ORDER BY created_at, channel_id")
_GET = text(f"{_SELECT} WHERE channels.tenant = :tenant AND channel_id = :channel_id")
_FIND = text(f"{_SELECT} WHERE channel_id = :channel_id")
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('notifier channels ' || :tenant, 0))")
_ADD = text("""
INSERT INTO notifier.channels (channel_id, tenant, terms, revision, created_at)
VALUES (:channel_id, :tenant, :terms, 1, :now)
""").bindparams(bindparam("terms", type_=JSONB))
_CHANGE = text("""
UPDATE notifier.channels SET terms = :terms, revision = revision + 1 WHERE channel_id = :channel_id
""").bindparams(bindparam("terms", type_=JSONB))
_REMOVE = text("DELETE FROM notifier.channels WHERE channel_id = :channel_id")
_HAS_ENDPOINT = text("SELECT 1 FROM notifier.webhook_endpoints WHERE tenant = :tenant AND endpoint_id = :endpoint_id")
_USED_BY = text(
    "SELECT report_id FROM notifier.reports WHERE tenant = :tenant AND terms ->> 'channel_id' = :channel_id"
)
_OUTSIDE_TERMS = {"tenant", "channel_id", "expected_revision", "actor", "enabled"}


class ChannelStore:
    """The channels of all tenants. Every method raises DatabaseUnavailable."""

    def __init__(self, database: ServiceDatabase, people: People) -> None:
        self._database = database
        self._people = people

    async def list(self, tenant: str) -> list[NotificationChannel]:
        """Return a tenant's channels, oldest first."""
        async with self._database.read() as connection:
            rows = (await connection.execute(_LIST, {"tenant": tenant})).mappings().all()
            return [await self._channel_of(connection, row) for row in rows]

    async def get(self, tenant: str, channel_id: str) -> NotificationChannel:
        """Return one channel. Raises NotifierRefusal."""
        async with self._database.read() as connection:
            return await self._get(connection, tenant, channel_id)

    async def find(self, channel_id: str) -> NotificationChannel | None:
        """Return a channel of any tenant; None if it is gone."""
        async with self._database.read() as connection:
            row = (await connection.execute(_FIND, {"channel_id": channel_id})).mappings().one_or_none()
            return None if row is None else await self._channel_of(connection, row)

    async def save(self, command: SaveChannel, now: datetime) -> NotificationChannel:
        """Add or replace a channel. Raises NotifierRefusal. Guard: a lock of the tenant's channels."""
        terms = command.model_dump(mode="json", exclude=_OUTSIDE_TERMS, exclude_none=True)
        async with self._database.change() as change:
            connection = change.connection
            await connection.execute(_LOCK, {"tenant": command.tenant})
            await _check_endpoint(connection, command)
            if command.channel_id is None:
                channel_id, before = ids.new(ids.CHANNEL), None
                await self._require_space(connection, command.tenant)
                values = {"channel_id": channel_id, "tenant": command.tenant, "terms": terms, "now": now}
                await connection.execute(_ADD, values)
                await add_target(connection, command.tenant, channel_id)
            else:
                channel_id = command.channel_id
                before = await self._get(connection, command.tenant, channel_id)
                _check_change(before, command)
                await connection.execute(_CHANGE, {"channel_id": channel_id, "terms": terms})
            await set_target_enabled(connection, channel_id, enabled=command.enabled, now=now)
            saved = await self._get(connection, command.tenant, channel_id)
            await change.audit(
                actor=command.actor,
                action="channel.add" if before is None else "channel.change",
                tenant=command.tenant,
                target=channel_id,
                details=describe_changes({} if before is None else _audited(before), _audited(saved)),
            )
            return saved

    async def remove(self, tenant: str, channel_id: str, actor: str) -> tuple[NotificationChannel, int]:
        """Remove a channel; return it, and how many notifications were dropped with it. Raises NotifierRefusal."""
        async with self._database.change() as change:
            await change.connection.execute(_LOCK, {"tenant": tenant})
            channel = await self._get(change.connection, tenant, channel_id)
            key = {"tenant": tenant, "channel_id": channel_id}
            if report_id := await change.connection.scalar(_USED_BY, key):
                raise NotifierRefusal(f"the report {report_id} is sent by this channel: remove or change that first")
            await change.connection.execute(_REMOVE, key)
            dropped = await remove_target(change.connection, channel_id)
            await change.audit(
                actor=actor, action="channel.remove", tenant=tenant, target=channel_id, details={"name": channel.name}
            )
            return channel, dropped

    async def _get(self, connection: AsyncConnection, tenant: str, channel_id: str) -> NotificationChannel:
        key = {"tenant": tenant, "channel_id": channel_id}
        row = (await connection.execute(_GET, key)).mappings().one_or_none()
        if row is None:
            raise unknown(tenant, "channel", channel_id)
        return await self._channel_of(connection, row)

    async def _require_space(self, connection: AsyncConnection, tenant: str) -> None:
        if len((await connection.execute(_LIST, {"tenant": tenant})).all()) >= MAX_CHANNELS:
            raise NotifierRefusal(f"nothing was saved: {tenant} has {MAX_CHANNELS} channels, the most there may be")

    async def _channel_of(self, connection: AsyncConnection, row: Mapping[Any, Any]) -> NotificationChannel:
        tenant, recipients = row["tenant"], row["terms"].get("recipients") or []
        confirmed = await confirmed_addresses(connection, tenant, recipients) if recipients else frozenset()
        states = describe_recipients(tenant, recipients, self._people.addresses(tenant), confirmed)
        others = {name: value for name, value in row.items() if name != "terms"}
        return NotificationChannel.model_validate(row["terms"] | others | {"recipient_states": states})


async def _check_endpoint(connection: AsyncConnection, command: SaveChannel) -> None:
    if command.kind is not ChannelKind.WEBHOOK:
        return
    key = {"tenant": command.tenant, "endpoint_id": command.endpoint_id}
    if await connection.scalar(_HAS_ENDPOINT, key) is None:
        raise unknown(command.tenant, "webhook endpoint", str(command.endpoint_id))


def _check_change(before: NotificationChannel, command: SaveChannel) -> None:
    if command.expected_revision not in (None, before.revision):
        raise changed_meanwhile(before.revision)
    if before.kind is not command.kind:
        raise NotifierRefusal("nothing was saved: a channel stays of its kind; add another one, and remove this one")


def _audited(channel: NotificationChannel) -> dict[str, object]:
    return channel.model_dump(mode="json", include=set(ChannelTerms.model_fields) - {"tenant"}, exclude_none=True)


def new_addresses(channel: NotificationChannel) -> Sequence[str]:
    """Return the addresses of a channel that receive nothing until they are confirmed."""
    return [each.address for each in channel.recipient_states if each.state.value == "unconfirmed"]
