"""Marks tenants whose alerts have to be looked at again, in the transaction of what changes their figures.

A mark stays until the evaluation that has seen it is committed, so that a process that is killed in between loses none. There is
one row for each tenant, whatever number of attempts and of rules.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.usage import LedgerRow
from services.usage_ledger.analytics.periods import floor_quarter

FROM_THE_BEGINNING = 0
"""As the first quarter hour: all usage has to be read again."""
_MARK = text("""
INSERT INTO usage_ledger.alert_causes AS known (tenant, first_quarter, marks)
SELECT tenant, first_quarter, 1
FROM unnest(CAST(:tenants AS text[]), CAST(:quarters AS bigint[])) AS marked (tenant, first_quarter) ORDER BY tenant
ON CONFLICT (tenant) DO UPDATE
SET marks = known.marks + 1, first_quarter = least(known.first_quarter, excluded.first_quarter)
""")
_READ = text("SELECT tenant, first_quarter, marks FROM usage_ledger.alert_causes ORDER BY since LIMIT :most")
_CLEAR = text("""
DELETE FROM usage_ledger.alert_causes AS known
USING unnest(CAST(:tenants AS text[]), CAST(:marks AS bigint[])) AS seen (tenant, marks)
WHERE known.tenant = seen.tenant AND known.marks = seen.marks
""")


@dataclass(frozen=True, slots=True)
class AlertCause:
    """That the alerts of a tenant have to be looked at again."""

    tenant: str
    marks: int
    first_quarter: int | None
    """The first quarter hour whose usage has changed; None for none."""


class AlertCauses:
    """The projection of attempts onto marks. It precedes the rollups, whose lock others wait for."""

    async def apply(self, connection: AsyncConnection, rows: Sequence[LedgerRow]) -> None:
        """Mark the tenants of new attempts."""
        first: dict[str, int] = {}
        for row in rows:
            tenant, quarter = row.record.tenant, floor_quarter(row.record.started_at)
            known = first.get(tenant)
            if known is None or quarter < known:
                first[tenant] = quarter
        await mark_usage(connection, first)


async def mark_tenants(connection: AsyncConnection, tenants: Iterable[str]) -> None:
    """Have the alerts of tenants looked at again after the commit, in the caller's transaction."""
    await mark_usage(connection, dict.fromkeys(tenants))


async def mark_usage(connection: AsyncConnection, first: Mapping[str, int | None]) -> None:
    """Mark tenants with the first quarter hour in which their usage changes. Guard: rows are locked in order of tenants."""
    if first:
        tenants = sorted(first)
        await connection.execute(_MARK, {"tenants": tenants, "quarters": [first[tenant] for tenant in tenants]})


async def read_causes(connection: AsyncConnection, most: int) -> list[AlertCause]:
    """Return marks, those of the longest ago first."""
    rows = await connection.execute(_READ, {"most": most})
    return [AlertCause(row.tenant, row.marks, row.first_quarter) for row in rows]


async def clear_causes(connection: AsyncConnection, seen: Iterable[AlertCause]) -> None:
    """Remove the marks that an evaluation has seen; those that were set since stay."""
    found = sorted((cause for cause in seen if cause.marks), key=lambda cause: cause.tenant)
    if found:
        values = {"tenants": [cause.tenant for cause in found], "marks": [cause.marks for cause in found]}
        await connection.execute(_CLEAR, values)
