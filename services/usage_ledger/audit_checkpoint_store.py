"""What the verification of the audit reads and keeps: tenants a page at a time, entries from a position on, and checkpoints."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC

import pydantic
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    RowMapping,
    Table,
    Text,
    and_,
    bindparam,
    column,
    delete,
    exists,
    func,
    join,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from keyferry.contracts.audit import AuditEntry
from services.usage_ledger.audit_checkpoint import AuditCheckpoint
from services.usage_ledger.audit_store import audit_chain_heads, audit_entries, entry_of
from services.usage_ledger.database import TransactionalStore, metadata

audit_checkpoints = Table(
    "audit_checkpoints",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("position", BigInteger),
    Column("digest", Text),
    Column("full_at", DateTime(timezone=True)),
    Column("signature", Text),
)
_ROWS = 1000
"""Entries in memory at once."""
_CHAINS = (
    func.unnest(bindparam("tenants", type_=ARRAY(Text)), bindparam("starts", type_=ARRAY(BigInteger)))
    .table_valued(column("tenant", Text), column("start", BigInteger))
    .render_derived(name="chain")
)
_FROM_START = and_(audit_entries.c.tenant == _CHAINS.c.tenant, audit_entries.c.position >= _CHAINS.c.start)
_ENTRIES = (
    select(audit_entries)
    .select_from(join(_CHAINS, audit_entries, _FROM_START))
    .order_by(audit_entries.c.tenant, audit_entries.c.position)
)
_WITHOUT_HEAD = (
    select(audit_entries.c.tenant)
    .where(~exists().where(audit_chain_heads.c.tenant == audit_entries.c.tenant))
    .distinct()
)


@dataclass(frozen=True, slots=True)
class ChainRow:
    """A row of a tenant's chain."""

    tenant: str
    position: int
    entry: AuditEntry | None
    """None if the row cannot be read, which the ledger wrote no row to be."""


class AuditCheckpointStore(TransactionalStore):
    """The tables of the audit, for its verification. Every method raises DatabaseUnavailable."""

    async def count_tenants(self) -> int:
        """Count the chains."""
        async with self.transaction() as connection:
            return await connection.scalar(select(func.count()).select_from(audit_chain_heads)) or 0

    async def tenants_after(self, tenant: str | None, limit: int) -> list[str]:
        """Return the next tenants with a chain, in the database's order."""
        column = audit_chain_heads.c.tenant
        query = select(column).order_by(column).limit(limit)
        async with self.transaction() as connection:
            return list(await connection.scalars(query if tenant is None else query.where(column > tenant)))

    async def tenants_without_head(self) -> list[str]:
        """Return the tenants with entries but without a chain, which only somebody else than the ledger can leave behind."""
        async with self.transaction() as connection:
            return list(await connection.scalars(_WITHOUT_HEAD))

    async def entries(self, starts: Mapping[str, int]) -> AsyncIterator[list[ChainRow]]:
        """Yield the entries of some tenants from a position each, in the order of each chain, some at a time."""
        arguments = {"tenants": list(starts), "starts": list(starts.values())}
        async with self.transaction() as connection, connection.stream(_ENTRIES, arguments) as result:
            async for rows in result.mappings().partitions(_ROWS):
                yield [_row(row) for row in rows]

    async def checkpoints(self, tenants: Sequence[str]) -> dict[str, AuditCheckpoint]:
        """Return the checkpoints of some tenants, as they are in the table."""
        columns = audit_checkpoints.c
        query = select(audit_checkpoints).where(columns.tenant.in_(tenants))
        async with self.transaction() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return {
            row["tenant"]: AuditCheckpoint(
                row["tenant"], row["position"], row["digest"], row["full_at"].astimezone(UTC), row["signature"]
            )
            for row in rows
        }

    async def keep(self, checkpoints: Sequence[AuditCheckpoint], without: Sequence[str]) -> None:
        """Store checkpoints, and remove those of tenants whose chains have faults, which are verified whole next time.

        Guard: none is needed. Whichever of two processes is last, its checkpoint is one that was verified.
        """
        if not checkpoints and not without:
            return
        names = ("tenant", "position", "digest", "full_at", "signature")
        rows = [
            {name: getattr(item, name) for name in names} for item in sorted(checkpoints, key=lambda item: item.tenant)
        ]
        async with self.transaction() as connection:
            if rows:
                statement = upsert(audit_checkpoints)
                changes = {name: statement.excluded[name] for name in names[1:]}
                await connection.execute(statement.on_conflict_do_update(index_elements=["tenant"], set_=changes), rows)
            if without:
                await connection.execute(delete(audit_checkpoints).where(audit_checkpoints.c.tenant.in_(without)))


def _row(row: RowMapping) -> ChainRow:
    try:
        entry = entry_of(row)
    except (pydantic.ValidationError, ValueError, AttributeError):
        entry = None
    return ChainRow(row["tenant"], row["position"], entry)
