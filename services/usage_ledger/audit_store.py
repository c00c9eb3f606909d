"""The audit in PostgreSQL: appended under the lock of its tenant's end, never changed."""

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

from sqlalchemy import BigInteger, Column, DateTime, RowMapping, Table, Text, func, insert, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.audit import AuditEntry, AuditEvent, AuditHead
from services.usage_ledger.audit_chain import BEGINNING, digest
from services.usage_ledger.store import Transactions, metadata

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
audit_ends = Table(
    "audit_ends",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("position", BigInteger),
    Column("digest", Text),
)
_PAGE = 1000


class AuditStore(Transactions):
    """The tables of the audit. Every method raises DatabaseUnavailable."""

    async def append(self, events: Sequence[AuditEvent], now: datetime) -> list[AuditHead]:
        """Chain events that are not there yet, each tenant's in the order given; the unsigned new ends.

        Guards: the lock of each tenant's end, taken in the order of names, and the unique event id.
        """
        by_tenant: defaultdict[str, list[AuditEvent]] = defaultdict(list)
        for event in events:
            by_tenant[event.tenant].append(event)
        async with self.transaction() as connection:
            return [await _append(connection, tenant, by_tenant[tenant], now) for tenant in sorted(by_tenant)]

    async def page(self, tenant: str, before: int | None, limit: int) -> list[AuditEntry]:
        """A tenant's entries, newest first, below the position `before`."""
        columns = audit_entries.c
        query = select(audit_entries).where(columns.tenant == tenant).order_by(columns.position.desc()).limit(limit)
        if before is not None:
            query = query.where(columns.position < before)
        async with self.transaction() as connection:
            return [_entry(row) for row in (await connection.execute(query)).mappings()]

    async def tenants(self) -> list[str]:
        """Every tenant that has an audit, or had one."""
        async with self.transaction() as connection:
            found = await connection.scalars(
                select(audit_ends.c.tenant).union(select(audit_entries.c.tenant)).order_by("tenant")
            )
            return list(found)

    async def chain(self, tenant: str) -> AsyncIterator[list[AuditEntry]]:
        """A tenant's entries in order, a page at a time."""
        columns = audit_entries.c
        last = 0
        while True:
            query = select(audit_entries).where(columns.tenant == tenant, columns.position > last)
            async with self.transaction() as connection:
                rows = await connection.execute(query.order_by(columns.position).limit(_PAGE))
                entries = [_entry(row) for row in rows.mappings()]
            if not entries:
                return
            yield entries
            last = entries[-1].position

    async def missing(self) -> dict[str, int]:
        """How many numbers of each producing service's count are not there, below its highest."""
        columns = audit_entries.c
        query = select(columns.service, func.max(columns.sequence), func.count(columns.sequence.distinct()))
        async with self.transaction() as connection:
            rows = (await connection.execute(query.group_by(columns.service))).all()
        return {service: highest - count for service, highest, count in rows if highest > count}


async def _append(connection: AsyncConnection, tenant: str, events: list[AuditEvent], now: datetime) -> AuditHead:
    ends = audit_ends.c
    await connection.execute(
        upsert(audit_ends).values(tenant=tenant, position=0, digest=BEGINNING).on_conflict_do_nothing()
    )
    chosen = select(ends.position, ends.digest).where(ends.tenant == tenant).with_for_update()
    position, previous = (await connection.execute(chosen)).one()
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
            update(audit_ends).where(ends.tenant == tenant).values(position=position, digest=previous)
        )
    return AuditHead(tenant=tenant, position=position, digest=previous, at=now, signature="")


def _entry(row: RowMapping) -> AuditEntry:
    return AuditEntry(
        position=row["position"],
        event=AuditEvent.model_validate(row["event"]),
        previous=row["previous"],
        digest=row["digest"],
        recorded_at=row["recorded_at"].astimezone(UTC),
    )
