"""An attempt starts in time or not at all, and its caller is notified before the provider is called."""

import asyncio
import errno
import os
import time
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nats.js import JetStreamContext

from keyferry.contracts import frames
from keyferry.contracts.chat import AttemptRun, Reroute
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.residency import Residency
from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.usage import AttemptRecord, Outcome, TokenUsage, UsageSource
from keyferry.runtime.bus.publishing import BatchPublisher
from keyferry.runtime.tracing.telemetry import Telemetry
from keyferry.runtime.upstream.errors import NoResponse
from services.provider_worker import attempt
from services.provider_worker.adapters.adapter import Answer, RefusedByAdapter
from services.provider_worker.adapters.usage_report import UsageReport
from services.provider_worker.admission.limits import AdmissionLimits
from services.provider_worker.attempt import WorkerContext
from services.provider_worker.attempt_registry import AttemptRegistry
from services.provider_worker.held_limits import Count, HeldLimits
from services.provider_worker.provider_call import Phase, Progress
from services.provider_worker.spool import Spool
from tests.support.providers.attempt_runs import attempt_run
from tests.support.providers.limit_counts import count_nowhere

ORIGIN = "https://llm.example:443"


class RecordingSpool(Spool):
    """A real spool that records when it was written."""

    def __init__(self, directory: Path, steps: list[str]) -> None:
        super().__init__(directory)
        self._steps = steps

    def record_intent(self, record: AttemptRecord) -> None:
        super().record_intent(record)
        self._steps.append("the intent is on disk")

    def record_result(self, record: AttemptRecord, now: float) -> bytes:
        line = super().record_result(record, now)
        self._steps.append("the result is on disk")
        return line


class RecordingPublisher(BatchPublisher):
    """A publisher without a bus that keeps what it is given."""

    def __init__(self) -> None:
        super().__init__(self._no_bus, "attempts", producer="worker-1")
        self.lines: list[bytes] = []

    def put(self, record: bytes, key: str | None = None) -> None:
        self.lines.append(record)

    def _no_bus(self) -> JetStreamContext:
        raise AssertionError("nothing is published here")


class Worker:
    """A worker's attempts with a real spool, a connection that writes in a task of its own, and itself as the provider."""

    def __init__(self, directory: Path, frozen_seconds: float = 0.0, count: Count = count_nowhere) -> None:
        self.steps: list[str] = []
        self.publisher = RecordingPublisher()
        self.reroutes: list[Reroute] = []
        """What was done, in order."""
        self.spool = RecordingSpool(directory, self.steps)
        self.spool.open()
        self.written: list[frames.Frame] = []
        self.answer = Answer(body=b"{}")
        self.refusals: list[DecisionRecord] = []
        self.frames_before_the_call: list[frames.Frame] | None = None
        self._frozen_seconds = frozen_seconds
        context = WorkerContext(
            worker_id="worker-1",
            instance_id="inst_1",
            spool=self.spool,
            publisher=self.publisher,
            record_refusal=self.refusals.append,
            send=self._send,
            limits=HeldLimits(count),
        )
        self.attempts = AttemptRegistry(
            context,
            {"custom": self},
            telemetry=Telemetry("provider_worker"),
            limits=AdmissionLimits(10),
        )

    @property
    def records(self) -> list[AttemptRecord]:
        return [AttemptRecord.decode(one.line) for one in self.spool.due(time.monotonic() + 1e6, at_most=100)]

    def prepare(self, run: AttemptRun, body: bytes) -> "CountingCall":
        if body == b"refuse":
            raise RefusedByAdapter(Failure(failure_class=FailureClass.BAD_REQUEST, message="no", where=Where.NOT_SENT))
        return CountingCall(self, broken=body == b"break")

    async def _send(self, subject: str, data: bytes, reply: str) -> None:
        if subject.startswith("kf.v1.request.reroute."):
            self.steps.append("the routers are asked for another attempt")
            self.reroutes.append(Reroute.split(data)[0])
            return
        self.steps.append(f"the caller is sent {type(frames.decode(data)).__name__}")
        asyncio.get_running_loop().call_soon(self.written.append, frames.decode(data))
        if self._frozen_seconds:
            await asyncio.sleep(self._frozen_seconds)


class CountingCall:
    """A call that records which frames had been written when it was made."""

    added: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    def __init__(self, worker: Worker, *, broken: bool = False) -> None:
        self._broken = broken
        self.answer = Answer()
        self.origin: str | None = None
        self._worker = worker

    async def make(self, progress: Progress) -> None:
        progress.enter(Phase.SENDING)
        self._worker.steps.append("the provider is called")
        if self._broken:
            self.answer = Answer(usage=self._worker.answer.usage)
            raise NoResponse(ORIGIN, "reset")
        self._worker.frames_before_the_call = list(self._worker.written)
        self.origin = ORIGIN
        self.answer = self._worker.answer


