"""What calls with each provider key cost in each month, computed from the attempts again.

Only months whose attempts are all attached are compared: an attempt of the first days after a detached month may have left with
it, so the month that begins there stays as it is, too.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.projections import CheckedProjection, ProjectionDifference
from services.usage_ledger.corrections import JOIN_CORRECTED, current
from services.usage_ledger.database import TransactionalStore
from services.usage_ledger.partitions.store import keep_attached, kept_since
from services.usage_ledger.projections.registry import report_differences

_MONTH = "to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM')"
_COMPUTED = f"""
SELECT key_id, {_MONTH} AS month,
    (array_agg(CASE WHEN key_source = 'platform' THEN 'platform' ELSE attempts.tenant END))[1] AS tenant,
    sum({current("cost_usd")}) AS spent_usd, count(*) AS attempts,
    count(*) FILTER (WHERE {current("pricing")} = 'unpriced') AS unpriced, max(started_at) AS last_used_at
FROM usage_ledger.attempts {JOIN_CORRECTED}
WHERE key_id IS NOT NULL AND (CAST(:after AS text) IS NULL OR {_MONTH} > :after)
GROUP BY key_id, month
"""  # noqa: S608 - constants of this module
_CHECK = text(f"""
SELECT key_id, month, kept.spent_usd AS kept_usd, kept.attempts AS kept_attempts, computed.spent_usd, computed.attempts
FROM (SELECT * FROM usage_ledger.key_spending WHERE CAST(:after AS text) IS NULL OR month > :after) AS kept
FULL JOIN ({_COMPUTED}) AS computed USING (key_id, month)
WHERE (kept.spent_usd, kept.attempts, kept.unpriced, kept.last_used_at)
    IS DISTINCT FROM (computed.spent_usd, computed.attempts, computed.unpriced, computed.last_used_at)
ORDER BY month, key_id
""")  # noqa: S608
_REMOVE = text("DELETE FROM usage_ledger.key_spending WHERE CAST(:after AS text) IS NULL OR month > :after")
_INSERT = text(f"""
INSERT INTO usage_ledger.key_spending (key_id, month, tenant, spent_usd, attempts, unpriced, last_used_at)
SELECT key_id, month, tenant, spent_usd, attempts, unpriced, last_used_at FROM ({_COMPUTED}) AS computed
""")  # noqa: S608
_COUNT = text("SELECT count(*) FROM usage_ledger.key_spending WHERE CAST(:after AS text) IS NULL OR month > :after")
_LOCK = text("LOCK TABLE usage_ledger.key_spending IN EXCLUSIVE MODE")
"""The recording of attempts waits before they are counted here; reading goes on."""


class KeySpendingRebuild(TransactionalStore):
    """The spending of keys as a projection of the attempts. Methods raise DatabaseUnavailable."""

    name = "key spending"

    async def check(self) -> CheckedProjection:
        """Compare each key's month with the sums of its attempts."""
        async with self.transaction() as connection:
            await keep_attached(connection)
            return await self._check(connection)

    async def rebuild(self) -> CheckedProjection:
        """Compute all months again if any differs. The recording of attempts waits only then."""
        report = await self.check()
        if not report.different:
            return report
        async with self.transaction() as connection:
            await keep_attached(connection)
            await connection.execute(_LOCK)
            report = await self._check(connection)
            values = {"after": await _last_incomplete_month(connection)}
            await connection.execute(_REMOVE, values)
            await connection.execute(_INSERT, values)
            return report

    async def _check(self, connection: AsyncConnection) -> CheckedProjection:
        values = {"after": await _last_incomplete_month(connection)}
        rows = (await connection.execute(_CHECK, values)).all()
        differences = [
            ProjectionDifference(
                subject=f"{row.key_id} in {row.month}",
                detail=f"{row.kept_usd} USD of {row.kept_attempts or 0} attempts is kept,"
                f" {row.attempts or 0} attempts give {row.spent_usd} USD",
            )
            for row in rows
        ]
        compared = await connection.scalar(_COUNT, values)
        return report_differences(self.name, compared or 0, differences)


async def _last_incomplete_month(connection: AsyncConnection) -> str | None:
    """Return the last month of which attempts may be detached; None if none is."""
    since = await kept_since(connection, "attempts")
    return None if since is None else f"{since:%Y-%m}"
