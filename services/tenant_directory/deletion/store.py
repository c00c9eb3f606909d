"""Deletions of tenants in PostgreSQL: what was requested, and how far each service is."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Row, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts.erasure import DeleteTenant, DeletionPart, ErasedRows, TenantDeletion
from keyferry.contracts.tenancy import Tenant
from keyferry.contracts.topology import TENANTS_VIEW
from keyferry.runtime.database.outbox import enqueue
from services.tenant_directory.deletion import rules
from services.tenant_directory.deletion.progress import list_elsewhere
from services.tenant_directory.tables import deletion_parts, deletions, outbox, tenants_table
from services.tenant_directory.transactions import lock_tenant, record_audit, transaction

SWEEPS = timedelta(days=35)
"""For how long records may arrive late: workers repeat them, and the bus keeps them for a week."""
_SWEEP_EVERY = timedelta(days=1)
_LOCK = int.from_bytes(hashlib.sha256(b"tenant-directory deletions").digest()[:8], "big", signed=True)


@dataclass(frozen=True, slots=True)
class PartOfDeletion:
    """What one service has to do for one deletion."""

    tenant: str
    service: str
    actor: str
    counted: bool
    """Whether what there is was counted in this pass, so that it may be removed."""
    tables: Sequence[ErasedRows]


class DeletionStore:
    """The tables. Every method raises DatabaseUnavailable."""

    def __init__(self, engine: AsyncEngine, services: Sequence[str]) -> None:
        """`services` are those that have something of tenants, in the order in which they are asked."""
        self._engine = engine
        self._services = services

    async def request(self, command: DeleteTenant, now: datetime) -> TenantDeletion:
        """Suspend the tenant and begin its deletion; a second time only returns the report. Guard: the tenant's row lock.

        Raises RuleViolation.
        """
        async with transaction(self._engine) as connection:
            tenant = await lock_tenant(connection, command.tenant)
            rules.check(tenant, command)
            if tenant.deleted_at is None:
                await self._begin(connection, tenant, command, now)
        return await self.report(command.tenant)

    async def _begin(self, connection: AsyncConnection, tenant: Tenant, command: DeleteTenant, now: datetime) -> None:
        gone = rules.without_details(tenant, now)
        values = gone.model_dump(exclude={"tenant"})
        await connection.execute(update(tenants_table).where(tenants_table.c.tenant == gone.tenant).values(**values))
        await enqueue(connection, outbox, TENANTS_VIEW.name, gone.tenant, gone.encode())
        asked = {"tenant": gone.tenant, "requested_at": now, "requested_by": command.actor}
        await connection.execute(insert(deletions).values(**asked))
        parts = [
            {"tenant": gone.tenant, "service": service, "place": place, "done": False, "tables": []}
            for place, service in enumerate(self._services)
        ]
        await connection.execute(insert(deletion_parts), parts)
        await record_audit(
            connection, command.actor, "tenant.delete", gone.tenant, gone.tenant, {"tier": tenant.tier.value}
        )

    @asynccontextmanager
    async def elected(self) -> AsyncIterator[bool]:
        """Hold the lock of the job until the end of the block; False where another process holds it."""
        async with transaction(self._engine) as connection:
            yield bool(await connection.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}))

    async def begin_sweeps(self, now: datetime) -> None:
        """Have every service look again for records of deleted tenants that came late, once a day."""
        columns = deletions.c
        due = (
            columns.finished_at.is_not(None)
            & (columns.finished_at > now - SWEEPS)
            & (func.coalesce(columns.swept_at, columns.finished_at) <= now - _SWEEP_EVERY)
        )
        async with transaction(self._engine) as connection:
            again = list(
                await connection.scalars(update(deletions).where(due).values(swept_at=now).returning(columns.tenant))
            )
            chosen = deletion_parts.c.tenant.in_(again)
            await connection.execute(update(deletion_parts).where(chosen).values(done=False, counted=False))

    async def pending(self) -> list[PartOfDeletion]:
        """Return what is not done, the oldest deletion first."""
        parts = deletion_parts.c
        query = (
            select(deletion_parts, deletions.c.requested_by)
            .join(deletions, deletions.c.tenant == parts.tenant)
            .where(~parts.done)
            .order_by(deletions.c.requested_at, parts.tenant, parts.place)
        )
        async with transaction(self._engine) as connection:
            rows = (await connection.execute(query)).all()
        return [PartOfDeletion(row.tenant, row.service, row.requested_by, row.counted, _tables(row)) for row in rows]

    async def record(
        self, part: PartOfDeletion, tables: Sequence[ErasedRows], *, done: bool, waits_for: str | None, now: datetime
    ) -> None:
        """Store how far a service is, and the end of the deletion with its audit event once all are done."""
        columns = deletion_parts.c
        chosen = (columns.tenant == part.tenant) & (columns.service == part.service)
        values = {
            "tables": [rows.model_dump(mode="json") for rows in tables],
            "done": done,
            "counted": True,
            "waits_for": waits_for,
        }
        async with transaction(self._engine) as connection:
            await connection.execute(
                select(deletions.c.tenant).where(deletions.c.tenant == part.tenant).with_for_update()
            )
            await connection.execute(update(deletion_parts).where(chosen).values(**values))
            unfinished = select(columns.tenant).where(columns.tenant == part.tenant, ~columns.done).exists()
            finishing = (
                update(deletions)
                .where(deletions.c.tenant == part.tenant, deletions.c.finished_at.is_(None), ~unfinished)
                .values(finished_at=now)
            )
            if (await connection.execute(finishing.returning(deletions.c.tenant))).one_or_none() is not None:
                details = await _summarize(connection, part.tenant)
                await record_audit(connection, part.actor, "tenant.deleted", part.tenant, part.tenant, details)

    async def note_obstacle(self, part: PartOfDeletion, obstacle: str) -> None:
        """Store why a service is not done."""
        columns = deletion_parts.c
        chosen = (columns.tenant == part.tenant) & (columns.service == part.service)
        async with transaction(self._engine) as connection:
            await connection.execute(update(deletion_parts).where(chosen).values(waits_for=obstacle))

    async def report(self, tenant: str) -> TenantDeletion:
        """Return the report of a deletion. Raises RuleViolation if there is none."""
        parts = deletion_parts.c
        async with transaction(self._engine) as connection:
            asked = (await connection.execute(select(deletions).where(deletions.c.tenant == tenant))).one_or_none()
            query = select(deletion_parts).where(parts.tenant == tenant).order_by(parts.place)
            rows = (await connection.execute(query)).all()
        if asked is None:
            raise rules.not_deleted(tenant)
        return TenantDeletion(
            tenant=tenant,
            requested_at=asked.requested_at.astimezone(UTC),
            requested_by=asked.requested_by,
            finished_at=None if asked.finished_at is None else asked.finished_at.astimezone(UTC),
            parts=[
                DeletionPart(service=row.service, done=row.done, tables=list(_tables(row)), waits_for=row.waits_for)
                for row in rows
            ],
            elsewhere=list_elsewhere(),
        )


def _tables(row: Row[tuple[object, ...]]) -> list[ErasedRows]:
    return [ErasedRows.model_validate(rows) for rows in row._mapping["tables"]]


async def _summarize(connection: AsyncConnection, tenant: str) -> dict[str, str]:
    """Return for the audit how many rows each service has removed or reduced."""
    rows = (await connection.execute(select(deletion_parts).where(deletion_parts.c.tenant == tenant))).all()
    return {
        row.service: f"{sum(each.found - each.left for each in _tables(row))} rows removed,"
        f" {sum(each.left for each in _tables(row))} kept"
        for row in rows
    }
