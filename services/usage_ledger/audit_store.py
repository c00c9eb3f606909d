"""The audit in PostgreSQL: entries are appended under the lock of the tenant's chain head, and never changed."""

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    DateTime,
    RowMapping,
    Table,
    Text,
    cast,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.audit import AuditEntry, AuditEvent, AuditHead, ListAudit, UncountedAuditEvent
from keyferry.runtime.database.tenant_isolation import as_service
from services.usage_ledger.audit_chain import BEGINNING, digest
from services.usage_ledger.database import TransactionalStore, metadata
from services.usage_ledger.record_batches import assume_utc

_Timestamp = DateTime(timezone=True)
audit_entries = Table(
    "audit_entries",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("event_id", Text),
    Column("service", Text),
    Column("sequence", BigInteger),
    Column("event", JSONB),
    Column("previous", Text),
    Column("digest", Text),
    Column("recorded_at", _Timestamp),
)
audit_chain_heads = Table(
    "audit_chain_heads",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("position", BigInteger),
    Column("digest", Text),
)
_PAGE = 1000
_OWN_NUMBERS = "numbers of the ledger's own audit events"


class AuditStore(TransactionalStore):
    """The tables of the audit. Every method raises DatabaseUnavailable."""

    async def append(self, events: Sequence[AuditEvent], now: datetime) -> list[AuditHead]:
        """Append events that are new, each tenant's in the given order; return the new heads, unsigned.

        Guards: the lock of each tenant's head, taken in the order of names, and the unique event id.
        """
        by_tenant: defaultdict[str, list[AuditEvent]] = defaultdict(list)
        for event in events:
            by_tenant[event.tenant].append(event)
        async with self.transaction() as connection:
            return [await _append(connection, tenant, by_tenant[tenant], now) for tenant in sorted(by_tenant)]

    async def append_own(self, event: UncountedAuditEvent, now: datetime) -> AuditHead:
        """Append an event of the ledger itself with its next number; return the new head, unsigned.

        Guard: a lock of these numbers, taken before the tenant's head is.
        """
        async with self.transaction() as connection:
            return await self.append_own_within(connection, event, now)

    async def append_own_within(
        self, connection: AsyncConnection, event: UncountedAuditEvent, now: datetime
    ) -> AuditHead:
        """Do the same in a transaction that also makes the change itself, so that there is neither without the other."""
        columns = audit_entries.c
        # The next number of the ledger's events is one more than the last, whichever tenant that was about.
        async with as_service(connection):
            await connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(_OWN_NUMBERS, 0))))
            highest = await connection.scalar(
                select(func.max(columns.sequence)).where(columns.service == event.service)
            )
            counted = AuditEvent(**event.model_dump(), sequence=(highest or 0) + 1)
            return await _append(connection, event.tenant, [counted], now)

    async def is_known(self, event_id: str) -> bool:
        """Return whether an event is in any chain."""
        query = select(audit_entries.c.event_id).where(audit_entries.c.event_id == event_id)
        async with self.transaction() as connection:
            return await connection.scalar(query) is not None

    async def page(self, command: ListAudit) -> list[AuditEntry]:
        """Return entries of a tenant that match, newest first, below the position `before`."""
        columns = audit_entries.c
        query = select(audit_entries).where(columns.tenant == command.tenant, *_matches(command))
        query = query.order_by(columns.position.desc()).limit(command.limit)
        if command.before is not None:
            query = query.where(columns.position < command.before)
        async with self.transaction() as connection:
            return [entry_of(row) for row in (await connection.execute(query)).mappings()]

    async def chains(self) -> list[str]:
        """Return every tenant that has a chain."""
        async with self.transaction() as connection:
            return list(await connection.scalars(select(audit_chain_heads.c.tenant)))

    async def chain(self, tenant: str) -> AsyncIterator[list[AuditEntry]]:
        """Yield a tenant's entries in order, a page at a time."""
        columns = audit_entries.c
        last = 0
        while True:
            query = select(audit_entries).where(columns.tenant == tenant, columns.position > last)
            async with self.transaction() as connection:
                rows = await connection.execute(query.order_by(columns.position).limit(_PAGE))
                entries = [entry_of(row) for row in rows.mappings()]
            if not entries:
                return
            yield entries
            last = entries[-1].position

    async def missing(self) -> dict[str, int]:
        """Count the sequence numbers of each producing service that are missing below its highest; only services with gaps."""
        columns = audit_entries.c
        query = select(columns.service, func.max(columns.sequence), func.count(columns.sequence.distinct()))
        async with self.transaction() as connection:
            rows = (await connection.execute(query.group_by(columns.service))).all()
        return {service: highest - count for service, highest, count in rows if highest > count}


def _matches(command: ListAudit) -> list[ColumnElement[bool]]:
    event = audit_entries.c.event
    action, at = event["action"].as_string(), cast(event["at"].as_string(), _Timestamp)
    wanted = {name: value for name in ("actor", "target") if (value := getattr(command, name)) is not None}
    conditions = [event[name].as_string() == value for name, value in wanted.items()]
    if command.action is not None:
        conditions.append(or_(action == command.action, func.starts_with(action, f"{command.action}.")))
    if command.since is not None:
        conditions.append(at >= assume_utc(command.since))
    if command.until is not None:
        conditions.append(at < assume_utc(command.until))
    return conditions


async def _lock_head(connection: AsyncConnection, tenant: str) -> tuple[int, str]:
    """Lock the head of a tenant's chain until the transaction ends; return its position and digest."""
    heads = audit_chain_heads.c
    await connection.execute(
        upsert(audit_chain_heads).values(tenant=tenant, position=0, digest=BEGINNING).on_conflict_do_nothing()
    )
    chosen = select(heads.position, heads.digest).where(heads.tenant == tenant).with_for_update()
    position, previous = (await connection.execute(chosen)).one()
    return position, previous


async def _append(connection: AsyncConnection, tenant: str, events: list[AuditEvent], now: datetime) -> AuditHead:
    heads = audit_chain_heads.c
    position, previous = await _lock_head(connection, tenant)
    known = set(
        await connection.scalars(
            select(audit_entries.c.event_id).where(audit_entries.c.event_id.in_([event.event_id for event in events]))
        )
    )
    rows = []
    for event in events:
        if event.event_id in known:
            continue
        known.add(event.event_id)
        position += 1
        entry_digest = digest(position, previous, event)
        rows.append(
            {
                "tenant": tenant,
                "position": position,
                "event_id": event.event_id,
                "service": event.service,
                "sequence": event.sequence,
                "event": event.model_dump(mode="json"),
                "previous": previous,
                "digest": entry_digest,
                "recorded_at": now,
            }
        )
        previous = entry_digest
    if rows:
        await connection.execute(insert(audit_entries), rows)
        await connection.execute(
            update(audit_chain_heads).where(heads.tenant == tenant).values(position=position, digest=previous)
        )
    return AuditHead(tenant=tenant, position=position, digest=previous, at=now, signature="")


def entry_of(row: RowMapping) -> AuditEntry:
    """Return the entry in a row."""
    return AuditEntry(
        position=row["position"],
        event=AuditEvent.model_validate(row["event"]),
        previous=row["previous"],
        digest=row["digest"],
        recorded_at=row["recorded_at"].astimezone(UTC),
    )
