"""Removes a deleted tenant's rows, by a list of what each table of a service has of tenants.

Rows go in small transactions, each with the outbox rows of its view entries, so that a stop at any moment loses nothing: the next
call counts again and goes on.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from sqlalchemy import Table, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts.channels import Bucket
from keyferry.contracts.erasure import ErasedTenant, EraseTenant, TenantRows, Treatment
from keyferry.runtime.database.errors import translate_database_errors
from keyferry.runtime.database.outbox import enqueue

_BATCH_ROWS = 2000
_STEP_SECONDS = 10.0
"""For one call: its caller waits, and asks again for the rest."""

Partitions = Callable[[AsyncConnection], Awaitable[Sequence[str]]]
"""Returns the qualified names of tables that have left a partitioned one and still hold rows."""


@dataclass(frozen=True, slots=True)
class ViewKeys:
    """The view that rows are published to, and the key of the entry that a row is in, from its values."""

    bucket: Bucket[Any]
    key: Callable[[Mapping[str, Any]], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantTable:
    """A table with rows of tenants, and what becomes of them when their tenant is deleted."""

    name: str
    treatment: Treatment
    reason: str
    """What the rows are, and for kept ones why they are kept."""
    owner: str = "tenant = :tenant"
    """The SQL condition of a tenant's rows."""
    remaining: str | None = None
    """The SQL condition, beside `owner`, of rows that are not reduced yet; None if the rows are removed or kept."""
    reduce: str | None = None
    """With REDUCED: the assignments of an UPDATE, or None if `into` keeps what stays."""
    into: str | None = None
    """SQL that inserts what is kept of the removed rows, which it reads from `removed`."""
    view: ViewKeys | None = None
    order: str = ""
    """With rows that refer to each other: the ORDER BY in which they go."""
    settings: Sequence[str] = ()
    """Settings of the transaction that the table's triggers ask for."""
    detached: Partitions | None = None


class TenantEraser:
    """Counts and removes the rows of one service's tables, in the order given.

    `outbox` is that of its views; None for a service without views.
    """

    def __init__(self, engine: AsyncEngine, schema: str, tables: Sequence[TenantTable], outbox: Table | None) -> None:
        self._engine = engine
        self._schema = schema
        self._tables = tables
        self._outbox = outbox

    async def erase(self, command: EraseTenant) -> ErasedTenant:
        """Remove rows for some seconds unless only a count is wanted, and return what there is then.

        Raises DatabaseUnavailable.
        """
        ends_at = monotonic() + _STEP_SECONDS
        with translate_database_errors():
            for table in () if command.count_only else self._tables:
                await self._clear(table, command.tenant, ends_at)
            async with self._engine.begin() as connection:
                counted = [await self._count(connection, table, command.tenant) for table in self._tables]
        done = not any(left for _, left in counted)
        return ErasedTenant(tables=[rows for rows, _ in counted], done=done)

    async def _clear(self, table: TenantTable, tenant: str, ends_at: float) -> None:
        if table.treatment is Treatment.KEPT:
            return
        async with self._engine.begin() as connection:
            sources = await self._sources(connection, table)
        for source in sources:
            while monotonic() < ends_at:
                async with self._engine.begin() as connection:
                    if not await self._clear_batch(connection, table, source, tenant):
                        break

    async def _clear_batch(self, connection: AsyncConnection, table: TenantTable, source: str, tenant: str) -> int:
        for setting in table.settings:
            await connection.execute(text("SELECT set_config(:setting, 'on', true)"), {"setting": setting})
        rows = (await connection.execute(text(_batch(table, source)), {"tenant": tenant})).mappings().all()
        if table.view is not None:
            assert self._outbox is not None, f"{table.name} has a view, but its service no outbox"
            for entry in {table.view.key({str(name): row[name] for name in row}) for row in rows}:
                await enqueue(connection, self._outbox, table.view.bucket.name, entry, None)
        return len(rows)

    async def _count(self, connection: AsyncConnection, table: TenantTable, tenant: str) -> tuple[TenantRows, int]:
        """Return the rows of a tenant in a table, and how many of them are still to be removed."""
        rows = left = 0
        for source in await self._sources(connection, table):
            query = f"SELECT count(*) AS rows, count(*) FILTER (WHERE {_unfinished(table)}) AS unfinished FROM {source}"  # noqa: S608
            found = (await connection.execute(text(f"{query} WHERE {table.owner}"), {"tenant": tenant})).one()
            rows, left = rows + found.rows, left + found.unfinished
        if table.treatment is Treatment.KEPT:
            left = 0
        return TenantRows(table=table.name, rows=rows, treatment=table.treatment, reason=table.reason), left

    async def _sources(self, connection: AsyncConnection, table: TenantTable) -> list[str]:
        detached = [] if table.detached is None else await table.detached(connection)
        return [f"{self._schema}.{table.name}", *detached]


def _batch(table: TenantTable, source: str) -> str:
    """Return the statement that removes or reduces some rows and returns them; all names in it are the service's own."""
    order = f" ORDER BY {table.order}" if table.order else ""
    chosen = f"SELECT ctid, tableoid FROM {source} WHERE {_unfinished(table)}{order} LIMIT {_BATCH_ROWS} FOR UPDATE"  # noqa: S608
    same = "(changed.ctid, changed.tableoid) IN (SELECT ctid, tableoid FROM chosen)"
    if table.reduce is not None:
        change = f"UPDATE {source} AS changed SET {table.reduce} WHERE {same} RETURNING changed.*"  # noqa: S608
    else:
        change = f"DELETE FROM {source} AS changed WHERE {same} RETURNING changed.*"  # noqa: S608
    kept = "" if table.into is None else f", kept AS ({table.into})"
    values = "*" if table.view is not None else "1"
    return f"WITH chosen AS MATERIALIZED ({chosen}), removed AS ({change}){kept} SELECT {values} FROM removed"  # noqa: S608


def _unfinished(table: TenantTable) -> str:
    return table.owner if table.remaining is None else f"{table.owner} AND ({table.remaining})"
