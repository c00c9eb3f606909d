"""The watermarks of workers, by the position of the message that reported each."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.credit import RETIRED_UNIX_MS
from services.usage_ledger.credit import sql
from services.usage_ledger.credit.reports import STILL_REPORTS, ReportedWatermark, SpoolReport
from services.usage_ledger.credit.rules import Watermark
from services.usage_ledger.database import TransactionalStore

_MOST_WAITING = 50
_RETIRED_KEPT = timedelta(hours=1)

Spool = tuple[str, str]
"""A worker and the id of its spool."""


class UnknownWorker(Exception):
    """No such worker, or spool of it, has reported."""


class WorkerReports(Exception):
    """The worker still reports, so it is not lost."""


class CreditWorkerStore(TransactionalStore):
    """What is known of workers that make attempts. Every method raises DatabaseUnavailable."""

    async def record(self, reported: Sequence[ReportedWatermark], now: datetime) -> None:
        """Insert watermarks. Guard: the primary key; a repeated message changes nothing."""
        if not reported:
            return
        values = {
            "workers": [one.worker for one in reported],
            "spools": [one.spool_id for one in reported],
            "positions": [one.position for one in reported],
            "settled": [one.settled_until_ms for one in reported],
            "now": now,
        }
        async with self.transaction() as connection:
            await connection.execute(sql.ADD_WATERMARKS, values)

    async def list_watermarks(self) -> dict[Spool, list[Watermark]]:
        """Return all watermarks that may still count."""
        found: defaultdict[Spool, list[Watermark]] = defaultdict(list)
        async with self.transaction() as connection:
            for row in await connection.execute(sql.WATERMARKS):
                found[row.worker, row.spool_id].append(Watermark(row.position, row.settled_until_ms))
        return dict(found)

    async def list_reports(self) -> list[SpoolReport]:
        """Return the newest report of each spool, by worker."""
        async with self.transaction() as connection:
            return await _reports(connection)

    async def list_waiting(self, ended_before_ms: int) -> list[tuple[str, int, int]]:
        """Return account, leases and amount of leases that ended and are still open, most first."""
        async with self.transaction() as connection:
            values = {"ended_before_ms": ended_before_ms, "most": _MOST_WAITING}
            rows = await connection.execute(sql.STRANDED, values)
            return [(row.account, int(row.leases), int(row.amount)) for row in rows]

    async def find_silent(self, worker: str, spool_id: str | None, now: datetime) -> list[str]:
        """Return the spools of a worker that report nothing any more.

        Raises UnknownWorker if there is no such spool, and WorkerReports if all that there are report.
        """
        named = [one for one in await self.list_reports() if one.worker == worker and spool_id in (None, one.spool_id)]
        if not named:
            raise UnknownWorker
        silent = [one.spool_id for one in named if now - one.seen_at > STILL_REPORTS]
        if not silent:
            raise WorkerReports
        return silent

    async def forget(self, worker: str, spools: Sequence[str]) -> None:
        """Wait no longer for the records of these spools. One that reports again is known again."""
        async with self.transaction() as connection:
            await connection.execute(sql.REMOVE_WORKER, {"worker": worker, "spools": list(spools)})

    async def remove_passed(self, processed: int, now: datetime) -> None:
        """Remove watermarks that a newer one replaces, and workers that retired a while ago."""
        async with self.transaction() as connection:
            await connection.execute(sql.REMOVE_PASSED, {"processed": processed})
            retired = {"retired_ms": RETIRED_UNIX_MS, "before": now - _RETIRED_KEPT, "processed": processed}
            await connection.execute(sql.REMOVE_RETIRED, retired)


async def _reports(connection: AsyncConnection) -> list[SpoolReport]:
    newest: dict[Spool, tuple[int, SpoolReport]] = {}
    for row in await connection.execute(sql.WATERMARKS):
        report = SpoolReport(row.worker, row.spool_id, row.settled_until_ms, row.seen_at)
        spool = (row.worker, row.spool_id)
        if spool not in newest or newest[spool][0] < row.position:
            newest[spool] = row.position, report
    return [report for _, (_, report) in sorted(newest.items())]
