"""COPY and the statement that takes its place store the same rows, whatever is in them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts.credit import Hold, Reservation
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.tenancy import Tier
from keyferry.contracts.usage import AttemptRecord, KeySource, LedgerRow, Outcome, TokenUsage, UsageSource
from services.usage_ledger.store import LedgerStore
from tests.support.ledger.attempt_records import attempt_record

NOW = datetime(2026, 11, 29, 12, 0, 0, 123456, tzinfo=UTC)
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPECIAL = 'a\\b \\N \\. "quoted" {curly} \u20ac \U0001f600 \x01\t'
"""What COPY, JSON and texts in arrays treat specially; contracts let only some of it pass."""


def rows() -> list[LedgerRow]:
    failure = Failure(failure_class=FailureClass.TIMEOUT, message=SPECIAL, where=Where.NO_ANSWER)
    hold = Hold(lease_id="lea_1", account="credits/acme", amount=7)
    full = attempt_record(
        endpoint="own",
        origin="https://a.example",
        model_served=SPECIAL,
        operation="summary",
        power_level=PowerLevel.ECO,
        team="a.b",
        member="c",
        key_source=KeySource.BYOK,
        key_id="key_1",
        tier=Tier.FREE,
        charged_level=PowerLevel.BALANCED,
        reservation=Reservation(holds=[hold], not_after_unix_ms=1),
        outcome=Outcome.FAILED,
        failure=failure,
        finish_reason="",
        service_tier="batch",
        usage_source=UsageSource.ESTIMATED,
        usage_note="estimated: \\",
        token_usage=TokenUsage(**{kind: place + 1 for place, kind in enumerate(TokenUsage.model_fields)}),
        reported_cost_usd=Decimal("0.000000000001"),
        traceparent=f"00-{TRACE_ID}-b7ad6b7169203331-01",
        tags={"a": "", "b": 'x\\"y'},
        unkept=["model"],
    )
    odd = attempt_record(traceparent="odd", tags={}, client_token_id=None, decision_id="decision-1")
    records = [full, attempt_record(), odd]
    return [stored(record, place) for place, record in enumerate(records)]


def stored(record: AttemptRecord, place: int) -> LedgerRow:
    priced = place != 1
    return LedgerRow(
        record=record,
        cost_usd=Decimal("999999999999.999999999999") if priced else None,
        price_version="v\\1" if priced else None,
        pricing="priced" if priced else "unpriced",
        charge_micro_usd=3 if priced else None,
        absorbed_micro_usd=place,
        spend_micro_usd=9 if priced else None,
        plan_version="plan" if priced else None,
        trace_id=TRACE_ID if record.traceparent and TRACE_ID in record.traceparent else None,
        recorded_at=NOW,
    )


@pytest.mark.parametrize("packed", [True, False])
async def test_both_ways_store_the_same(engine: AsyncEngine, *, packed: bool) -> None:
    async with engine.begin() as connection:
        begins = NOW if packed else NOW + timedelta(microseconds=1)
        await connection.execute(text("UPDATE usage_ledger.packing SET packed_from = :begins"), {"begins": begins})
    store = LedgerStore(engine)
    given = rows()
    assert (await store.record_attempts(given)).new == {row.record.attempt_id for row in given}
    copied = [row for one in given for row in await store.list_attempts("acme", one.record.request_id)]
    assert copied == given
    async with engine.begin() as connection:
        await connection.execute(
            text("DELETE FROM usage_ledger.attempts WHERE attempt_id <> :kept"), {"kept": given[1].record.attempt_id}
        )
    # One is there already, so COPY takes none and the statement the two others.
    assert (await store.record_attempts(given)).new == {given[0].record.attempt_id, given[2].record.attempt_id}
    assert [row for one in given for row in await store.list_attempts("acme", one.record.request_id)] == given
    async with engine.begin() as connection:
        counts = text(
            "SELECT count(packed), count(worker_id), count(decision_uuid), count(*) FROM usage_ledger.attempts"
        )
        assert (await connection.execute(counts)).one() == ((3, 0, 2, 3) if packed else (0, 3, 0, 3))


async def test_what_contradicts_itself_is_rejected(engine: AsyncEngine) -> None:
    good = stored(attempt_record(), 0)
    bad = good.model_copy(update={"price_version": None})
    result = await LedgerStore(engine).record_attempts([bad])
    assert "attempts_price_is_named" in result.rejected[0]


async def test_a_row_that_is_rejected_keeps_no_other_out(engine: AsyncEngine) -> None:
    store = LedgerStore(engine)
    bad = attempt_record().model_copy(update={"latency_ms": -1})
    records = [attempt_record(), bad, *(attempt_record() for _ in range(6))]
    given = [stored(record, 1) for record in records]
    result = await store.record_attempts([*given, given[0]])
    assert list(result.rejected) == [1]
    assert "CheckViolation" in result.rejected[1]
    assert result.new == {row.record.attempt_id for row in given if row.record is not bad}


async def test_of_the_same_attempt_twice_in_a_batch_the_first_counts(engine: AsyncEngine) -> None:
    applied: list[LedgerRow] = []

    class Applied:
        async def apply(self, _connection: AsyncConnection, fresh: Sequence[LedgerRow]) -> None:
            applied.extend(fresh)

    record = attempt_record()
    first, second = stored(record, 0), stored(record.model_copy(update={"latency_ms": 9}), 0)
    store = LedgerStore(engine, [Applied()])
    assert (await store.record_attempts([first, second])).new == {record.attempt_id}
    assert await store.list_attempts("acme", record.request_id) == [first] == applied
    assert (await store.record_attempts([second])).new == set()
    assert applied == [first]
