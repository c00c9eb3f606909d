"""What a provider key has spent is published by calendar month in UTC, and again after an outage."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import cast

import pytest
from nats.errors import NoServersError

from keyferry.contracts.key import KeySpend, KeySpends
from keyferry.contracts.usage import LedgerRow
from keyferry.runtime.database.errors import DatabaseUnavailable
from services.usage_ledger import key_spending
from services.usage_ledger.key_spending import KeySpendPublisher
from services.usage_ledger.key_spending_store import KeyMonth, KeySpendingStore
from tests.support.ledger.attempt_records import attempt_record

KEY = "key_of_acme"
FIRST = datetime(2026, 11, 1, tzinfo=UTC)


class Ledger:
    """The table of attempts and the bus, each of which fails as often as it should."""

    def __init__(self, *, used: set[KeyMonth] | None = None) -> None:
        self.outages: list[Exception] = []
        self.failures: list[Exception] = []
        self.tried: list[KeySpends] = []
        self.published: asyncio.Queue[KeySpend] = asyncio.Queue()
        self._used = used or set()
        self.publisher = KeySpendPublisher(cast(KeySpendingStore, self), self._publish, lambda: FIRST)

    async def keys_used_in(self, month: str) -> set[KeyMonth]:
        assert month == "2026-11"
        if self.outages:
            raise self.outages.pop()
        return self._used

    async def read_key_spending(self, keys: Sequence[KeyMonth]) -> list[KeySpend]:
        if self.outages:
            raise self.outages.pop()
        return [
            KeySpend(
                key_id=key_id,
                month=month,
                tenant="acme",
                spent_usd=Decimal(1),
                attempts=1,
                unpriced=0,
                last_used_at=FIRST,
            )
            for key_id, month in keys
        ]

    async def _publish(self, spends: KeySpends) -> None:
        self.tried.append(spends)
        if self.failures:
            raise self.failures.pop()
        for spend in spends.spends:
            self.published.put_nowait(spend)

    async def next(self) -> KeyMonth:
        async with asyncio.timeout(30):
            spend = await self.published.get()
        return spend.key_id, spend.month


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_spending, "_LINGER_SECONDS", 0.0)
    monkeypatch.setattr(key_spending, "_RETRY_SECONDS", 0.0)


def attempt_at(moment: datetime, key_id: str | None = KEY) -> LedgerRow:
    record = attempt_record().model_copy(update={"started_at": moment, "key_id": key_id})
    return LedgerRow(
        record=record,
        cost_usd=Decimal(1),
        price_version="v1",
        pricing="priced",
        trace_id=None,
        recorded_at=moment + timedelta(days=40),
    )


@pytest.mark.usefixtures("far_east")
@pytest.mark.parametrize(
    ("started_at", "month"),
    [
        (FIRST - timedelta(microseconds=1), "2026-10"),
        (FIRST, "2026-11"),
        (datetime(2026, 11, 1, 2, tzinfo=timezone(timedelta(hours=5))), "2026-10"),
        (datetime(2026, 10, 31, 22, tzinfo=timezone(timedelta(hours=-5))), "2026-11"),
    ],
)
async def test_an_attempt_counts_in_the_month_in_which_it_began_in_utc(started_at: datetime, month: str) -> None:
    ledger = Ledger()
    await ledger.publisher.start()
    ledger.publisher.mark_changed([attempt_at(started_at)])
    assert await ledger.next() == (KEY, month)
    await ledger.publisher.stop()


async def test_at_a_months_turn_both_months_are_published() -> None:
    ledger = Ledger()
    await ledger.publisher.start()
    ledger.publisher.mark_changed([attempt_at(FIRST - timedelta(seconds=1)), attempt_at(FIRST)])
    assert {await ledger.next(), await ledger.next()} == {(KEY, "2026-10"), (KEY, "2026-11")}
    await ledger.publisher.stop()


@pytest.mark.parametrize("error", [NoServersError(), TimeoutError()])
async def test_spending_that_the_bus_did_not_take_is_published_again(error: Exception) -> None:
    ledger = Ledger()
    ledger.failures = [error]
    await ledger.publisher.start()
    ledger.publisher.mark_changed([attempt_at(FIRST)])
    assert await ledger.next() == (KEY, "2026-11")
    assert len(ledger.tried) == 2
    await ledger.publisher.stop()


async def test_spending_that_could_not_be_summed_is_published_after_the_outage() -> None:
    ledger = Ledger()
    await ledger.publisher.start()
    ledger.outages = [DatabaseUnavailable("gone"), DatabaseUnavailable("gone")]
    ledger.publisher.mark_changed([attempt_at(FIRST)])
    assert await ledger.next() == (KEY, "2026-11")
    await ledger.publisher.stop()


async def test_sums_that_cannot_be_published_do_not_end_the_publishing_of_others() -> None:
    ledger = Ledger()
    await ledger.publisher.start()
    ledger.failures = [ArithmeticError("a defect")]
    ledger.publisher.mark_changed([attempt_at(FIRST, key_id="key_defective")])
    async with asyncio.timeout(30):
        while not ledger.tried:  # noqa: ASYNC110 - a list has no event
            await asyncio.sleep(0)
    ledger.publisher.mark_changed([attempt_at(FIRST)])
    assert await ledger.next() == (KEY, "2026-11")
    await ledger.publisher.stop()


async def test_a_new_process_publishes_all_keys_of_this_month() -> None:
    ledger = Ledger(used={(KEY, "2026-11"), ("key_two", "2026-11")})
    await ledger.publisher.start()
    assert {await ledger.next(), await ledger.next()} == {(KEY, "2026-11"), ("key_two", "2026-11")}
    await ledger.publisher.stop()


async def test_marks_add_up_until_they_are_published() -> None:
    ledger = Ledger(used={("key_used", "2026-11")})
    ledger.publisher.mark_changed([attempt_at(FIRST, key_id="key_one")])
    await ledger.publisher.start()
    ledger.publisher.mark_changed([attempt_at(FIRST, key_id="key_two")])
    ledger.publisher.mark_changed([attempt_at(FIRST, key_id="key_three")])
    found = {(await ledger.next())[0] for _ in range(4)}
    assert found == {"key_used", "key_one", "key_two", "key_three"}
    await ledger.publisher.stop()


async def test_after_an_outage_no_other_key_is_forgotten() -> None:
    count = key_spending._MAX_KEYS + 1
    ledger = Ledger()
    ledger.publisher.mark_changed([attempt_at(FIRST, key_id=f"key_{number}") for number in range(count)])
    await ledger.publisher.start()
    ledger.outages = [DatabaseUnavailable("gone")]
    assert len({await ledger.next() for _ in range(count)}) == count
    await ledger.publisher.stop()


async def test_a_ledger_starts_while_its_database_is_away() -> None:
    ledger = Ledger(used={(KEY, "2026-11")})
    ledger.outages = [DatabaseUnavailable("gone")]
    await ledger.publisher.start()
    ledger.publisher.mark_changed([attempt_at(FIRST)])
    assert await ledger.next() == (KEY, "2026-11")
    await ledger.publisher.stop()


async def test_a_publisher_can_be_stopped_at_any_time() -> None:
    ledger = Ledger()
    await ledger.publisher.stop()
    await ledger.publisher.start()
    await ledger.publisher.stop()
    ledger.publisher.mark_changed([attempt_at(FIRST)])
    for _ in range(20):
        await asyncio.sleep(0)
    assert ledger.tried == []


async def test_attempts_without_a_key_are_not_published() -> None:
    ledger = Ledger()
    await ledger.publisher.start()
    ledger.publisher.mark_changed([attempt_at(FIRST, key_id=None)])
    ledger.publisher.mark_changed([attempt_at(FIRST)])
    assert await ledger.next() == (KEY, "2026-11")
    assert len(ledger.tried) == 1
    await ledger.publisher.stop()
