"""Keeps the rollups of usage in the transaction that records attempts."""

from collections.abc import Sequence

from pydantic_core import to_json
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.usage import LedgerRow
from services.usage_ledger.alerts.causes import FROM_THE_BEGINNING, mark_usage
from services.usage_ledger.analytics.first_attempts import RecordedAttempt, weigh
from services.usage_ledger.analytics.rollup_sql import (
    ADD_ATTEMPTS,
    ADD_CORRECTIONS,
    EARLIER_ATTEMPTS,
    SELECT_CORRECTIONS,
    SEPARATOR,
)

ROLLUP_LOCK = 0x6B66726F6C6C7570
"""Held while rollups change, until the transaction ends: two processes that record attempts of one request must see each other's.

So rollups change in one transaction at a time, and their upserts cannot deadlock. Queries do not take it.
"""

_ROLLUPS_AT_ONCE = 5000


class RollupProjection:
    """The projection of attempts onto rollups."""

    async def apply(self, connection: AsyncConnection, rows: Sequence[LedgerRow]) -> None:
        """Add new attempts; a request counts where the first of its attempts began that are recorded so far."""
        await take_rollup_lock(connection)
        new = [_recorded(row) for row in rows]
        values = {
            "ids": SEPARATOR.join(each.attempt_id for each in new),
            "request_ids": SEPARATOR.join(sorted({each.request_id for each in new})),
        }
        found = (await connection.execute(text(EARLIER_ATTEMPTS), values)).mappings()
        weighed = weigh(new, [RecordedAttempt(**row) for row in found])
        ids = [each.attempt_id for each in weighed]
        await connection.execute(
            text(ADD_ATTEMPTS),
            {
                "ids": SEPARATOR.join(ids),
                "first": min(ids, default=""),
                "last": max(ids, default=""),
                "weights": SEPARATOR.join(str(each.weight) for each in weighed),
                "requests": SEPARATOR.join(str(each.requests) for each in weighed),
            },
        )


async def correct_rollups(connection: AsyncConnection, rerate_id: str, tenant: str) -> None:
    """Add what a re-rating has corrected, in its transaction; call it last, since the recording of attempts waits afterwards.

    What it adds is summed before anybody waits.
    """
    values = {"rerate_id": rerate_id, "tenant": tenant}
    changes = [dict(row) for row in (await connection.execute(text(SELECT_CORRECTIONS), values)).mappings()]
    if not changes:
        return
    await mark_usage(connection, {tenant: FROM_THE_BEGINNING})
    await take_rollup_lock(connection)
    for start in range(0, len(changes), _ROLLUPS_AT_ONCE):
        rows = to_json(changes[start : start + _ROLLUPS_AT_ONCE]).decode()
        await connection.execute(text(ADD_CORRECTIONS), {"tenant": tenant, "rows": rows})


async def take_rollup_lock(connection: AsyncConnection) -> None:
    """Wait until no other transaction changes rollups, and let none until this one ends.

    What changes them is not compiled, which PostgreSQL would do for each batch: that takes longer than the change.
    """
    statement = "SELECT pg_advisory_xact_lock(:key), set_config('jit', 'off', true)"
    await connection.execute(text(statement), {"key": ROLLUP_LOCK})


def _recorded(row: LedgerRow) -> RecordedAttempt:
    record = row.record
    return RecordedAttempt(record.tenant, record.request_id, record.attempt_number, record.attempt_id)
