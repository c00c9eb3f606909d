"""Comparing balances and days with the transfers since the last time, which the hourly check does.

Transfers never change, so what they came to up to a position is kept, and only accounts with later ones are compared. The
position moves on when nothing differs, up to one before which every transfer is known: it was read before a transaction got
its id, and all with smaller ids have ended since. What nobody has moved in the meantime is compared by a whole check, on request.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.usage_ledger.database import TransactionalStore

_LAST_POSITION = text(
    "SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('usage_ledger.transfers', 'sequence')::regclass), 0)"
)
_ONE_MOMENT = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
_PROGRESS = text("""
SELECT verified_end, verified_day,
    CASE WHEN pg_snapshot_xmin(pg_current_snapshot()) >= next_xid THEN greatest(verified_end, next_end) ELSE verified_end END
        AS safe_end
FROM usage_ledger.account_verification
""")
_SUMS_SINCE = """
sums AS (
    SELECT name,
           COALESCE(sum(counted) FILTER (WHERE is_debit), 0)::bigint AS debits_posted,
           COALESCE(sum(counted) FILTER (WHERE NOT is_debit), 0)::bigint AS credits_posted,
           COALESCE(sum(aside) FILTER (WHERE is_debit), 0)::bigint AS debits_pending,
           COALESCE(sum(aside) FILTER (WHERE NOT is_debit), 0)::bigint AS credits_pending
    FROM (
        SELECT later.debit, later.credit, CASE WHEN later.phase IN ('posted', 'post') THEN later.amount ELSE 0 END AS counted,
               CASE WHEN later.phase = 'pending' THEN later.amount ELSE 0 END - COALESCE(pending.amount, 0) AS aside
        FROM usage_ledger.transfers AS later LEFT JOIN usage_ledger.transfers AS pending ON pending.id = later.pending_id
        WHERE later.sequence > :start {until}
    ) AS effect
    CROSS JOIN LATERAL (VALUES (debit, true), (credit, false)) AS side (name, is_debit)
    GROUP BY name
)"""
_NUMBERS = ("debits_posted", "credits_posted", "debits_pending", "credits_pending")
_COMPARE = text(f"""
WITH {_SUMS_SINCE.format(until="")}, computed AS (
    SELECT name, {", ".join(f"sums.{name} + COALESCE(verified.{name}, 0) AS {name}" for name in _NUMBERS)}
    FROM sums LEFT JOIN usage_ledger.verified_accounts AS verified USING (name)
)
SELECT name, {", ".join(f"account.{name} AS kept_{name}, computed.{name}" for name in _NUMBERS)},
    count(*) OVER () AS compared,
    ({", ".join(f"account.{name}" for name in _NUMBERS)}) <> ({", ".join(f"computed.{name}" for name in _NUMBERS)}) AS differs
FROM computed JOIN usage_ledger.accounts AS account USING (name)
ORDER BY differs DESC, name LIMIT :most
""")  # noqa: S608 - constants of this module
_COUNT_DIFFERENT = 1000
_KEEP = text(f"""
WITH {_SUMS_SINCE.format(until="AND later.sequence <= :end")}
INSERT INTO usage_ledger.verified_accounts AS kept (name, {", ".join(_NUMBERS)})
SELECT name, {", ".join(_NUMBERS)} FROM sums ORDER BY name
ON CONFLICT (name) DO UPDATE SET {", ".join(f"{name} = kept.{name} + excluded.{name}" for name in _NUMBERS)}
""")  # noqa: S608 - constants of this module
_ADVANCE = text("""
UPDATE usage_ledger.account_verification
SET verified_end = :end, next_end = :next_end, next_xid = pg_current_xact_id()
WHERE verified_end = :start
""")
"""A transaction that took a number up to `next_end` has a smaller id than this one. A snapshot may end before that id: after the
last one that has ended."""


class VerifiedBalances(TransactionalStore):
    """The balances of accounts with new transfers, and how far they were verified. Methods raise DatabaseUnavailable."""

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine)

    async def compare(self) -> tuple[int, Sequence[RowMapping]]:
        """Return how many accounts were compared, and some of those that differ; if none does, move on.

        Guard: the position, so that of two processes that do this at once one keeps its sums.
        """
        async with self.transaction() as connection:
            next_end = await connection.scalar(_LAST_POSITION)
        async with self.transaction() as connection:
            await connection.execute(_ONE_MOMENT)
            progress = (await connection.execute(_PROGRESS)).one()
            values = {"start": progress.verified_end, "most": _COUNT_DIFFERENT}
            rows = (await connection.execute(_COMPARE, values)).mappings().all()
            different = [row for row in rows if row["differs"]]
            if not different:
                await self._advance(connection, progress.verified_end, progress.safe_end, next_end)
        return (rows[0]["compared"] if rows else 0), different

    async def _advance(self, connection: AsyncConnection, start: int, end: int, next_end: Any) -> None:
        values = {"start": start, "end": end, "next_end": next_end}
        if (await connection.execute(_ADVANCE, values)).rowcount and end > start:
            await connection.execute(_KEEP, values)
