"""What the request log finds: exactly what was recorded and matches, once, newest first, whatever arrives meanwhile."""

import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts import ids
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.request_cursor import InvalidCursor
from keyferry.contracts.request_log import ListRequests, RequestOutcome
from keyferry.contracts.text import BIGINT_MAX
from keyferry.contracts.usage import LedgerRow, Outcome, SummarizeUsage
from services.usage_ledger.request_log.projection import RequestFacets
from services.usage_ledger.request_log.store import MAX_IDS, ManyIds
from services.usage_ledger.store import LedgerStore
from tests.integration.usage_ledger.request_log.ledger import (
    BEGIN,
    MESSAGES,
    NOW,
    RECORDED,
    Ledger,
    add_facets,
    expected,
    open_ledger,
    refusal,
    some_attempts,
    total_cost,
)
from tests.support.ledger.attempt_records import attempt_record

FILTERS: tuple[dict[str, Any], ...] = (
    {},
    *({"outcome": outcome} for outcome in RequestOutcome),
    {"error_class": "rate_limit"},
    {"provider": "openai"},
    {"provider": "rare"},
    {"provider": "lab"},
    {"model": "auto"},
    {"model": "gpt-4o-2024"},
    {"model": "%"},
    {"operation": "code"},
    {"level": "eco"},
    {"key_source": "byok"},
    {"key_id": "key_2"},
    {"client_token_id": "tok_1"},
    {"team": "blue", "member": "ann"},
    {"tag_name": "a"},
    {"tag_name": "a", "tag_value": "%"},
    {"tag_name": "a", "tag_value": "_"},
    {"tag_name": "x.y", "tag_value": "z=1"},
    {"min_cost_usd": "0.0100001"},
    {"min_cost_usd": "0.01"},
    {"min_latency_ms": 1024},
    {"min_latency_ms": 0},
    {"text": "RATE limit"},
    {"text": "überlastet"},
    {"text": "100% of_capacity"},
    {"text": "limi"},
    {"outcome": "failed", "provider": "groq", "error_class": "auth"},
    {"outcome": "refused", "error_class": "policy", "text": "allowed"},
    {"id": "req_0001"},
    {"id": "req%0001"},
    {"id": "req_00011", "provider": "openai"},
)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    async with open_ledger(tmp_path) as found:
        yield found


async def test_every_filter_finds_what_matches_once_and_adds_up(ledger: Ledger) -> None:
    chance = random.Random(7)
    records = some_attempts(300, chance)
    await ledger.set_packed_from(RECORDED)
    await ledger.record(records[:100], cost_usd="0.012345678901", at=RECORDED - timedelta(seconds=1))
    await ledger.record(records[100:250], cost_usd="0.012345678901")
    await ledger.record(records[250:], cost_usd=None)
    refusals = [
        refusal(
            request_id=f"req_{number:05}",
            tenant="acme" if number % 5 else "other",
            decided_at=BEGIN + timedelta(minutes=10 * number),
            model_asked=chance.choice(["auto", "gpt-4o"]),
            operation=chance.choice([None, "code"]),
            tags={"a": "%"},
            team="blue",
            member="ann",
        )
        for number in range(130, 200)
    ]
    await ledger.refuse([*refusals, *(each.model_copy(update={"decision_id": ids.new("dec")}) for each in refusals)])
    spans: list[dict[str, Any]] = [
        {},
        {"since": BEGIN + timedelta(hours=10, minutes=7), "until": BEGIN + timedelta(hours=31, seconds=1)},
    ]
    for place, query in enumerate(spans[place % 2] | given for place, given in enumerate(FILTERS)):
        command = ListRequests.model_validate({"tenant": "acme", **query})
        found = await ledger.walk(**query, limit=(7, 50, 200)[place % 3])
        wanted = expected(ledger, command)
        assert {one.request_id for one in found} == wanted.keys(), query
        assert len(found) == len(wanted), query
        for one in found:
            rows = wanted[one.request_id]
            assert [each.attempt_id for each in one.attempts] == [row.record.attempt_id for row in rows]
            costs = [row.cost_usd for row in rows if row.cost_usd is not None]
            assert one.cost_usd == (sum(costs) if costs or not rows else None)
            assert one.unpriced == len(rows) - len(costs)
            outcome = rows[-1].record.outcome.value if rows else "refused"
            assert one.outcome == outcome
        total = (await ledger.page(**query, count=True)).total
        assert total is not None
        assert (total.count, total.more) == (len(wanted), False), query
    for span in spans:
        usage = await ledger.usage.summarize(SummarizeUsage(tenant="acme", **span))
        found = await ledger.walk(**span)
        assert usage.priced_cost_usd == total_cost(found) > 0
        assert usage.attempts == sum(len(one.attempts) for one in found)
        assert usage.unpriced == sum(one.unpriced for one in found)


