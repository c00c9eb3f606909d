"""The partitions of attempts and decisions in PostgreSQL: made ahead, detached by retention, dropped if that is wanted.

Each change is one transaction that takes an advisory lock, so one process among all changes partitions.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts import ids
from keyferry.contracts.partitions import LedgerPartition, PartitionState
from services.usage_ledger.database import SCHEMA, TransactionalStore
from services.usage_ledger.partitions import sql
from services.usage_ledger.partitions.months import (
    IdRange,
    Partition,
    Retention,
    missing,
    outdated,
    parse_bounds,
)

_KEEP_ATTACHED = text(f"LOCK TABLE {SCHEMA}.attempts IN ACCESS SHARE MODE")


@dataclass(slots=True)
class PartitionChanges:
    """What a pass has changed, by the names of partitions."""

    created: list[str] = field(default_factory=list)
    detached: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)


class PartitionStore(TransactionalStore):
    """The partitions. Every method raises DatabaseUnavailable, also if a lock cannot be had soon."""

    async def maintain(self, retention: Retention, now: datetime) -> PartitionChanges:
        """Do what is due. Where another process is at it, do nothing."""
        changes = PartitionChanges()
        changes.created = await self._create(now)
        while (name := await self._detach_oldest(retention, now)) is not None:
            changes.detached.append(name)
        if retention.detached_days is not None:
            changes.dropped = await self._drop(now - timedelta(days=retention.detached_days), now)
        return changes

    async def list_partitions(self, retention: Retention) -> list[LedgerPartition]:
        """Return all partitions, detached and dropped ones included."""
        async with self.transaction() as connection:
            attached = (await connection.execute(text(sql.LIST))).mappings().all()
            detached = (await connection.execute(text(sql.LIST_DETACHED))).mappings().all()
        found = []
        for row in attached:
            partition = Partition(row["parent"], row["name"], parse_bounds(row["bounds"]))
            found.append(
                LedgerPartition(
                    table=partition.table,
                    name=partition.name,
                    state=PartitionState.ATTACHED,
                    from_moment=partition.bounds.begins_at if partition.bounds else None,
                    until_moment=partition.bounds.ends_at if partition.bounds else None,
                    about_rows=row["about_rows"],
                    size_bytes=row["size_bytes"],
                    leaves_at=retention.detached_at(partition),
                )
            )
        for row in detached:
            bounds = IdRange(row["from_id"], row["until_id"])
            at, dropped_at = row["detached_at"].astimezone(UTC), row["dropped_at"]
            days = retention.detached_days
            found.append(
                LedgerPartition(
                    table=row["parent"],
                    name=row["name"],
                    state=PartitionState.DROPPED if dropped_at else PartitionState.DETACHED,
                    from_moment=bounds.begins_at,
                    until_moment=bounds.ends_at,
                    about_rows=row["about_rows"] or 0,
                    size_bytes=row["size_bytes"],
                    detached_at=at,
                    leaves_at=None if dropped_at or days is None else at + timedelta(days=days),
                )
            )
        return found

    async def _create(self, now: datetime) -> list[str]:
        async with self._elected() as connection:
            if connection is None:
                return []
            found = list(missing(await _attached(connection), now))
            for partition in found:
                table = {"name": f"{SCHEMA}.{partition.table}"}
                columns = await connection.scalar(text(sql.COLUMNS), table)
                for statement in sql.create(partition, str(columns)):
                    await connection.execute(text(statement))
        return [partition.name for partition in found]

    async def _detach_oldest(self, retention: Retention, now: datetime) -> str | None:
        """Detach one partition: a transaction that keeps all others waiting has to be short."""
        async with self._elected() as connection:
            found = [] if connection is None else outdated(await _attached(connection), retention, now)
            if not found or connection is None:
                return None
            partition, bounds = found[0], found[0].bounds
            assert bounds is not None
            await connection.execute(text(sql.detach(partition)))
            values = {
                "partition": partition.name,
                "parent": partition.table,
                "from_id": bounds.from_id,
                "until_id": bounds.until_id,
                "now": now,
            }
            await connection.execute(text(sql.RECORD_DETACHED), values)
        return partition.name

    async def _drop(self, before: datetime, now: datetime) -> list[str]:
        async with self._elected() as connection:
            if connection is None:
                return []
            names = list(await connection.scalars(text(sql.DROPPABLE), {"before": before}))
            for name in names:
                await connection.execute(text(sql.drop(name)))
                await connection.execute(text(sql.RECORD_DROPPED), {"partition": name, "now": now})
        return names

    @asynccontextmanager
    async def _elected(self) -> AsyncIterator[AsyncConnection | None]:
        """Open a transaction that alone may change partitions; None if another process has it."""
        async with self.transaction() as connection:
            await connection.execute(text(sql.LIMIT_WAITING))
            yield connection if await connection.scalar(text(sql.TAKE_LOCK)) else None


async def _attached(connection: AsyncConnection) -> list[Partition]:
    rows = (await connection.execute(text(sql.LIST))).mappings().all()
    return [Partition(row["parent"], row["name"], parse_bounds(row["bounds"])) for row in rows]


async def keep_attached(connection: AsyncConnection) -> None:
    """Let no month of attempts be detached before the transaction ends. Call it before the transaction takes its snapshot."""
    await connection.execute(_KEEP_ATTACHED)


async def kept_since(connection: AsyncConnection, table: str) -> datetime | None:
    """Return the moment before which rows of a table have been detached; None if all are there.

    What is computed from rows covers only what came later. What was derived from earlier ones has to stay as it is.
    """
    until_id = await connection.scalar(text(sql.KEPT_SINCE), {"parent": table})
    return None if until_id is None else datetime.fromtimestamp(ids.unix_ms_of(until_id) / 1000, UTC)
