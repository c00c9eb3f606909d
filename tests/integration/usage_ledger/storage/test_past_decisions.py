"""Past decisions are found newest first, in whatever time they are and in whichever form they are stored."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts.past_decisions import ListDecisions
from keyferry.contracts.route import DecisionRecord
from services.usage_ledger.past_decision_store import PastDecisionStore
from services.usage_ledger.store import LedgerStore
from tests.support.ledger.attempt_records import decision_record

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
CLOCK = datetime.now(UTC)


def made() -> list[DecisionRecord]:
    chance = random.Random(7)
    moments = [
        *(CLOCK - timedelta(seconds=chance.randrange(7200)) for _ in range(30)),
        *(CLOCK - timedelta(minutes=chance.randrange(40_000)) for _ in range(30)),
        *(CLOCK - timedelta(days=chance.randrange(15_000)) for _ in range(10)),
        *(CLOCK + timedelta(days=chance.randrange(15_000)) for _ in range(4)),
        *(datetime(2000, 1, 1, tzinfo=UTC) + timedelta(minutes=15 * n) for n in range(-2, 3)),
    ]
    moments += moments[::7]
    return [decision_record(decided_at=at, tenant=chance.choice(("acme", "other"))) for at in moments]


async def listed(store: PastDecisionStore, **query: Any) -> list[str]:
    found: list[str] = []
    after = None
    while True:
        page = await store.page(ListDecisions(limit=7, after=after, **query))
        found += [each.decision_id for each in page.decisions]
        after = page.next
        if after is None:
            return found


async def test_every_decision_is_listed_once_and_in_order(engine: AsyncEngine) -> None:
    records = made()
    for packed_from, part in ((NOW + timedelta(days=1), records[::2]), (NOW, records[1::2])):
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE usage_ledger.packing SET packed_from = :at"), {"at": packed_from})
        assert not (await LedgerStore(engine).record_decisions(part, NOW)).rejected
    store = PastDecisionStore(engine)
    newest = sorted(records, key=lambda each: (each.decided_at, each.decision_id), reverse=True)
    assert await listed(store) == [each.decision_id for each in newest]
    assert await listed(store, tenant="acme") == [each.decision_id for each in newest if each.tenant == "acme"]
    for since, until in ((newest[50].decided_at, newest[10].decided_at), (newest[-3].decided_at, None), (CLOCK, None)):
        expected = [
            each.decision_id
            for each in newest
            if each.decided_at >= since and (until is None or each.decided_at < until)
        ]
        assert await listed(store, since=since, until=until) == expected
        without_zone = {"since": since.replace(tzinfo=None), "until": until and until.replace(tzinfo=None)}
        assert await listed(store, **without_zone) == expected


async def test_a_decision_is_found_by_its_request_in_either_form(engine: AsyncEngine) -> None:
    records = [decision_record(attempt_number=2), decision_record(), decision_record(request_id="caller-chose-this")]
    for packed_from in (NOW + timedelta(days=1), NOW):
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE usage_ledger.packing SET packed_from = :at"), {"at": packed_from})
        again = [
            each.model_copy(update={"decision_id": f"{each.decision_id[:-1]}{packed_from.day}"}) for each in records
        ]
        store = LedgerStore(engine)
        assert not (await store.record_decisions(again, NOW)).rejected
        for record in again:
            assert record in await store.list_decisions("acme", record.request_id)
            assert await store.list_decisions("other", record.request_id) == []
