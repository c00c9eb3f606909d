"""Balances of accounts and the days of their spending, computed from the transfers again."""

from collections.abc import Sequence
from datetime import date
from typing import ClassVar

from sqlalchemy import RowMapping, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.projections import CheckedProjection, ProjectionDifference
from services.usage_ledger.accounts.verification import VerifiedBalances
from services.usage_ledger.database import TransactionalStore
from services.usage_ledger.projections.registry import report_differences

_SUMS = """
WITH effects AS (
    SELECT debit, credit, CASE WHEN phase IN ('posted', 'post') THEN amount ELSE 0 END AS counted,
           CASE WHEN phase = 'pending' AND NOT EXISTS (
               SELECT FROM usage_ledger.transfers resolution WHERE resolution.pending_id = transfers.id
           ) THEN amount ELSE 0 END AS aside
    FROM usage_ledger.transfers
), sums AS (
    SELECT name,
           COALESCE(sum(counted) FILTER (WHERE is_debit), 0)::bigint AS debits_posted,
           COALESCE(sum(counted) FILTER (WHERE NOT is_debit), 0)::bigint AS credits_posted,
           COALESCE(sum(aside) FILTER (WHERE is_debit), 0)::bigint AS debits_pending,
           COALESCE(sum(aside) FILTER (WHERE NOT is_debit), 0)::bigint AS credits_pending
    FROM effects CROSS JOIN LATERAL (VALUES (debit, true), (credit, false)) side (name, is_debit)
    GROUP BY name
), different AS (
    SELECT account.name,
           account.debits_posted AS kept_debits_posted, account.credits_posted AS kept_credits_posted,
           account.debits_pending AS kept_debits_pending, account.credits_pending AS kept_credits_pending,
           COALESCE(sums.debits_posted, 0) AS debits_posted, COALESCE(sums.credits_posted, 0) AS credits_posted,
           COALESCE(sums.debits_pending, 0) AS debits_pending, COALESCE(sums.credits_pending, 0) AS credits_pending
    FROM usage_ledger.accounts account LEFT JOIN sums USING (name)
    WHERE (account.debits_posted, account.credits_posted, account.debits_pending, account.credits_pending)
        <> (COALESCE(sums.debits_posted, 0), COALESCE(sums.credits_posted, 0),
            COALESCE(sums.debits_pending, 0), COALESCE(sums.credits_pending, 0))
)
"""
_CHECK_ACCOUNTS = text(f"{_SUMS} SELECT * FROM different ORDER BY name")  # noqa: S608 - constants of this module
_REBUILD_ACCOUNTS = text(f"""{_SUMS}
UPDATE usage_ledger.accounts
SET debits_posted = different.debits_posted, credits_posted = different.credits_posted,
    debits_pending = different.debits_pending, credits_pending = different.credits_pending
FROM different WHERE accounts.name = different.name
""")  # noqa: S608
_DAYS_SINCE = """
SELECT lease.parent AS account, (transfers.recorded_at AT TIME ZONE 'UTC')::date AS day,
       sum(transfers.amount)::bigint AS amount, count(*) AS transfers, max(transfers.recorded_at) AS last_at
FROM usage_ledger.transfers JOIN usage_ledger.accounts lease ON lease.name = transfers.debit
WHERE lease.parent IS NOT NULL AND transfers.credit LIKE 'platform/%' AND transfers.phase IN ('posted', 'post') {since}
GROUP BY lease.parent, day
"""
_DAYS = _DAYS_SINCE.format(since="")
_COMPARE_DAYS = """
WITH computed AS ({days})
SELECT account, day, kept.amount AS kept_amount, computed.amount
FROM computed FULL JOIN (SELECT * FROM usage_ledger.account_days {since}) AS kept USING (account, day)
WHERE (computed.amount, computed.transfers, computed.last_at) IS DISTINCT FROM (kept.amount, kept.transfers, kept.last_at)
ORDER BY account, day
"""
_CHECK_DAYS = text(_COMPARE_DAYS.format(days=_DAYS, since=""))
_SINCE_DAY = _DAYS_SINCE.format(since="AND transfers.recorded_at >= CAST(:first AS date) AT TIME ZONE 'UTC'")
_CHECK_RECENT_DAYS = text(_COMPARE_DAYS.format(days=_SINCE_DAY, since="WHERE day >= :first"))
_COUNT_RECENT_DAYS = text("SELECT count(*) FROM usage_ledger.account_days WHERE day >= :first")
_FIRST_RECENT_DAY = text("SELECT verified_day - 1 FROM usage_ledger.account_verification")
"""A transfer may be recorded a moment after its day has ended."""
_VERIFIED_DAY = text("UPDATE usage_ledger.account_verification SET verified_day = (now() AT TIME ZONE 'UTC')::date")
_REBUILD_DAYS = (
    text("DELETE FROM usage_ledger.account_days"),
    text(f"INSERT INTO usage_ledger.account_days (account, day, amount, transfers, last_at) {_DAYS}"),
)
_COUNT_ACCOUNTS = text("SELECT count(*) FROM usage_ledger.accounts")
_COUNT_DAYS = text("SELECT count(*) FROM usage_ledger.account_days")
_LOCK = text("LOCK TABLE usage_ledger.accounts IN EXCLUSIVE MODE")
"""A transaction that inserts a transfer locks its accounts, so none is inserted meanwhile; reading goes on."""
_PERMIT = text("SELECT set_config('keyferry.rebuilding', 'on', true)")
"""Until the transaction ends."""
_NUMBERS = ("debits_posted", "credits_posted", "debits_pending", "credits_pending")


