"""Stored content in PostgreSQL: encrypted with a data key of its tenant, and removed when its time is over."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Column, DateTime, LargeBinary, Table, Text, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts.audit import AuditHead
from keyferry.contracts.content import AttemptContent, CallContent, ContentRecord, GetContent
from services.usage_ledger.audit_log import OwnAction
from services.usage_ledger.contents.encryption import ContentEncryption
from services.usage_ledger.database import TransactionalStore, metadata

content_keys = Table(
    "content_keys",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("encrypted_key", LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)
contents = Table(
    "contents",
    metadata,
    Column("attempt_id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("content", LargeBinary, nullable=False),
)
_PURGED_AT_ONCE = 1000
_MOST_ATTEMPTS = 100

Record = Callable[[AsyncConnection, OwnAction], Awaitable[AuditHead]]
"""Appends an audit event in the transaction that carries its action out."""


class ContentStore(TransactionalStore):
    """The tables. Every method raises DatabaseUnavailable."""

    def __init__(self, engine: AsyncEngine, encryption: ContentEncryption, record: Record) -> None:
        super().__init__(engine)
        self._encryption = encryption
        self._record = record

    async def insert(self, records: Sequence[tuple[ContentRecord, CallContent]], now: datetime) -> None:
        """Store content, each attempt's once. Guard: the primary key. Raises UnreadableContent."""
        async with self.transaction() as connection:
            for record, content in records:
                key = await self._data_key(connection, record.tenant, now)
                encrypted = self._encryption.encrypt(key, record.tenant, record.attempt_id, content)
                values = {
                    "attempt_id": record.attempt_id,
                    "tenant": record.tenant,
                    "request_id": record.request_id,
                    "policy": record.policy.value,
                    "recorded_at": record.recorded_at,
                    "expires_at": min(record.recorded_at, now) + timedelta(days=record.days),
                    "content": encrypted,
                }
                await connection.execute(insert(contents).values(**values).on_conflict_do_nothing())

    async def read(self, command: GetContent) -> tuple[list[AttemptContent], AuditHead]:
        """Return the content of a request, and the head of the audit, which has the reading in the same transaction.

        Raises UnreadableContent.
        """
        columns = contents.c
        chosen = (columns.tenant == command.tenant) & (columns.request_id == command.request_id)
        async with self.transaction() as connection:
            query = select(contents).where(chosen).order_by(columns.recorded_at, columns.attempt_id)
            rows = (await connection.execute(query.limit(_MOST_ATTEMPTS))).all()
            key = await connection.scalar(
                select(content_keys.c.encrypted_key).where(content_keys.c.tenant == command.tenant)
            )
            found = [
                AttemptContent(
                    **dict(self._encryption.decrypt(key, command.tenant, row.attempt_id, row.content)),
                    attempt_id=row.attempt_id,
                    policy=row.policy,
                    recorded_at=row.recorded_at.astimezone(UTC),
                    expires_at=row.expires_at.astimezone(UTC),
                )
                for row in rows
                if key is not None
            ]
            details = {"attempts": str(len(found))}
            done = OwnAction(command.actor, "content.read", command.request_id, details, command.tenant)
            return found, await self._record(connection, done)

    async def purge(self, now: datetime) -> int:
        """Remove content whose time is over; return how many rows."""
        expired = select(contents.c.attempt_id).where(contents.c.expires_at <= now).limit(_PURGED_AT_ONCE)
        removed = 0
        while True:
            async with self.transaction() as connection:
                statement = delete(contents).where(contents.c.attempt_id.in_(expired)).returning(contents.c.attempt_id)
                count = len((await connection.execute(statement)).all())
            removed += count
            if count < _PURGED_AT_ONCE:
                return removed

    async def _data_key(self, connection: AsyncConnection, tenant: str, now: datetime) -> bytes:
        query = select(content_keys.c.encrypted_key).where(content_keys.c.tenant == tenant)
        if (found := await connection.scalar(query)) is None:
            values = {"tenant": tenant, "encrypted_key": self._encryption.new_data_key(tenant), "created_at": now}
            await connection.execute(insert(content_keys).values(**values).on_conflict_do_nothing())
            found = await connection.scalar(query)
        assert found is not None
        return bytes(found)
