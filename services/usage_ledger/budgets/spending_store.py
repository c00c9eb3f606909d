"""What is spent of budgets, by window and hour: kept in the transaction that records the attempts, so that it is exact.

A projection holds `RECORDING` shared while it counts. Who adds a budget takes it exclusively for a moment: a snapshot of that
moment has what was recorded before, which is summed while everything later is counted already.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.budgets.matching import NO_BUDGETS, TenantBudgets
from keyferry.budgets.windows import WindowSpan, account_name
from keyferry.contracts.budget import Budget, BudgetScope, BudgetWindow
from keyferry.contracts.usage import LedgerRow
from services.usage_ledger.budgets.counting import ROLLING_START, CountedSpending, SpendingKey, count, table_window
from services.usage_ledger.budgets.recount_sql import (
    placing_values,
    select_corrected,
    select_counted,
    windows_since_added,
)
from services.usage_ledger.budgets.state import BlockSum

RECORDING = "counting of spending in budgets"
UNCOUNTED = datetime(9999, 1, 1, tzinfo=UTC)
"""The moment since which a budget can be computed while its past is being summed: new attempts count, and nobody else sees it."""
_MAX_COMPILED = 10_000
"""How many tenants' budgets are kept ready; beyond that all are read anew."""

_SHARE = text("SELECT pg_advisory_xact_lock_shared(hashtextextended(:name, 0))")
_EXCLUDE = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
_LOCK_TENANT = text("SELECT pg_advisory_xact_lock(hashtextextended('budgets ' || :tenant, 0))")
_VERSIONS = text("""
SELECT tenant, array_agg(budget_id || ' ' || revision ORDER BY budget_id) AS versions
FROM usage_ledger.budgets WHERE tenant = ANY(:tenants) AND removed_at IS NULL GROUP BY tenant
""")
_OF_TENANTS = text("""
SELECT * FROM usage_ledger.budgets WHERE tenant = ANY(:tenants) AND removed_at IS NULL ORDER BY tenant, created_at, budget_id
""")
_ADD = text("""
INSERT INTO usage_ledger.budget_spending (budget_id, window_start, hour, spent_micro_usd, attempts, unpriced)
SELECT * FROM unnest(CAST(:ids AS text[]), CAST(:windows AS timestamptz[]), CAST(:hours AS timestamptz[]),
    CAST(:spent AS numeric[]), CAST(:attempts AS bigint[]), CAST(:unpriced AS bigint[]))
ON CONFLICT (budget_id, window_start, hour) DO UPDATE SET
    spent_micro_usd = budget_spending.spent_micro_usd + excluded.spent_micro_usd,
    attempts = budget_spending.attempts + excluded.attempts,
    unpriced = budget_spending.unpriced + excluded.unpriced
""")
_CORRECT = """
WITH changed AS MATERIALIZED ({corrected}), locked AS MATERIALIZED (
    SELECT window_start, hour FROM usage_ledger.budget_spending JOIN changed USING (window_start, hour)
    WHERE budget_id = :id ORDER BY window_start, hour FOR NO KEY UPDATE OF budget_spending
)
UPDATE usage_ledger.budget_spending AS kept
SET spent_micro_usd = kept.spent_micro_usd + changed.spent_micro_usd, unpriced = kept.unpriced + changed.unpriced
FROM locked JOIN changed USING (window_start, hour)
WHERE kept.budget_id = :id AND (kept.window_start, kept.hour) = (locked.window_start, locked.hour)
"""
_BLOCKS = text("""
SELECT wanted.budget_id, block, sum(spent_micro_usd) AS spent,
    sum(attempts)::bigint AS attempts, sum(unpriced)::bigint AS unpriced
FROM unnest(CAST(:ids AS text[]), CAST(:windows AS timestamptz[]), CAST(:starts AS timestamptz[]),
        CAST(:since AS timestamptz[]), CAST(:seconds AS bigint[])) AS wanted (budget_id, window_start, start, since, seconds)
JOIN usage_ledger.budget_spending spending USING (budget_id, window_start)
CROSS JOIN LATERAL (SELECT floor(extract(epoch FROM spending.hour - wanted.start) / wanted.seconds)::bigint AS block) cut
WHERE spending.hour >= wanted.since
GROUP BY wanted.budget_id, block
""")
_USED = text("""
SELECT
    (SELECT coalesce(sum(credits_posted - debits_posted), 0) FROM usage_ledger.accounts
     WHERE parent = :account AND parent IS NOT NULL AND is_positive) AS held,
    (SELECT coalesce(sum(spent_micro_usd), 0) FROM usage_ledger.budget_spending
     WHERE budget_id = :id AND window_start = :window AND hour >= :since) AS spent
""")


class BudgetSpending:
    """The projection of attempts into the spending of budgets."""

    def __init__(self) -> None:
        self._compiled: dict[str, tuple[Sequence[str], TenantBudgets]] = {}
        """The budgets of tenants, with the ids and revisions that they were made of."""

    async def apply(self, connection: AsyncConnection, rows: Sequence[LedgerRow]) -> None:
        """Count new attempts in the budgets of their tenants. Guard: the rows are changed in the order of their keys."""
        await connection.execute(_SHARE, {"name": RECORDING})
        budgets = await self._budgets_of(connection, {row.record.tenant for row in rows})
        if not budgets:
            return
        added = count(rows, budgets)
        if added:
            await add_spending(connection, added)

    async def _budgets_of(self, connection: AsyncConnection, tenants: Iterable[str]) -> Mapping[str, TenantBudgets]:
        rows = (await connection.execute(_VERSIONS, {"tenants": sorted(tenants)})).all()
        if len(self._compiled) > _MAX_COMPILED:
            self._compiled.clear()
        found: dict[str, TenantBudgets] = {}
        changed: dict[str, Sequence[str]] = {}
        for row in rows:
            versions, compiled = self._compiled.get(row.tenant, ((), NO_BUDGETS))
            if versions == row.versions:
                found[row.tenant] = compiled
            else:
                changed[row.tenant] = row.versions
        if changed:
            for tenant, budgets in (await read_budgets(connection, changed, with_uncounted=True)).items():
                found[tenant] = TenantBudgets(budgets)
                self._compiled[tenant] = changed[tenant], found[tenant]
        return found


