"""What is spent of budgets, computed from the attempts again.

Compared are the windows in which every attempt counts that the ledger still has: from the one in which the budget was added, and
after the last month that has left. Earlier ones stay as they are.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts.budget import Budget
from keyferry.contracts.projections import CheckedProjection, ProjectionDifference
from keyferry.runtime.database.errors import translate_database_errors
from services.usage_ledger.budgets.counting import ROLLING_START
from services.usage_ledger.budgets.recount_sql import placing_values, select_counted, windows_since_added
from services.usage_ledger.budgets.spending_store import UNCOUNTED, budget_of, lock_budgets
from services.usage_ledger.database import TransactionalStore
from services.usage_ledger.partitions.store import keep_attached, kept_since
from services.usage_ledger.projections.registry import report_differences

_CLOCK = partial(datetime.now, UTC)
_DAY = timedelta(days=1)
_BUDGETS = text("SELECT * FROM usage_ledger.budgets WHERE removed_at IS NULL ORDER BY tenant, budget_id")
_COMPARE = """
WITH computed AS ({counted}), kept AS (
    SELECT window_start, hour, spent_micro_usd, attempts, unpriced FROM usage_ledger.budget_spending WHERE budget_id = :id
)
SELECT window_start, hour, coalesce(kept.spent_micro_usd, 0) AS kept_micro_usd, coalesce(kept.attempts, 0) AS kept_attempts,
    coalesce(kept.unpriced, 0) AS kept_unpriced, coalesce(computed.spent_micro_usd, 0) AS spent_micro_usd,
    coalesce(computed.attempts, 0) AS attempts, coalesce(computed.unpriced, 0) AS unpriced
FROM kept FULL JOIN computed USING (window_start, hour)
WHERE EXISTS (SELECT FROM usage_ledger.budgets WHERE budget_id = :id AND removed_at IS NULL)
    AND window_start >= :first_window AND hour >= :first_hour
    AND (kept.spent_micro_usd, kept.attempts, kept.unpriced)
        IS DISTINCT FROM (computed.spent_micro_usd, computed.attempts, computed.unpriced)
ORDER BY window_start, hour
"""
_ADDED = """unnest(CAST(:windows AS timestamptz[]), CAST(:hours AS timestamptz[]), CAST(:spent AS numeric[]),
    CAST(:attempts AS bigint[]), CAST(:unpriced AS bigint[])) AS added (window_start, hour, spent, attempts, unpriced)"""
_OF_ADDED = "budget_id = :id AND (kept.window_start, kept.hour) = (added.window_start, added.hour)"
# In the order in which the recording of attempts locks the rows.
_LOCK = text(f"""
SELECT FROM usage_ledger.budget_spending AS kept JOIN {_ADDED} ON {_OF_ADDED}
ORDER BY kept.window_start, kept.hour FOR UPDATE OF kept
""")
_REMOVE = text(f"""
DELETE FROM usage_ledger.budget_spending AS kept USING {_ADDED}
WHERE {_OF_ADDED} AND kept.attempts + added.attempts <= 0
""")  # noqa: S608
_CHANGE = text(f"""
UPDATE usage_ledger.budget_spending AS kept
SET spent_micro_usd = kept.spent_micro_usd + added.spent, attempts = kept.attempts + added.attempts,
    unpriced = kept.unpriced + added.unpriced
FROM {_ADDED} WHERE {_OF_ADDED}
""")  # noqa: S608
_INSERT = text(f"""
INSERT INTO usage_ledger.budget_spending AS kept (budget_id, window_start, hour, spent_micro_usd, attempts, unpriced)
SELECT :id, window_start, hour, spent, attempts, unpriced FROM {_ADDED}
WHERE attempts > 0 AND NOT EXISTS (SELECT FROM usage_ledger.budget_spending AS kept WHERE {_OF_ADDED})
ON CONFLICT (budget_id, window_start, hour) DO UPDATE
SET spent_micro_usd = kept.spent_micro_usd + excluded.spent_micro_usd,
    attempts = kept.attempts + excluded.attempts, unpriced = kept.unpriced + excluded.unpriced
""")  # noqa: S608
_ADD = (_LOCK, _REMOVE, _CHANGE, _INSERT)
"""Add differences, also to what is counted meanwhile; nothing counts as no row."""


class BudgetSpendingRebuild(TransactionalStore):
    """The spending of budgets as a projection of the attempts. Methods raise DatabaseUnavailable."""

    name = "budget spending"

    def __init__(self, engine: AsyncEngine, clock: Callable[[], datetime] = _CLOCK) -> None:
        super().__init__(engine)
        self._clock = clock

    async def check(self) -> CheckedProjection:
        """Compare each budget's hours with the sums of its attempts."""
        budgets = await self._list_budgets()
        found = [(budget, each) for budget, since in budgets for each in await self._differences(budget, since)]
        return report_differences(self.name, len(budgets), [_describe(*each) for each in found])

    async def rebuild(self) -> CheckedProjection:
        """Add what is missing, and take away what is too much. Nothing waits, since that holds for what is counted meanwhile."""
        budgets = await self._list_budgets()
        found = []
        for budget, since in budgets:
            async with self.transaction() as connection:
                await lock_budgets(connection, budget.tenant)
                differences = await self._differences(budget, since)
                values = _added(budget, differences)
                for statement in _ADD if differences else ():
                    await connection.execute(statement, values)
            found += [_describe(budget, each) for each in differences]
        return report_differences(self.name, len(budgets), found)

    async def _list_budgets(self) -> list[tuple[Budget, datetime | None]]:
        """Return the budgets, with the moment since when they can be computed if that is not always so."""
        async with self.transaction() as connection:
            rows = (await connection.execute(_BUDGETS)).mappings()
            return [(budget_of(row), row["computable_since"]) for row in rows if row["computable_since"] != UNCOUNTED]

    async def _differences(self, budget: Budget, computable_since: datetime | None) -> Sequence[Row[Any]]:
        """Compare attempts and sums of one snapshot."""
        spans = windows_since_added(budget, self._clock())
        with translate_database_errors():
            async with self._engine.connect() as connection:
                await connection.execution_options(isolation_level="REPEATABLE READ")
                await keep_attached(connection)
                kept = await kept_since(connection, "attempts")
                # An attempt of the first day may have an id of the day before.
                first = max(spans[0].start, computable_since or ROLLING_START, kept + _DAY if kept else ROLLING_START)
                is_rolling = spans[0].end is None
                values = placing_values(budget, spans) | {
                    "id": budget.budget_id,
                    "first_window": ROLLING_START if is_rolling else first,
                    "first_hour": first if is_rolling else ROLLING_START,
                }
                statement = text(_COMPARE.format(counted=select_counted(budget)))
                return (await connection.execute(statement, values)).all()


def _describe(budget: Budget, row: Row[Any]) -> ProjectionDifference:
    return ProjectionDifference(
        subject=f"{budget.budget_id} of {budget.tenant}, {row.hour.astimezone(UTC):%Y-%m-%d %H:00}",
        detail=f"{row.kept_micro_usd} of {row.kept_attempts} attempts is kept,"
        f" {row.attempts} attempts give {row.spent_micro_usd}",
    )


def _added(budget: Budget, rows: Sequence[Row[Any]]) -> dict[str, object]:
    return {
        "id": budget.budget_id,
        "windows": [row.window_start for row in rows],
        "hours": [row.hour for row in rows],
        "spent": [row.spent_micro_usd - row.kept_micro_usd for row in rows],
        "attempts": [row.attempts - row.kept_attempts for row in rows],
        "unpriced": [row.unpriced - row.kept_unpriced for row in rows],
    }
