"""What attempts hold of limits is released once, before their end is sent, and handed on to the next attempt."""

import asyncio
from collections import Counter
from typing import Any

from nats.errors import ConnectionClosedError

from keyferry.contracts.limit_counters import EPOCH_MS, SKEW_MS, WINDOW_MS
from keyferry.contracts.limits import Admission, HeldCount, LimitKind
from keyferry.contracts.usage import AttemptRecord, Outcome, TokenUsage, UsageSource
from services.provider_worker.held_limits import HeldLimits, used_tokens
from tests.support.ledger.attempt_records import attempt_record
from tests.support.providers.attempt_runs import attempt_run

NOW_MS = 1_800_000_000_000
PLACE = HeldCount(kind=LimitKind.CONCURRENCY, window=NOW_MS // EPOCH_MS, amount=1)
TOKENS = HeldCount(kind=LimitKind.TPM, window=NOW_MS // WINDOW_MS, amount=100)
RUN = attempt_run().model_copy(update={"admission": Admission(held=[TOKENS, PLACE])})


class Counters:
    """The counters of the bus, after the request was admitted."""

    def __init__(self) -> None:
        self.values: Counter[str] = Counter({"concurrency": 1, "tpm": 100})
        self.away = False

    async def count(self, subject: str, amount: int) -> None:
        if self.away:
            raise ConnectionClosedError
        self.values[subject.split(".")[4]] += amount


async def test_what_is_held_is_released_once() -> None:
    counters = Counters()
    limits = HeldLimits(counters.count, lambda: NOW_MS)
    limits.hold(RUN)
    assert len(limits) == 1
    await limits.release(RUN.attempt_id, 30)
    await limits.release(RUN.attempt_id, 0)
    assert counters.values == {"concurrency": 0, "tpm": 30}
    assert len(limits) == 0


async def test_a_request_that_goes_on_keeps_its_place_and_adds_what_was_used() -> None:
    counters = Counters()
    limits = HeldLimits(counters.count, lambda: NOW_MS)
    limits.hold(RUN)
    assert await limits.hand_on(RUN.attempt_id, 12) == RUN.admission
    await limits.release(RUN.attempt_id, 0)
    assert counters.values == {"concurrency": 1, "tpm": 112}
    assert await limits.hand_on("att_other", 5) is None


async def test_a_long_answer_is_renewed_in_every_epoch() -> None:
    counters, clock = Counters(), [NOW_MS]
    limits = HeldLimits(counters.count, lambda: clock[0])
    limits.hold(RUN)
    clock[0] += EPOCH_MS + SKEW_MS
    await limits.renew_once()
    admission = await limits.hand_on(RUN.attempt_id, None)
    assert admission is not None
    assert admission.held[1].window == PLACE.window + 1
    assert counters.values == {"concurrency": 1, "tpm": 100}


async def test_an_attempt_that_ends_while_others_are_renewed_holds_nothing_any_more() -> None:
    counters, clock = Counters(), [NOW_MS]
    counters.values["concurrency"] = 2

    async def count(subject: str, amount: int) -> None:
        await asyncio.sleep(0)  # as a connection does whose buffer is full
        await counters.count(subject, amount)

    limits = HeldLimits(count, lambda: clock[0])
    second = RUN.model_copy(update={"attempt_id": "att_second"})
    limits.hold(RUN)
    limits.hold(second)
    clock[0] += EPOCH_MS + SKEW_MS
    await asyncio.gather(limits.renew_once(), limits.release(second.attempt_id, 0))
    assert len(limits) == 1
    await limits.release(RUN.attempt_id, 0)
    clock[0] += EPOCH_MS
    await limits.renew_once()
    assert counters.values["concurrency"] == 0


async def test_a_bus_that_is_away_fails_no_attempt() -> None:
    counters = Counters()
    counters.away = True
    limits = HeldLimits(counters.count)
    limits.hold(RUN)
    await limits.release(RUN.attempt_id, 0)
    assert len(limits) == 0


def test_used_tokens_are_those_of_the_record() -> None:
    def record(**changes: Any) -> AttemptRecord:
        return attempt_record().model_copy(update=changes)

    usage = TokenUsage(input=3, output=4, cached_read=5)
    assert used_tokens(record(token_usage=usage, usage_source=UsageSource.REPORTED)) == 12
    assert used_tokens(record(usage_source=UsageSource.NONE, outcome=Outcome.COMPLETED)) is None
    assert used_tokens(record(usage_source=UsageSource.NONE, outcome=Outcome.FAILED)) == 0
