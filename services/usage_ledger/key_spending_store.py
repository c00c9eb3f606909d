"""What calls with each provider key cost in each calendar month (UTC), kept in the transaction that records the calls."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from pydantic_core import to_json
from sqlalchemy import BigInteger, Column, DateTime, MetaData, Numeric, Table, Text, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.key import KeySpend
from keyferry.contracts.money import PLACES, bounded
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.usage import KeySource, LedgerRow
from services.usage_ledger.database import SCHEMA, TransactionalStore

KeyMonth = tuple[str, str]
"""Key id, and the calendar month in UTC: `2026-11`."""

key_spending = Table(
    "key_spending",
    MetaData(schema=SCHEMA),
    Column("key_id", Text, primary_key=True),
    Column("month", Text, primary_key=True),
    Column("tenant", Text),
    Column("spent_usd", Numeric(30, PLACES)),
    Column("attempts", BigInteger),
    Column("unpriced", BigInteger),
    Column("last_used_at", DateTime(timezone=True)),
)
_ADD = """
INSERT INTO usage_ledger.key_spending AS kept (key_id, month, tenant, spent_usd, attempts, unpriced, last_used_at)
SELECT key_id, month, tenant, spent_usd, attempts, unpriced, last_used_at
FROM json_to_recordset(CAST(:rows AS json)) AS added (
    key_id text, month text, tenant text, spent_usd numeric, attempts bigint, unpriced bigint, last_used_at timestamptz
)
ORDER BY key_id, month
ON CONFLICT (key_id, month) DO UPDATE SET
    spent_usd = CASE WHEN kept.spent_usd IS NULL THEN excluded.spent_usd
                     ELSE kept.spent_usd + coalesce(excluded.spent_usd, 0) END,
    attempts = kept.attempts + excluded.attempts,
    unpriced = kept.unpriced + excluded.unpriced,
    last_used_at = greatest(kept.last_used_at, excluded.last_used_at)
"""
"""In the order of the keys, so that two processes that add to the same keys do not deadlock."""
_CORRECT = """
WITH changed AS MATERIALIZED (
    SELECT attempts.key_id, to_char(attempts.started_at AT TIME ZONE 'UTC', 'YYYY-MM') AS month,
        sum(coalesce(r.cost_usd, 0) - coalesce(r.cost_usd_before, 0)) AS cost_usd,
        sum((r.pricing = 'unpriced')::integer - (r.pricing_before = 'unpriced')::integer) AS unpriced
    FROM usage_ledger.rerated_attempts AS r JOIN usage_ledger.attempts USING (attempt_id)
    WHERE r.rerate_id = :rerate_id AND r.tenant = :tenant AND attempts.key_id IS NOT NULL
    GROUP BY 1, 2
), locked AS MATERIALIZED (
    SELECT key_id, month FROM usage_ledger.key_spending JOIN changed USING (key_id, month)
    ORDER BY key_id, month FOR NO KEY UPDATE OF key_spending
)
UPDATE usage_ledger.key_spending AS kept
SET spent_usd = coalesce(kept.spent_usd, 0) + changed.cost_usd, unpriced = kept.unpriced + changed.unpriced
FROM locked JOIN changed USING (key_id, month)
WHERE (kept.key_id, kept.month) = (locked.key_id, locked.month)
RETURNING kept.key_id, kept.month
"""


@dataclass(slots=True)
class AddedSpending:
    """What a batch adds to a key's month."""

    key_id: str
    month: str
    tenant: str
    last_used_at: datetime
    spent_usd: Decimal | None = None
    """Null if no cost is known."""
    attempts: int = 0
    unpriced: int = 0

    def add(self, row: LedgerRow) -> None:
        """Count one more attempt."""
        self.attempts += 1
        self.unpriced += row.pricing == "unpriced"
        self.last_used_at = max(self.last_used_at, row.record.started_at)
        if row.cost_usd is not None:
            self.spent_usd = row.cost_usd if self.spent_usd is None else self.spent_usd + row.cost_usd


def sum_by_key(rows: Iterable[LedgerRow]) -> list[AddedSpending]:
    """Return what attempts add to the months of their keys."""
    found: dict[KeyMonth, AddedSpending] = {}
    for row in rows:
        record = row.record
        if record.key_id is None:
            continue
        month = month_of(record.started_at)
        added = found.get((record.key_id, month))
        if added is None:
            # A platform key's calls serve many tenants; the key belongs to none of them.
            tenant = PLATFORM_TENANT if record.key_source is KeySource.PLATFORM else record.tenant
            added = found[record.key_id, month] = AddedSpending(record.key_id, month, tenant, record.started_at)
        added.add(row)
    return list(found.values())


def month_of(moment: datetime) -> str:
    """Return the calendar month of a moment in UTC."""
    in_utc = moment.astimezone(UTC)
    return f"{in_utc.year:04}-{in_utc.month:02}"


async def correct_key_spending(connection: AsyncConnection, rerate_id: str, tenant: str) -> set[KeyMonth]:
    """Add what a re-rating has corrected, in its transaction; return the keys whose months have changed."""
    rows = await connection.execute(text(_CORRECT), {"rerate_id": rerate_id, "tenant": tenant})
    return {(row.key_id, row.month) for row in rows}


class KeySpendingStore(TransactionalStore):
    """The table. Every method but `apply` raises DatabaseUnavailable."""

    async def apply(self, connection: AsyncConnection, rows: Sequence[LedgerRow]) -> None:
        """Add attempts that are new to the ledger, in the transaction that records them."""
        added = sum_by_key(rows)
        if added:
            await connection.execute(text(_ADD), {"rows": to_json(added).decode()})

    async def read_key_spending(self, keys: Sequence[KeyMonth]) -> list[KeySpend]:
        """Return what each of these keys has spent in its month."""
        columns = key_spending.c
        query = select(key_spending).where(tuple_(columns.key_id, columns.month).in_(keys))
        async with self.transaction() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [
            KeySpend(
                key_id=row["key_id"],
                month=row["month"],
                tenant=row["tenant"],
                spent_usd=bounded(row["spent_usd"]),
                attempts=row["attempts"],
                unpriced=row["unpriced"],
                last_used_at=row["last_used_at"].astimezone(UTC),
            )
            for row in rows
        ]

    async def keys_used_in(self, month: str) -> set[KeyMonth]:
        """Return every key that was used in a calendar month, with the month."""
        query = select(key_spending.c.key_id).where(key_spending.c.month == month)
        async with self.transaction() as connection:
            return {(key_id, month) for key_id in await connection.scalars(query)}
