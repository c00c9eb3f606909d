"""What an attempt holds of limits is settled by how it ended, before its caller hears of the end."""

import time
from collections import Counter
from pathlib import Path

import pytest

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.limit_counters import EPOCH_MS, WINDOW_MS
from keyferry.contracts.limits import Admission, HeldCount, LimitKind
from keyferry.contracts.usage import TokenUsage
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.usage_report import UsageReport
from tests.unit.provider_worker.test_attempt import Worker, starting_within

USED = TokenUsage(input=50, output=100)


class LimitedWorker(Worker):
    """A worker whose attempt was admitted with 90 tokens and a place; `held` is what the counters say of it."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, count=self._count)
        self.held: Counter[str] = Counter(tpm=90, concurrency=1)
        self.answer = Answer(body=b"{}", usage=UsageReport(USED, True, True))

    async def attempt(self, body: bytes, start_within_ms: int = 60_000, remaining: int = 0) -> AttemptRun:
        """Make the attempt and return it."""
        # A window that has not ended when the attempt does: of one that is over nothing is given back.
        window = time.time_ns() // 1_000_000 // WINDOW_MS + 1
        held = [
            HeldCount(kind=LimitKind.TPM, window=window, amount=90),
            HeldCount(kind=LimitKind.CONCURRENCY, window=2 * window * WINDOW_MS // EPOCH_MS, amount=1),
        ]
        changes = {"admission": Admission(held=held), "remaining_candidates": remaining}
        run = starting_within(start_within_ms).model_copy(update=changes)
        await self.attempts.run(run, body, "_INBOX_test.1")
        return run

    async def _count(self, subject: str, amount: int) -> None:
        self.held[subject.split(".")[4]] += amount
        self.steps.append("a counter is changed")


async def test_used_tokens_replace_the_estimate_before_the_end_is_sent(tmp_path: Path) -> None:
    worker = LimitedWorker(tmp_path)
    await worker.attempt(b"{}")
    assert worker.held == {"tpm": 150, "concurrency": 0}
    assert worker.steps[-3:] == ["a counter is changed", "a counter is changed", "the caller is sent End"]


@pytest.mark.parametrize(("body", "start_within_ms"), [(b"refuse", 60_000), (b"{}", -1)], ids=["refused", "too late"])
async def test_an_attempt_that_calls_no_provider_gives_everything_back(
    tmp_path: Path, body: bytes, start_within_ms: int
) -> None:
    worker = LimitedWorker(tmp_path)
    await worker.attempt(body, start_within_ms)
    assert worker.held == {"tpm": 0, "concurrency": 0}


async def test_the_next_attempt_of_a_request_has_what_the_failed_one_held(tmp_path: Path) -> None:
    worker = LimitedWorker(tmp_path)
    run = await worker.attempt(b"break", remaining=1)
    assert [again.admission for again in worker.reroutes] == [run.admission]
    assert worker.held == {"tpm": 90 + 150, "concurrency": 1}, "what the failed one was charged counts beside it"