async def test_the_facets_of_earlier_rows_are_those_of_new_ones(ledger: Ledger) -> None:
    await ledger.record(some_attempts(200, random.Random(3)))
    await ledger.record([attempt_record(latency_ms=BIGINT_MAX, started_at=BEGIN)], cost_usd="999999999999.000000000001")
    await ledger.refuse([refusal(f"{message} again", operation="code", tags={"t": "ü"}) for message in MESSAGES])
    kept = "SELECT * FROM usage_ledger.request_facets ORDER BY 1, 2, 3"
    async with ledger.engine.begin() as connection:
        before = (await connection.execute(text(kept))).all()
        await connection.execute(text("SET LOCAL search_path TO usage_ledger"))
        await connection.execute(text("TRUNCATE request_facets"))
        await connection.run_sync(add_facets)
        assert (await connection.execute(text(kept))).all() == before
    assert len(before) > 100


async def test_facets_of_a_transaction_that_failed_are_not_taken_for_stored(ledger: Ledger) -> None:
    class Failing:
        async def apply(self, connection: AsyncConnection, rows: Sequence[LedgerRow]) -> None:
            raise ArithmeticError

    facets = RequestFacets()
    records = [attempt_record(model=f"m{number}", started_at=BEGIN) for number in range(2)]
    ledger.store = LedgerStore(ledger.engine, [facets, Failing()])
    with pytest.raises(ArithmeticError):
        await ledger.record(records)
    ledger.store = LedgerStore(ledger.engine, [facets])
    for record in (*records, attempt_record(model="m0", started_at=BEGIN)):
        await ledger.record([record])
    for number, count in enumerate((2, 1)):
        found = await ledger.page(model=f"m{number}", since=BEGIN, until=BEGIN + timedelta(days=1))
        assert len(found.requests) == count


async def test_pages_are_stable_while_requests_arrive(ledger: Ledger) -> None:
    first = [attempt_record(request_id=f"req_{number}", started_at=BEGIN) for number in range(9)]
    await ledger.record(first)
    page = await ledger.page(limit=4)
    seen = [one.request_id for one in page.requests]
    await ledger.record(
        [
            attempt_record(request_id="req_new", started_at=BEGIN + timedelta(seconds=1)),
            attempt_record(request_id="req_late", started_at=BEGIN - timedelta(seconds=1)),
            attempt_record(request_id=seen[0], attempt_number=9, started_at=BEGIN - timedelta(seconds=1)),
        ],
        at=NOW + timedelta(seconds=1),
    )
    while page.next is not None:
        page = await ledger.page(page.next, limit=4, now=NOW + timedelta(hours=1))
        seen += [one.request_id for one in page.requests]
    assert sorted(seen) == sorted(record.request_id for record in first)
    again = await ledger.page(limit=4, now=NOW + timedelta(hours=1))
    assert again.requests[0].request_id == "req_new"
    settled = await ledger.page(settled=True, now=RECORDED + timedelta(seconds=1))
    assert settled.requests == []


