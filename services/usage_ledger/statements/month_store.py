"""The months of tenants in PostgreSQL: each that has ended is stored with its zone and bounds, before anybody reads it."""

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from pydantic_core import to_json
from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.credit import credits_account
from services.usage_ledger.analytics.periods import QuarterSpan, floor_quarter
from services.usage_ledger.analytics.snapshot import RollupSnapshot
from services.usage_ledger.database import TransactionalStore
from services.usage_ledger.statements import sql
from services.usage_ledger.statements.months import (
    BilledMonth,
    ended_months,
    following_month,
    months_before,
    months_since,
)


class StatementMonthStore(TransactionalStore):
    """Months that have ended. Every method raises DatabaseUnavailable."""

    async def list_months(self, tenant: str, tz: str, now: datetime) -> list[BilledMonth]:
        """Return the months of a tenant in order, that which lasts included; store those that have ended meanwhile.

        `tz` is the zone that the tenant has now. A tenant without any transfer or attempt has no months.
        """
        quarter = floor_quarter(now)
        async with self.transaction() as connection:
            stored = await _read(connection, tenant)
            activity = await _first_activity(connection, tenant)
            if not stored or following_month(stored[-1], tz).span.until <= quarter:
                await connection.execute(text(sql.LOCK), {"tenant": tenant})
                stored = await _read(connection, tenant)
                await _add(connection, tenant, _ended(stored, activity, tz, quarter), now)
                stored = await _read(connection, tenant)
        last = stored[-1] if stored else None
        before = months_before(stored[0], activity) if stored else []
        return [*before, *stored, *months_since(last, activity, tz, quarter)]

    async def read_last_ends(self) -> dict[str, datetime]:
        """Return when the last stored month of each tenant ended, of those that have one."""
        async with self.transaction() as connection:
            return {row.tenant: row.until for row in await connection.execute(text(sql.LAST_MONTHS))}


def may_have_ended(last_end: datetime | None, tz: str, now: datetime) -> bool:
    """Return whether a month after one that ended then may have ended by now, in the zone `tz`."""
    if last_end is None:
        return True
    zone = ZoneInfo(tz)
    then, local = (at.astimezone(zone) for at in (last_end, now))
    return (then.year, then.month) != (local.year, local.month)


def _ended(stored: Sequence[BilledMonth], activity: int | None, tz: str, now: int) -> list[BilledMonth]:
    return ended_months(months_since(stored[-1] if stored else None, activity, tz, now), now)


async def _read(connection: AsyncConnection, tenant: str) -> list[BilledMonth]:
    rows = (await connection.execute(text(sql.MONTHS), {"tenant": tenant})).mappings()
    return [_month(row) for row in rows]


def _month(row: RowMapping) -> BilledMonth:
    return BilledMonth(row["month"], row["tz"], QuarterSpan(floor_quarter(row["since"]), floor_quarter(row["until"])))


async def _add(connection: AsyncConnection, tenant: str, months: Sequence[BilledMonth], now: datetime) -> None:
    if not months:
        return
    rows = [
        {"month": each.first_day, "tz": each.tz, **dict(zip(("since", "until"), each.span.bounds, strict=True))}
        for each in months
    ]
    values = {"tenant": tenant, "rows": to_json(rows).decode(), "now": now}
    await connection.execute(text(sql.ADD_MONTHS), values)


async def _first_activity(connection: AsyncConnection, tenant: str) -> int | None:
    """Return the quarter hour of the tenant's first attempt or transfer; None if there is none."""
    attempts = await RollupSnapshot(connection).recorded(tenant)
    transfer = await connection.scalar(text(sql.FIRST_TRANSFER), {"account": credits_account(tenant)})
    found = [attempts.since] if attempts is not None else []
    if transfer is not None:
        found.append(floor_quarter(transfer))
    return min(found, default=None)
