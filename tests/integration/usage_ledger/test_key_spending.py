"""The spending of a provider key is published after its attempts are recorded, as the sum of the month."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from nats.aio.msg import Msg

from keyferry.contracts.key import KeySpend, KeySpends
from keyferry.contracts.topology import KEYS_SPENT, Role
from keyferry.contracts.usage import KeySource, LedgerRow, TokenUsage
from keyferry.runtime.database.engine import engine_for
from services.usage_ledger.key_spending_rebuild import KeySpendingRebuild
from services.usage_ledger.key_spending_store import KeySpendingStore
from services.usage_ledger.store import LedgerStore
from tests.integration.usage_ledger.processes import TIMEOUT_SECONDS, LedgerServers
from tests.support.ledger.attempt_records import attempt_record

MONTH = datetime(2026, 10, 5, tzinfo=UTC)
KEY = "key_of_acme"


async def test_at_a_months_turn_each_attempt_counts_in_its_month_in_utc(servers: LedgerServers) -> None:
    """Whatever the time zone of the database is."""
    servers.query(f"ALTER DATABASE {servers.database()} SET timezone TO 'Pacific/Kiritimati'")
    turn = datetime(2026, 11, 1, tzinfo=UTC)
    started = [turn - timedelta(hours=13), turn - timedelta(microseconds=1), turn, turn + timedelta(hours=13)]
    engine = engine_for(servers.settings())
    try:
        usage = KeySpendingStore(engine)
        store = LedgerStore(engine, [usage])
        await store.record_attempts(
            [priced_attempt(moment, Decimal(1 + place)) for place, moment in enumerate(started)]
        )
        for months in (["2026-10"], ["2026-11"], ["2026-10", "2026-11"]):
            found = await usage.read_key_spending([(KEY, month) for month in months])
            assert {spend.month: spend.spent_usd for spend in found} == {
                month: {"2026-10": Decimal(3), "2026-11": Decimal(7)}[month] for month in months
            }
        assert await usage.keys_used_in("2026-10") == {(KEY, "2026-10")}
    finally:
        await engine.dispose()


def priced_attempt(started_at: datetime, cost_usd: Decimal, key_id: str = KEY) -> LedgerRow:
    record = attempt_record().model_copy(update={"key_id": key_id, "started_at": started_at})
    return LedgerRow(
        record=record, cost_usd=cost_usd, price_version="v1", pricing="priced", trace_id=None, recorded_at=started_at
    )


async def test_each_attempt_counts_once_however_often_it_is_delivered(servers: LedgerServers) -> None:
    """A thousand keys, and attempts that come again in other batches, also at once from two processes."""
    rows = [priced_attempt(MONTH, Decimal(1), f"key_{number % 1000:04}") for number in range(3000)]
    engines = [engine_for(servers.settings()) for _ in range(2)]
    try:
        stores = [LedgerStore(engine, [KeySpendingStore(engine)]) for engine in engines]
        await asyncio.gather(*(store.record_attempts(rows[:2000]) for store in stores))
        await asyncio.gather(
            *(store.record_attempts(part) for store, part in zip(stores, (rows[1000:], rows), strict=True))
        )
        found = await KeySpendingStore(engines[0]).read_key_spending(
            [(f"key_{number:04}", "2026-10") for number in range(1000)]
        )
        assert {(spend.spent_usd, spend.attempts) for spend in found} == {(Decimal(3), 3)}
        assert len(found) == 1000
    finally:
        for engine in engines:
            await engine.dispose()


async def test_spending_is_published_by_key_and_month(servers: LedgerServers) -> None:
    async with servers.in_process(), servers.installation.client(Role.PROVISIONER) as listener:
        received: asyncio.Queue[KeySpend] = asyncio.Queue()

        async def record_all(message: Msg) -> None:
            for spend in KeySpends.decode(message.data).spends:
                received.put_nowait(spend)

        await listener.subscribe(KEYS_SPENT.pattern(), cb=record_all)
        await listener.flush()
        million = TokenUsage(input=1_000_000)
        rows = [
            attempt_record(provider="echo", model="echo", token_usage=million, spool_seq=seq).model_copy(
                update={"key_id": KEY, "key_source": KeySource.BYOK, "tenant": "acme", "started_at": MONTH}
            )
            for seq in (1, 2)
        ]
        platform = attempt_record(provider="nobody", model="unknown", token_usage=million, spool_seq=3).model_copy(
            update={"key_id": "key_of_platform", "key_source": KeySource.PLATFORM, "started_at": MONTH}
        )
        async with servers.worker() as worker:
            await worker.publish([record.encode() for record in (*rows, platform)])
            found: dict[str, KeySpend] = {}
            async with asyncio.timeout(TIMEOUT_SECONDS):
                while len(found) < 2 or found[KEY].attempts < 2:
                    spend = await received.get()
                    found[spend.key_id] = spend
    assert found[KEY].model_dump(exclude={"last_used_at"}) == {
        "key_id": KEY,
        "tenant": "acme",
        "month": "2026-10",
        "spent_usd": Decimal("0.2"),
        "attempts": 2,
        "unpriced": 0,
    }
    assert found["key_of_platform"].tenant == "platform", "a platform key's calls serve many tenants"
    assert (found["key_of_platform"].spent_usd, found["key_of_platform"].unpriced) == (None, 1)


async def test_what_differs_from_the_attempts_is_named_and_replaced(servers: LedgerServers) -> None:
    engine = engine_for(servers.settings())
    try:
        store, projection = KeySpendingStore(engine), KeySpendingRebuild(engine)
        unpriced = LedgerRow(
            record=attempt_record().model_copy(update={"key_id": "key_2", "started_at": MONTH}),
            pricing="unpriced",
            recorded_at=MONTH,
        )
        rows = [priced_attempt(MONTH + timedelta(days=40 * number), Decimal(number)) for number in range(3)]
        await LedgerStore(engine, [store]).record_attempts([*rows, unpriced])
        assert (await projection.check()).model_dump(include={"compared", "different"}) == {
            "compared": 4,
            "different": 0,
        }
        months = [(KEY, "2026-10"), (KEY, "2026-12"), ("key_2", "2026-10")]
        before = {str(each) for each in await store.read_key_spending(months)}
        servers.query("UPDATE usage_ledger.key_spending SET spent_usd = 9 WHERE key_id = 'key_2' OR month = '2026-12'")
        servers.query(f"DELETE FROM usage_ledger.key_spending WHERE month = '2026-10' AND key_id = '{KEY}'")
        report = await projection.check()
        assert [each.subject for each in report.differences] == [
            *("key_2 in 2026-10", f"{KEY} in 2026-10"),
            f"{KEY} in 2026-12",
        ]
        assert await projection.rebuild() == report
        assert (await projection.check()).different == 0
        assert {str(each) for each in await store.read_key_spending(months)} == before
    finally:
        await engine.dispose()