async def test_wrong_clocks_hide_nothing(ledger: Ledger) -> None:
    moments = [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        BEGIN,
        NOW + timedelta(days=400),
        datetime(2199, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    ]
    # A later attempt by a worker whose clock is behind.
    records = [attempt_record(request_id=f"req_{at:%Y}", started_at=at) for at in moments]
    behind = [
        attempt_record(request_id="req_behind", attempt_number=1, outcome=Outcome.FAILED, started_at=BEGIN),
        attempt_record(request_id="req_behind", attempt_number=2, started_at=BEGIN - timedelta(hours=3), latency_ms=5),
    ]
    await ledger.record([*records, *behind])
    for query in ({}, {"provider": "echo"}, {"outcome": "completed"}):
        found = await ledger.walk(**query, limit=2)
        assert sorted(one.request_id for one in found) == sorted({one.request_id for one in (*records, *behind)})
        by_id = {one.request_id: one for one in found}
        assert by_id["req_behind"].outcome == "completed"
        assert by_id["req_behind"].latency_ms == 5


HOSTILE = ("%", "_", "\\", "'; DROP TABLE attempts; --", '"', "a%b", "$1", ":tenant", "ü☃", "x" * 256, "=1+1", "{}")


async def test_hostile_text_is_found_as_it_is(ledger: Ledger) -> None:
    for value in HOSTILE:
        failure = Failure(failure_class=FailureClass.SERVER, message=f"{value} failed")
        await ledger.record(
            [
                attempt_record(
                    model=value,
                    model_asked=value,
                    tags={"t": value},
                    outcome=Outcome.FAILED,
                    failure=failure,
                    started_at=BEGIN,
                )
            ]
        )
        await ledger.refuse([refusal(f"{value} refused", model_asked=value, tags={"t": value})])
    for value in HOSTILE:
        for query in ({"model": value}, {"tag_name": "t", "tag_value": value}):
            found = await ledger.walk(**query)
            assert len(found) == 2, (query, found)
            assert {one.model_asked for one in found} == {value}
    assert len(await ledger.walk(text="drop TABLE attempts")) == 2
    assert len(await ledger.walk(text="failed %_'")) == len(HOSTILE)
    assert await ledger.walk(text="tempts") == []
    assert await ledger.walk(id="req%%%%%%") == []
    assert await ledger.walk(id="'--'--'--") == []


@pytest.mark.parametrize(
    "field", ["model", "provider", "operation", "key_id", "client_token_id", "team", "member", "tag_name", "id", "text"]
)
def test_what_no_record_can_hold_is_refused(field: str) -> None:
    for value in ("a\x00bcdefghij", "a\ud800bcdefghij", "x" * 100_000, "", "\u202eabcdefghij"):
        with pytest.raises(ValidationError):
            ListRequests.model_validate({"tenant": "acme", field: value})


@pytest.mark.parametrize("packed", [True, False])
async def test_ids_are_found_whole_or_by_their_beginning(ledger: Ledger, *, packed: bool) -> None:
    await ledger.set_packed_from(RECORDED if packed else NOW)
    trace = "0af7651916cd43dd8448eb211c80319c"
    one, two = (
        attempt_record(
            request_id=ids.new("req"),
            attempt_id=ids.new("att", unix_ms=round(BEGIN.timestamp() * 1000)),
            decision_id=ids.new("dec", unix_ms=round(BEGIN.timestamp() * 1000)),
            started_at=BEGIN + timedelta(minutes=5),
            tenant=tenant,
            traceparent=f"00-{trace}-b7ad6b7169203331-01",
        )
        for tenant in ("acme", "other")
    )
    refused = refusal(request_id="caller-chose-this", traceparent=f"00-{trace}-b7ad6b7169203331-01")
    await ledger.record([one, two])
    await ledger.refuse([refused])
    for given in (one.request_id, one.attempt_id, one.decision_id):
        for length in (len(given), 20):
            assert [each.request_id for each in await ledger.walk(id=given[:length])] == [one.request_id]
    assert await ledger.walk(id=two.request_id) == []
    assert await ledger.walk(id=two.attempt_id) == []
    for given in (trace, trace[:9], trace[:8]):
        assert {each.request_id for each in await ledger.walk(id=given)} == {one.request_id, "caller-chose-this"}
    for given in (refused.decision_id, refused.decision_id[:20], "caller-chose-this", "caller-ch"):
        assert [each.request_id for each in await ledger.walk(id=given)] == ["caller-chose-this"]
    await ledger.record([attempt_record(request_id=f"same-beginning-{number}") for number in range(MAX_IDS + 1)])
    with pytest.raises(ManyIds):
        await ledger.walk(id="same-beginning")


async def test_a_foreign_tenant_sees_nothing(ledger: Ledger) -> None:
    await ledger.record(some_attempts(100, random.Random(1)))
    await ledger.refuse([refusal()])
    assert await ledger.walk(tenant="stranger") == []
    page = await ledger.page(limit=1)
    assert page.next is not None
    for changed in ({"tenant": "other"}, {"provider": "openai"}, {"since": BEGIN}):
        with pytest.raises(InvalidCursor, match="another tenant or other filters"):
            await ledger.page(page.next, **changed)


async def test_a_refusal_gives_way_to_attempts(ledger: Ledger) -> None:
    """A worker refused the first attempt, or the decision after a failed one arrived first."""
    await ledger.refuse([refusal("first", request_id="req_1"), refusal("last", request_id="req_1", attempt_number=2)])
    (found,) = await ledger.walk()
    assert (found.outcome, found.error, found.error_class, found.cost_usd) == ("refused", "last", "policy", Decimal(0))
    assert (await ledger.walk(text="first")) == []
    await ledger.record([attempt_record(request_id="req_1", outcome=Outcome.FAILED, started_at=BEGIN)])
    (found,) = await ledger.walk()
    assert found.outcome == "failed"
    assert await ledger.walk(outcome="refused") == []
