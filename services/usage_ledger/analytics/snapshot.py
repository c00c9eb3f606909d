"""Reading rollups: each answer is of one snapshot of the database, and no read delays the recording of attempts."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts.analytics import Dimension, Measure
from keyferry.contracts.analytics_answers import Percentiles
from keyferry.runtime.database.errors import translate_database_errors
from keyferry.runtime.database.tenant_isolation import as_service
from services.usage_ledger.analytics.figures import Sums, percentiles_of, sums_of
from services.usage_ledger.analytics.periods import QuarterSpan
from services.usage_ledger.analytics.query_sql import (
    COLUMNS,
    RollupSource,
    groups_sql,
    key_of_line,
    series_sql,
    sketches_sql,
    total_sql,
)
from services.usage_ledger.analytics.rollup_sql import DAY, MODEL_VALUES, QUARTERS_OF_DAY, SKETCHES

_QUERY_CANCELED = "57014"
_TIMEOUT_MS = 20_000
Key = tuple[str, ...]


class QueryTooLong(Exception):
    """A query took longer than an answer may take."""


class RollupSnapshot:
    """One state of the rollups. Methods raise DBAPIError."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def recorded(self, tenant: str | None) -> QuarterSpan | None:
        """Return the quarter hours that have attempts, from the first to the last; None if there are none."""
        condition = "" if tenant is None else " AND tenant = :tenant"
        values: dict[str, Any] = {"day": MODEL_VALUES + DAY, "quarter": MODEL_VALUES}
        values |= {} if tenant is None else {"tenant": tenant}
        days = f"SELECT min(bucket), max(bucket) FROM usage_rollups WHERE grain = :day{condition}"  # noqa: S608
        first, last = (await self._connection.execute(text(days), values)).one()
        if first is None:
            return None
        within = f"WHERE grain = :quarter AND bucket >= :day_from AND bucket < :day_from + {QUARTERS_OF_DAY}{condition}"
        since = f"SELECT min(bucket) FROM usage_rollups {within}"  # noqa: S608
        until = f"SELECT max(bucket) + 1 FROM usage_rollups {within}"  # noqa: S608
        return QuarterSpan(
            await self._connection.scalar(text(since), values | {"day_from": first}),
            await self._connection.scalar(text(until), values | {"day_from": last}),
        )

    async def total(self, source: RollupSource) -> Sums:
        """Return the sums of all rows."""
        return (await self.totals_by(source, "''")).get("", Sums())

    async def totals_by(self, source: RollupSource, key: str) -> dict[str, Sums]:
        """Return the sums by an expression."""
        rows = await self._rows(total_sql(source, key), source.parameters)
        return {row["key"]: sums_of(row) for row in rows}

    async def groups(
        self, source: RollupSource, by: Sequence[Dimension], sort: Measure, limit: int
    ) -> tuple[list[tuple[Key, Sums]], int]:
        """Return the sums of the greatest groups, and how many groups there are."""
        rows = await self._rows(groups_sql(source, by, sort), source.parameters | {"limit": limit})
        found = [(tuple(row[f"key_{number}"] for number in range(len(by))), sums_of(row)) for row in rows]
        return found, rows[0]["groups"] if rows else 0

    async def series(
        self, source: RollupSource, by: Dimension | None, lines: Sequence[str], starts: Sequence[int]
    ) -> dict[tuple[str, int], Sums]:
        """Return the sums by line and position of the bucket."""
        values = source.parameters | {"starts": list(starts)} | _line_values(by, lines)
        rows = await self._rows(series_sql(source, by), values)
        return {(row["key"], row["position"]): sums_of(row) for row in rows}

    async def percentiles(
        self,
        source: RollupSource,
        keys: Sequence[str],
        values: Mapping[str, Any],
        *,
        only_completed: bool,
        only_groups: bool = False,
    ) -> dict[str, dict[Key, Percentiles]]:
        """Return percentiles by sketch and keys, which are expressions with these parameters."""
        found: dict[str, dict[Key, Percentiles]] = {}
        for sketch in SKETCHES if source.has_sketches else ():
            sql = sketches_sql(source, sketch, keys, only_completed=only_completed, only_groups=only_groups)
            counts: dict[Key, dict[int, int]] = {}
            for row in await self._rows(sql, {**source.parameters, **values}):
                key = tuple(str(row[f"key_{number}"]) for number in range(len(keys)))
                counts.setdefault(key, {})[row["bucket_of_sketch"]] = row["number"]
            all_percentiles = ((key, percentiles_of(each)) for key, each in counts.items())
            found[sketch] = {key: each for key, each in all_percentiles if each is not None}
        return found

    async def line_percentiles(
        self,
        source: RollupSource,
        by: Dimension | None,
        lines: Sequence[str],
        starts: Sequence[int],
        *,
        only_completed: bool,
    ) -> dict[str, dict[Key, Percentiles]]:
        """Return percentiles by sketch, line and position of the bucket."""
        keys = (key_of_line(by), "width_bucket(bucket, CAST(:starts AS integer[])) - 1")
        values = {"starts": list(starts)} | _line_values(by, lines)
        return await self.percentiles(source, keys, values, only_completed=only_completed)

    async def group_percentiles(
        self, source: RollupSource, by: Sequence[Dimension], groups: Sequence[Key], *, only_completed: bool
    ) -> dict[str, dict[Key, Percentiles]]:
        """Return percentiles by sketch and group, of these groups: there may be a hundred thousand others."""
        keys = [f"coalesce({COLUMNS[each]}, '')" for each in by]
        values = {f"group_{number}": [group[number] for group in groups] for number in range(len(by))}
        return await self.percentiles(source, keys, values, only_completed=only_completed, only_groups=True)

    async def rows(self, sql: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the rows of a query of another module."""
        return await self._rows(sql, values)

    async def rows_by_index(self, sql: str, values: Mapping[str, Any], *, of_all: bool = False) -> list[dict[str, Any]]:
        """Return the rows of a query of other tables, which finds them by indexes; with `of_all` as the service's own role."""
        async with as_service(self._connection) if of_all else nullcontext():
            await self._connection.exec_driver_sql("SET LOCAL enable_nestloop = on")
            found = await self._rows(sql, values)
            await self._connection.exec_driver_sql("SET LOCAL enable_nestloop = off")
        return found

    async def _rows(self, sql: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        found = await self._connection.execute(text(sql), dict(values))
        names = tuple(found.keys())
        return [dict(zip(names, row, strict=True)) for row in found]


@asynccontextmanager
async def read_snapshot(engine: AsyncEngine) -> AsyncIterator[RollupSnapshot]:
    """Provide one state of the rollups. Raises DatabaseUnavailable and QueryTooLong."""
    with translate_database_errors():
        try:
            async with engine.connect() as connection:
                await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
                # One process per query: requests and ingestion need the other processors. Values and rollups are joined by
                # a hash: how few values a filter leaves is always underestimated.
                await connection.exec_driver_sql(_SETTINGS)
                yield RollupSnapshot(connection)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) == _QUERY_CANCELED:
                raise QueryTooLong from None
            raise


_SETTINGS = f"""
    SET LOCAL statement_timeout = {_TIMEOUT_MS}; SET LOCAL work_mem = '64MB'; SET LOCAL jit = off;
    SET LOCAL enable_nestloop = off; SET LOCAL max_parallel_workers_per_gather = 0
"""


def _line_values(by: Dimension | None, lines: Sequence[str]) -> dict[str, Any]:
    return {} if by is None else {"lines": list(lines)}
