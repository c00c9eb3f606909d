"""What all tenants' attempts of a span are read for does not read the other attempts of the month."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from keyferry.contracts import ids
from keyferry.contracts.usage import LedgerRow
from services.usage_ledger.charges import sql
from services.usage_ledger.store import LedgerStore
from tests.support.ledger.attempt_records import attempt_record
from tests.support.servers.migrated_database import migrated_database

ATTEMPTS = 20_000
END = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
"""All of them are of the month before, which has a partition."""


def row_at(number: int) -> LedgerRow:
    at = END - timedelta(days=20) * (1 - number / ATTEMPTS)
    record = attempt_record(
        attempt_id=f"{ids.first_at(ids.ATTEMPT, int(at.timestamp() * 1000))}{number:06}",
        request_id=f"req_{number}",
        tenant=f"t{number * 7919 % 5000}",
        provider="openai",
        model="m",
        started_at=at,
    )
    return LedgerRow(record=record, cost_usd=0, price_version="1", pricing="priced", recorded_at=at)


@pytest.mark.parametrize(("name", "statement"), [("margin", sql.MARGIN), ("re-rating", sql.TENANTS)])
async def test_a_span_of_all_tenants_reads_its_own_pages(tmp_path: Path, name: str, statement: str) -> None:
    engine = create_async_engine(migrated_database(tmp_path, "usage_ledger").url_files["usage_ledger"].read_text())
    store = LedgerStore(engine)
    for first in range(0, ATTEMPTS, 5000):
        await store.record_attempts([row_at(number) for number in range(first, first + 5000)])
    since = END - timedelta(days=1)
    partition = f"attempts_{since:%Y_%m}"
    values = {"since": since, "until": END, "provider": "openai", "model": "m", "rerate_id": "none"}
    async with engine.begin() as connection:
        await connection.execute(text("ANALYZE usage_ledger.attempts"))
        # PostgreSQL does so as rows come.
        summarize = text("SELECT brin_summarize_new_values(CAST(:name AS regclass))")
        await connection.execute(summarize, {"name": f"usage_ledger.{partition}_started_at_idx"})
        explained = text(f"EXPLAIN (ANALYZE, TIMING OFF, COSTS OFF, SUMMARY OFF) {statement}")
        plan = "\n".join((await connection.execute(explained, values)).scalars())
    await engine.dispose()
    assert f"Bitmap Index Scan on {partition}_started_at_idx" in plan, plan
    assert f"Seq Scan on {partition}" not in plan, plan
    passed_over = sum(int(count) for count in re.findall(r"Rows Removed by Index Recheck: (\d+)", plan))
    assert passed_over < ATTEMPTS / 10, plan
