"""What an id leads to is read from an index, however many attempts a tenant has."""

import secrets
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts.usage import AttemptRecord, LedgerRow
from keyferry.runtime.tracing.context import trace_id
from services.usage_ledger.request_log.queries import select_ids
from services.usage_ledger.request_log.windows import window_of_id
from services.usage_ledger.store import LedgerStore
from tests.support.ledger.attempt_records import attempt_record

NOW = datetime.now(UTC)
ROWS = 3000


def stored(record: AttemptRecord) -> LedgerRow:
    return LedgerRow(record=record, pricing="unpriced", trace_id=trace_id(record.traceparent), recorded_at=NOW)


@pytest.mark.parametrize("form", ["packed", "whole"])
async def test_the_beginning_of_an_id_reads_few_rows(engine: AsyncEngine, form: str) -> None:
    begins = NOW if form == "packed" else NOW + timedelta(days=1)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE usage_ledger.packing SET packed_from = :begins"), {"begins": begins})
    records = [
        attempt_record(
            tenant=form,
            started_at=NOW - timedelta(days=20) + timedelta(minutes=number),
            traceparent=f"00-{secrets.token_hex(16)}-b7ad6b7169203331-01",
        )
        for number in range(ROWS)
    ]
    await LedgerStore(engine).record_attempts([stored(record) for record in records])
    wanted = records[7]
    trace = str(trace_id(wanted.traceparent))
    async with engine.connect() as connection:
        await connection.execute(text("ANALYZE usage_ledger.attempts"))
        for given in (wanted.request_id, wanted.request_id[:20], wanted.attempt_id, trace, trace[:9]):
            for statement in select_ids(form, given, window_of_id(given), 10):
                compiled = statement.compile(dialect=engine.dialect, compile_kwargs={"literal_binds": True})
                explain = f"EXPLAIN (ANALYZE, TIMING OFF, COSTS OFF, SUMMARY OFF, FORMAT JSON) {compiled}"
                (plan,) = await connection.scalars(text(explain.replace("%%", "%").replace(":", "\\:")))
                assert read_rows(plan[0]["Plan"]) < ROWS / 10, (given, plan)


def read_rows(node: dict[str, object]) -> float:
    """Return how many rows a plan reads of tables, those that a filter drops included."""
    parts = node.get("Plans", [])
    assert isinstance(parts, list)
    own = 0.0
    if "Relation Name" in node:
        names = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
        own = sum(float(str(node.get(name, 0))) for name in names) * float(str(node["Actual Loops"]))
    return own + sum(read_rows(part) for part in parts)
