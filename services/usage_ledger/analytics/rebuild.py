"""Comparing rollups with the attempts that they are of, and computing them again, one UTC day at a time."""

import logging
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts.projections import CheckedProjection, ProjectionDifference
from keyferry.runtime.database.errors import translate_database_errors
from services.usage_ledger.analytics.projection import take_rollup_lock
from services.usage_ledger.analytics.rollup_sql import COMPARE_DAY, DELETE_DAY, INSERT_DAY
from services.usage_ledger.database import TransactionalStore
from services.usage_ledger.partitions.store import keep_attached, kept_since
from services.usage_ledger.projections.registry import report_differences

_log = logging.getLogger(__name__)

_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class DifferentDay:
    """A day whose rollups are not those of its attempts."""

    day: int
    """Since 1970, in UTC."""
    rows: int
    """How many rollups are different, missing or too many."""
    tenants: tuple[str, ...]
    """Some of the tenants."""


class RollupRebuild(TransactionalStore):
    """Checks and rebuilds rollups. Methods raise DatabaseUnavailable."""

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine)
        self.pending = False
        """Whether attempts of an earlier build are not in the rollups yet."""

    async def check(self, on_day: Callable[[int], None] = lambda day: None) -> list[DifferentDay]:
        """Return the days whose rollups differ from their attempts, which are none unless something is wrong."""
        found = []
        async for day in self._days():
            if (different := await self._check_day(day)) is not None:
                found.append(different)
            on_day(day)
        return found

    async def rebuild(self, on_day: Callable[[int], None] = lambda day: None) -> int:
        """Compute all rollups again, while attempts are recorded, and return of how many days. Days without attempts stay.

        Attempts are recorded meanwhile, and wait for at most one day's computation. Each day is replaced at once for queries.
        """
        number = 0
        async for day in self._days():
            await self._rebuild_day(day)
            on_day(day)
            number += 1
        return number

    async def rebuild_days(self, days: Iterable[int]) -> None:
        """Compute the rollups of some days again."""
        for day in days:
            await self._rebuild_day(day)

    async def rebuild_pending(self) -> None:
        """Compute the rollups of the attempts that an earlier build recorded, unless that is done; resume where it ended."""
        async with self.transaction() as connection:
            start = await connection.scalar(text("SELECT rebuild_from FROM usage_rollup_state"))
        self.pending = start is not None
        if start is None:
            return
        async for day in self._days():
            if day >= start:
                await self._rebuild_day(day, resume=True)
        async with self.transaction() as connection:
            await connection.execute(text("UPDATE usage_rollup_state SET rebuild_from = NULL"))
        self.pending = False
        _log.info("the usage of attempts that were recorded earlier is added up")

    async def _check_day(self, day: int) -> DifferentDay | None:
        with translate_database_errors():
            async with self._engine.connect() as connection:
                # Attempts and rollups of one snapshot; nothing is kept of what the comparison computes.
                await connection.execution_options(isolation_level="REPEATABLE READ")
                await keep_attached(connection)
                if day < await _first_complete_day(connection) or await connection.scalar(
                    text(_IS_PENDING), {"day": day}
                ):
                    return None
                rows = (await connection.execute(text(COMPARE_DAY), _bounds(day))).all()
                await connection.rollback()
        return DifferentDay(day, len(rows), tuple(sorted({row[0] for row in rows})[:5])) if rows else None

    async def _rebuild_day(self, day: int, *, resume: bool = False) -> None:
        async with self.transaction() as connection:
            await keep_attached(connection)
            await take_rollup_lock(connection)
            # Its attempts may have been detached since the days were listed: then nothing can replace its rollups.
            if day >= await _first_complete_day(connection):
                await connection.execute(text(DELETE_DAY), _bounds(day))
                await connection.execute(text(INSERT_DAY), _bounds(day))
            if resume:
                statement = "UPDATE usage_rollup_state SET rebuild_from = :next WHERE rebuild_from <= :next"
                await connection.execute(text(statement), {"next": day + 1})

    async def _days(self) -> AsyncIterator[int]:
        """Yield the days that have attempts or rollups, without those whose attempts may have been removed by now."""
        async with self.transaction() as connection:
            first = await _first_complete_day(connection)
            days = (await connection.scalars(text(_DAYS), {"first": first})).all()
        for day in days:
            yield day


class UsageRollups:
    """The rollups as a projection of the attempts, by day of UTC. Methods raise DatabaseUnavailable."""

    name = "days of usage"

    def __init__(self, rollups: RollupRebuild) -> None:
        self._rollups = rollups

    async def check(self) -> CheckedProjection:
        """Compare the rollups of each day with those of its attempts; days that leave meanwhile are not compared."""
        return (await self._compare())[0]

    async def rebuild(self) -> CheckedProjection:
        """Compute the days again that differ. The recording of attempts waits for one day at a time."""
        report, days = await self._compare()
        await self._rollups.rebuild_days(days)
        return report

    async def _compare(self) -> tuple[CheckedProjection, list[int]]:
        compared: list[int] = []
        found = await self._rollups.check(compared.append)
        differences = [
            ProjectionDifference(
                subject=f"{datetime.fromtimestamp(each.day * _DAY_SECONDS, UTC):%Y-%m-%d}",
                detail=f"{each.rows} sums are not those of its attempts, of tenants such as {', '.join(each.tenants)}",
            )
            for each in found
        ]
        return report_differences(self.name, len(compared), differences), [each.day for each in found]


_IS_PENDING = "SELECT rebuild_from <= :day FROM usage_rollup_state"
"""Whether the attempts of a day that an earlier build recorded are not in the rollups yet."""
_DAYS = """
    SELECT floor(extract(epoch FROM started_at) / 86400)::integer AS day FROM attempts
    WHERE started_at >= to_timestamp(CAST(:first AS bigint) * 86400)
    UNION
    SELECT bucket / 96 FROM usage_rollups WHERE grain IN (4, 5) AND bucket / 96 >= CAST(:first AS bigint)
    ORDER BY day
"""


async def _first_complete_day(connection: AsyncConnection) -> int:
    """Return the first day after the last month whose attempts are detached or removed: their rollups stay as they are."""
    since = await kept_since(connection, "attempts")
    # An attempt of the first day may have an id of the day before.
    return 0 if since is None else int(since.timestamp()) // _DAY_SECONDS + 1


def _bounds(day: int) -> dict[str, int]:
    return {"since": day * _DAY_SECONDS, "until": (day + 1) * _DAY_SECONDS}