async def read_budgets(
    connection: AsyncConnection, tenants: Iterable[str], *, with_uncounted: bool = False
) -> dict[str, list[Budget]]:
    """Return the budgets of tenants, in the order in which they were added; those that are being added only on request."""
    found: dict[str, list[Budget]] = {}
    for row in (await connection.execute(_OF_TENANTS, {"tenants": sorted(tenants)})).mappings():
        if with_uncounted or row["computable_since"] != UNCOUNTED:
            found.setdefault(row["tenant"], []).append(budget_of(row))
    return found


async def exclude_recording(connection: AsyncConnection) -> None:
    """Wait until no attempts are being recorded, and let none be until the transaction ends."""
    await connection.execute(_EXCLUDE, {"name": RECORDING})


async def count_past(snapshot: AsyncConnection, budget: Budget, now: datetime) -> dict[SpendingKey, CountedSpending]:
    """Return what the attempts of a snapshot add to a budget, in the windows from the current one on."""
    values = placing_values(budget, windows_since_added(budget, now))
    found = {}
    for row in await snapshot.execute(text(select_counted(budget)), values):
        key = SpendingKey(budget.budget_id, row.window_start, row.hour)
        found[key] = CountedSpending(int(row.spent_micro_usd), row.attempts, row.unpriced)
    return found


async def add_spending(connection: AsyncConnection, added: Mapping[SpendingKey, CountedSpending]) -> None:
    """Add to rows of the table, in the order of their keys, so that two transactions do not deadlock."""
    keys = sorted(added)
    values = [added[key] for key in keys]
    columns = {
        "ids": [key.budget_id for key in keys],
        "windows": [key.window_start for key in keys],
        "hours": [key.hour for key in keys],
        "spent": [Decimal(value.spent_micro_usd) for value in values],
        "attempts": [value.attempts for value in values],
        "unpriced": [value.unpriced for value in values],
    }
    await connection.execute(_ADD, columns)


async def lock_budgets(connection: AsyncConnection, tenant: str) -> None:
    """Let nobody else change the budgets of a tenant, or correct what is spent of them, until the transaction ends."""
    await connection.execute(_LOCK_TENANT, {"tenant": tenant})


async def correct_spending(connection: AsyncConnection, rerate_id: str, tenant: str, now: datetime) -> None:
    """Add what a re-rating has corrected to the windows in which its attempts count.

    Accounts of windows that are open follow as soon as a router asks for a share of them. Guards: the caller has locked the
    tenant's budgets, and no budget is added until the transaction ends.
    """
    await connection.execute(_SHARE, {"name": RECORDING})
    for budget in sorted(
        (await read_budgets(connection, [tenant])).get(tenant, []), key=lambda budget: budget.budget_id
    ):
        values = placing_values(budget, windows_since_added(budget, now)) | {"id": budget.budget_id}
        statement = text(_CORRECT.format(corrected=select_corrected(budget)))
        await connection.execute(statement, values | {"rerate_id": rerate_id})


async def read_used(connection: AsyncConnection, budget_id: str, span: WindowSpan) -> tuple[int, int]:
    """Return what is in leases of a window's account, and what was spent in it.

    In one statement, since settlement moves an amount from one to the other.
    """
    values = {
        "account": account_name(budget_id, span),
        "id": budget_id,
        "window": table_window(span),
        "since": _first_hour(span),
    }
    row = (await connection.execute(_USED, values)).one()
    return int(row.held), int(row.spent)


async def read_blocks(
    connection: AsyncConnection, wanted: Mapping[str, tuple[WindowSpan, int]]
) -> dict[str, list[BlockSum]]:
    """Return what was spent of budgets in the given windows, in parts of so many seconds, without empty ones."""
    values = {
        "ids": list(wanted),
        "windows": [table_window(span) for span, _ in wanted.values()],
        "starts": [span.start for span, _ in wanted.values()],
        "since": [_first_hour(span) for span, _ in wanted.values()],
        "seconds": [seconds for _, seconds in wanted.values()],
    }
    found: dict[str, list[BlockSum]] = {}
    for row in await connection.execute(_BLOCKS, values):
        block = BlockSum(max(0, row.block), int(row.spent), row.attempts, row.unpriced)
        found.setdefault(row.budget_id, []).append(block)
    return found


def _first_hour(span: WindowSpan) -> datetime:
    """Return the first hour of a window's rows: all of those of a calendar's window, whenever an attempt with a hold began."""
    return span.start if span.end is None else ROLLING_START


def budget_of(row: RowMapping) -> Budget:
    """Return the budget of a row."""
    return Budget(
        tenant=row["tenant"],
        budget_id=row["budget_id"],
        name=row["name"],
        scope=BudgetScope(row["scope"]),
        value=row["value"],
        window=BudgetWindow.model_validate(row["time_window"]),
        limit_micro_usd=row["limit_micro_usd"],
        hard=row["hard"],
        thresholds=row["thresholds"],
        enabled=row["enabled"],
        revision=row["revision"],
        created_at=row["created_at"].astimezone(UTC),
    )