class _TransferSums(TransactionalStore):
    """A projection of the transfers. Methods raise DatabaseUnavailable."""

    name: ClassVar[str]

    async def check(self) -> CheckedProjection:
        """Compare what is kept with the sums of the transfers."""
        async with self.transaction() as connection:
            return await self._check(connection)

    async def rebuild(self) -> CheckedProjection:
        """Replace what is kept by the sums. Transfers wait meanwhile."""
        async with self.transaction() as connection:
            await connection.execute(_LOCK)
            report = await self._check(connection)
            for statement in self._replacement:
                await connection.execute(statement)
            return report

    _comparison: ClassVar[TextClause]
    _count: ClassVar[TextClause]
    _replacement: ClassVar[Sequence[TextClause]]

    def _describe(self, row: RowMapping) -> ProjectionDifference:
        """Return what a row of the comparison says."""
        raise NotImplementedError

    async def _check(self, connection: AsyncConnection) -> CheckedProjection:
        rows = (await connection.execute(self._comparison)).mappings().all()
        compared = await connection.scalar(self._count)
        return report_differences(self.name, compared or 0, [self._describe(row) for row in rows])


class AccountBalances(_TransferSums):
    """The balances as a projection of the transfers: those that differ are replaced. Methods raise DatabaseUnavailable."""

    name = "accounts"

    async def check_recent(self) -> CheckedProjection:
        """Compare the accounts with transfers since the last time that none differed."""
        compared, different = await VerifiedBalances(self._engine).compare()
        return report_differences(self.name, compared, [self._describe(row) for row in different])

    _comparison = _CHECK_ACCOUNTS
    _count = _COUNT_ACCOUNTS
    _replacement = (_PERMIT, _REBUILD_ACCOUNTS)

    def _describe(self, row: RowMapping) -> ProjectionDifference:
        parts = (
            f"{name} is {row[f'kept_{name}']}, its transfers give {row[name]}"
            for name in _NUMBERS
            if row[f"kept_{name}"] != row[name]
        )
        return ProjectionDifference(subject=row["name"], detail="; ".join(parts))


class AccountDays(_TransferSums):
    """What was charged to accounts by day, as a projection of the transfers: all of it is replaced.

    Methods raise DatabaseUnavailable.
    """

    name = "account days"

    async def check_recent(self) -> CheckedProjection:
        """Compare the days since the one before that of the last time that none differed."""
        async with self.transaction() as connection:
            first = await connection.scalar(_FIRST_RECENT_DAY)
            values = {"first": first or date.min}
            rows = (await connection.execute(_CHECK_RECENT_DAYS, values)).mappings().all()
            compared = await connection.scalar(_COUNT_RECENT_DAYS, values)
            if not rows:
                await connection.execute(_VERIFIED_DAY)
        return report_differences(self.name, compared or 0, [self._describe(row) for row in rows])

    _comparison = _CHECK_DAYS
    _count = _COUNT_DAYS
    _replacement = _REBUILD_DAYS

    def _describe(self, row: RowMapping) -> ProjectionDifference:
        return ProjectionDifference(
            subject=f"{row['account']} on {row['day']}",
            detail=f"{row['kept_amount'] or 0} is kept, {row['amount'] or 0} was charged",
        )