def starting_within(milliseconds: int) -> AttemptRun:
    now_ms = time.time_ns() // 1_000_000
    return attempt_run().model_copy(update={"start_by_unix_ms": now_ms + milliseconds})


async def test_the_acceptance_is_written_before_the_provider_is_called(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    await worker.attempts.run(starting_within(60_000), b"{}", "_INBOX_test.1")
    assert worker.frames_before_the_call is not None
    assert [type(frame) for frame in worker.frames_before_the_call] == [frames.Accepted]
    assert [(record.outcome, record.origin) for record in worker.records] == [(Outcome.COMPLETED, ORIGIN)]


async def test_the_intent_is_on_disk_before_the_call_and_the_result_before_the_caller_is_informed(
    tmp_path: Path,
) -> None:
    worker = Worker(tmp_path)
    await worker.attempts.run(starting_within(60_000), b"{}", "_INBOX_test.1")
    assert worker.steps == [
        "the intent is on disk",
        "the caller is sent Accepted",
        "the provider is called",
        "the result is on disk",
        "the caller is sent End",
    ]


async def test_a_failed_result_is_on_disk_before_another_attempt_is_asked_for(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    run = starting_within(60_000).model_copy(update={"remaining_candidates": 1})
    await worker.attempts.run(run, b"break", "_INBOX_test.1")
    assert worker.steps == [
        "the intent is on disk",
        "the caller is sent Accepted",
        "the provider is called",
        "the result is on disk",
        "the routers are asked for another attempt",
    ]


async def test_without_an_intent_on_disk_no_provider_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(tmp_path)

    def fail(descriptor: int, data: bytes) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "write", fail)
    await worker.attempts.run(starting_within(60_000), b"{}", "_INBOX_test.1")
    assert worker.steps == ["the caller is sent RequestRefused"]


async def test_a_refused_attempt_is_accepted_first_so_that_its_end_is_believed(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    await worker.attempts.run(starting_within(60_000), b"refuse", "_INBOX_test.1")
    await asyncio.sleep(0)
    assert [type(frame) for frame in worker.written] == [frames.Accepted, frames.End]
    assert worker.frames_before_the_call is None
    (record,) = worker.records
    assert record.failure is not None
    assert record.failure.failure_class is FailureClass.BAD_REQUEST


async def test_what_would_be_processed_where_it_must_not_be_is_not_called(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    outside = Residency(eu_only=True, eu=False)
    run = starting_within(60_000).model_copy(update={"residency": outside})
    await worker.attempts.run(run, b"{}", "_INBOX_test.1")
    assert "the provider is called" not in worker.steps
    (record,) = worker.records
    assert record.failure is not None
    assert (record.failure.failure_class, record.failure.where) == (FailureClass.POLICY, Where.NOT_SENT)


async def test_a_worker_that_froze_after_accepting_does_not_call_the_provider(tmp_path: Path) -> None:
    worker = Worker(tmp_path, frozen_seconds=0.2)
    await worker.attempts.run(starting_within(100), b"{}", "_INBOX_test.1")
    assert worker.frames_before_the_call is None
    (record,) = worker.records
    assert record.outcome is Outcome.FAILED
    assert record.failure is not None
    assert (record.failure.failure_class, record.failure.where) == (FailureClass.UNAVAILABLE, Where.NOT_SENT)
    assert record.token_usage.total == 0


@pytest.mark.parametrize("late_by_ms", [1, 5000])
async def test_an_attempt_that_comes_too_late_gets_no_reply(tmp_path: Path, late_by_ms: int) -> None:
    worker = Worker(tmp_path)
    await worker.attempts.run(starting_within(-late_by_ms), b"{}", "_INBOX_test.1")
    assert worker.frames_before_the_call is None
    assert worker.written == []
    assert worker.records == []


class AnsweringCall(CountingCall):
    """A call whose answer is given, whatever it holds, with what was delivered of it before."""

    def __init__(self, worker: Worker, answer: Answer, delivered: list[bytes]) -> None:
        super().__init__(worker)
        self._given = answer
        self._delivered = delivered

    async def make(self, progress: Progress) -> None:
        progress.enter(Phase.SENDING)
        self.origin = ORIGIN
        await progress.deliver(self._delivered)
        self.answer = self._given


class AnsweringWorker(Worker):
    """A worker whose provider gives one answer."""

    def __init__(self, directory: Path, answer: Answer, delivered: list[bytes] | None = None) -> None:
        super().__init__(directory)
        self._given = answer
        self._delivered = delivered or []

    def prepare(self, run: AttemptRun, body: bytes) -> AnsweringCall:
        return AnsweringCall(self, self._given, self._delivered)


NASTY = "a\ud800b\x00c\u202ed"
PAID = TokenUsage(input=5, output=3)


async def answered(worker: Worker, **changes: object) -> tuple[frames.End, AttemptRecord]:
    """How the caller and the accounts see one attempt."""
    run = starting_within(60_000).model_copy(update={"credit_bytes": 100_000, **changes})
    await worker.attempts.run(run, b"{}", "_INBOX_test.1")
    await asyncio.sleep(0)
    end = worker.written[-1]
    assert isinstance(end, frames.End)
    (record,) = worker.records
    return end, record


@pytest.mark.parametrize("name", ["model_served", "service_tier", "finish_reason"])
async def test_what_a_provider_reports_is_recorded_in_clean_text(tmp_path: Path, name: str) -> None:
    reported: dict[str, Any] = {name: NASTY}
    answer = Answer(body=b"{}", usage=UsageReport(PAID, True, True), **reported)
    end, record = await answered(AnsweringWorker(tmp_path, answer))
    assert (end.outcome, end.payload) == (Outcome.COMPLETED, b"{}")
    assert (getattr(record, name), record.token_usage, record.unkept) == ("a\ufffdb\ufffdc\ufffdd", PAID, [])


async def test_a_record_that_cannot_be_written_is_reduced_and_the_caller_has_the_answer(tmp_path: Path) -> None:
    answer = Answer(body=b"{}", usage=UsageReport(PAID, True, True))
    object.__setattr__(answer, "model_served", NASTY)  # past the place that cleans it
    end, record = await answered(AnsweringWorker(tmp_path, answer))
    assert (end.outcome, end.payload) == (Outcome.COMPLETED, b"{}")
    assert (record.outcome, record.token_usage, record.usage_source) == (Outcome.COMPLETED, PAID, UsageSource.REPORTED)
    assert record.model_served is None
    assert "model_served" in record.unkept


@pytest.mark.parametrize("cost", ["1e40", "NaN", "0.1234567890123", "-Infinity"])
async def test_a_cost_that_no_record_can_hold_is_left_out(tmp_path: Path, cost: str) -> None:
    answer = Answer(body=b"{}", usage=UsageReport(PAID, True, True), reported_cost_usd=Decimal(cost))
    _, record = await answered(AnsweringWorker(tmp_path, answer))
    assert record.reported_cost_usd is None


async def test_the_result_is_handed_to_the_publisher_as_it_is_on_disk(tmp_path: Path) -> None:
    """And does not wait there until the spool resends it."""
    worker = Worker(tmp_path)
    _, record = await answered(worker)
    assert worker.publisher.lines == [record.encode()]


BROKEN = Failure(failure_class=FailureClass.SERVER, message="the model crashed", where=Where.MID_STREAM)


async def test_after_the_first_delivered_text_no_other_attempt_is_asked_for(tmp_path: Path) -> None:
    """Another provider's answer would continue a sentence that it did not begin."""
    worker = AnsweringWorker(tmp_path, Answer(failure=BROKEN), delivered=[b'{"choices":[]}'])
    end, record = await answered(worker, stream=True, remaining_candidates=3)
    assert worker.reroutes == []
    assert (end.outcome, record.outcome) == (Outcome.FAILED, Outcome.FAILED)


async def test_a_failed_attempt_shows_nothing_of_its_answer(tmp_path: Path) -> None:
    """Half an answer must not look like one."""
    end, record = await answered(AnsweringWorker(tmp_path, Answer(body=b'{"half', failure=BROKEN)))
    assert (end.outcome, end.payload, record.outcome) == (Outcome.FAILED, b"", Outcome.FAILED)


async def test_the_next_attempt_has_what_is_left_of_the_requests_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter(range(0, 1000, 7))
    clock = SimpleNamespace(monotonic=lambda: float(next(seconds)), time_ns=time.time_ns)
    monkeypatch.setattr(attempt, "time", clock)
    worker = Worker(tmp_path)
    run = starting_within(60_000).model_copy(update={"remaining_candidates": 1, "deadline_ms": 60_000})
    await worker.attempts.run(run, b"break", "_INBOX_test.1")
    (record,) = worker.records
    assert record.latency_ms >= 7000
    assert [again.deadline_ms for again in worker.reroutes] == [60_000 - record.latency_ms]
