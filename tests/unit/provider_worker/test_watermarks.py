"""A worker's watermark is published after what it covers is stored, and nothing begins behind it."""

import asyncio
from typing import Any

import pytest
from nats.errors import Error as NatsError

from keyferry.contracts.credit import RETIRED_UNIX_MS, Hold, Reservation
from keyferry.contracts.usage import BatchHead
from keyferry.runtime.bus.publishing import BatchPublisher
from services.provider_worker.watermarks import Watermarks
from tests.support.ledger.attempt_records import attempt_record
from tests.support.router.limits import SetClock
from tests.support.waiting import eventually

NOW = 1_800_000_000_000


class Stream:
    """What a stream has stored. It stores nothing while `away`."""

    def __init__(self) -> None:
        self.stored: list[tuple[BatchHead, int]] = []
        self.away = False

    async def publish(self, subject: str, batch: bytes, **options: Any) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise NatsError
        head, body = BatchHead.split(batch)
        self.stored.append((head, len(body.splitlines())))


class Worker:
    """The watermarks of a worker and its publisher to `stream`."""

    def __init__(self, clock: SetClock) -> None:
        self.stream = Stream()
        self.watermarks = Watermarks(clock)
        self.publisher = BatchPublisher(
            lambda: self.stream,  # type: ignore[arg-type, return-value]
            "attempts",
            producer="worker-1",
            watermark=self.watermarks.current,
            on_stored=self.watermarks.on_stored,
        )

    async def start(self) -> None:
        self.publisher.start()
        self.starting = asyncio.create_task(self.watermarks.start(self.publisher))
        if not self.stream.away:
            await self.starting

    async def stop(self) -> None:
        await self.watermarks.stop()
        await self.publisher.stop()

    @property
    def last(self) -> int | None:
        return self.stream.stored[-1][0].settled_until_unix_ms


def reservation(not_after: int) -> Reservation:
    return Reservation(holds=[Hold(lease_id="lease_1", account="credits/acme", amount=5)], not_after_unix_ms=not_after)


LEFT_OVER = [
    attempt_record(attempt_id="att_0", spool_seq=1, reservation=reservation(NOW - 60_000).model_dump()),
    attempt_record(attempt_id="att_1", spool_seq=2),
]


@pytest.fixture
def clock() -> SetClock:
    return SetClock(NOW)


@pytest.fixture
async def worker(clock: SetClock) -> Any:
    made = Worker(clock)
    yield made
    await made.stop()


async def test_no_credit_is_spent_before_the_stream_knows_the_worker(worker: Worker) -> None:
    assert worker.watermarks.begin("att_0", None)
    assert not worker.watermarks.begin("att_1", reservation(NOW + 1000))
    worker.stream.away = True
    await worker.start()
    await asyncio.sleep(0.01)
    assert not worker.watermarks.begin("att_1", reservation(NOW + 1000))
    worker.stream.away = False
    await eventually("the first watermark", lambda: worker.stream.stored)
    await eventually("credit", lambda: worker.watermarks.begin("att_1", reservation(NOW + 1000)))
    assert (worker.last, worker.stream.stored[0][0].count) == (NOW, 0)


async def test_attempts_that_count_against_no_account_do_not_matter(worker: Worker, clock: SetClock) -> None:
    worker.watermarks.restore([attempt_record(attempt_id="att_0", spool_seq=1)])
    await worker.start()
    await eventually("the first watermark", lambda: worker.stream.stored)
    clock.now_ms = NOW - 10_000
    assert worker.watermarks.begin("att_1", None)
    clock.now_ms = NOW + 5000
    assert worker.watermarks.current() == NOW + 5000


async def test_an_attempt_holds_the_watermark_until_its_record_is_stored(worker: Worker, clock: SetClock) -> None:
    await worker.start()
    await eventually("the first watermark", lambda: worker.stream.stored)
    assert worker.watermarks.begin("att_1", reservation(NOW + 1000))
    clock.now_ms = NOW + 5000
    worker.publisher.put(b"{}", "att_1")
    await worker.publisher.flush(5)
    assert worker.last == NOW + 1000, "the batch that carries a record does not count it as stored"
    worker.publisher.put_mark()
    await worker.publisher.flush(5)
    assert worker.last == NOW + 5000


async def test_nothing_begins_behind_the_watermark_when_the_clock_goes_back(worker: Worker, clock: SetClock) -> None:
    await worker.start()
    await eventually("the first watermark", lambda: worker.stream.stored)
    clock.now_ms = NOW - 10_000
    assert not worker.watermarks.begin("att_1", reservation(NOW - 1))
    assert worker.watermarks.begin("att_2", reservation(NOW))


async def test_a_worker_whose_clock_was_ahead_spends_credit_again_with_a_new_watermark(
    worker: Worker, clock: SetClock
) -> None:
    clock.now_ms = NOW + 3_600_000
    await worker.start()
    clock.now_ms = NOW
    assert not worker.watermarks.begin("att_1", reservation(NOW + 1000))
    assert not worker.watermarks.begin("att_1", reservation(NOW + 1000)), "the stream has no new watermark yet"
    await worker.publisher.flush(5)
    assert worker.last == NOW
    assert worker.watermarks.begin("att_1", reservation(NOW + 1000))


async def test_a_worker_takes_attempts_only_when_the_stream_knows_it(worker: Worker) -> None:
    await worker.start()
    assert worker.watermarks.begin("att_1", reservation(NOW + 1000))


async def test_what_an_earlier_process_left_holds_the_watermark(worker: Worker) -> None:
    worker.watermarks.restore(LEFT_OVER)
    await worker.start()
    await eventually("the first watermark", lambda: worker.stream.stored)
    assert worker.last == NOW - 60_000
    worker.publisher.put(b"{}", "att_0")
    worker.publisher.put_mark()
    await worker.publisher.flush(5)
    worker.publisher.put_mark()
    await worker.publisher.flush(5)
    assert worker.last == NOW


async def test_what_the_ledger_confirms_of_it_is_settled(worker: Worker) -> None:
    """With thousands of records left it may confirm some before they are published again."""
    worker.watermarks.restore(LEFT_OVER)
    await worker.start()
    await eventually("the first watermark", lambda: worker.stream.stored)
    worker.watermarks.on_confirmed([1, 2, 3])
    worker.publisher.put_mark()
    await worker.publisher.flush(5)
    assert worker.last == NOW


async def test_a_worker_that_stops_with_everything_stored_retires(worker: Worker) -> None:
    await worker.start()
    await eventually("the first watermark", lambda: worker.stream.stored)
    assert worker.watermarks.begin("att_1", reservation(NOW + 1000))
    await worker.watermarks.retire(worker.publisher, 5)
    assert worker.last == NOW, "its record is not stored yet"
    worker.publisher.put(b"{}", "att_1")
    await worker.publisher.flush(5)
    await worker.watermarks.retire(worker.publisher, 5)
    assert worker.last == RETIRED_UNIX_MS
    assert not worker.watermarks.begin("att_2", reservation(NOW + 9000))
