"""Attempts that wait before their provider is called: accepted at once, cancellable, without a place, and never too late."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from nats.js import JetStreamContext

from keyferry.contracts import frames
from keyferry.contracts.chat import AttemptRun, FailedAttempt, Reroute
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.usage import AttemptRecord
from keyferry.runtime.bus.publishing import BatchPublisher
from keyferry.runtime.tracing.telemetry import Telemetry
from services.provider_worker import attempt_registry, delayed_attempts
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.admission.limits import AdmissionLimits
from services.provider_worker.attempt import WorkerContext
from services.provider_worker.attempt_registry import AttemptRegistry
from services.provider_worker.held_limits import HeldLimits
from services.provider_worker.keys.lease_client import KeyUnavailable
from services.provider_worker.provider_call import Phase, Progress
from services.provider_worker.spool import Spool
from tests.support.providers.attempt_runs import attempt_run
from tests.support.providers.limit_counts import count_nowhere

INBOX = "_INBOX_test.1"
LONG_MS = 60_000


class Worker:
    """A worker that runs one attempt at a time, whose provider answers at once, hangs, or has no key."""

    def __init__(self, directory: Path, *, hangs: bool = False, leases: bool = True) -> None:
        self.sent: list[frames.Frame] = []
        self.refusals: list[DecisionRecord] = []
        self.reroutes: list[Reroute] = []
        self.called_at: list[float] = []
        self.hangs = hangs
        self.leases = leases
        self.spool = Spool(directory)
        self.spool.open()
        publisher = BatchPublisher(self._no_bus, "attempts", producer="worker-1")
        context = WorkerContext(
            "worker-1", "inst_1", self.spool, publisher, self.refusals.append, self._send, HeldLimits(count_nowhere)
        )
        self.attempts = AttemptRegistry(
            context, {"custom": self}, telemetry=Telemetry("provider_worker"), limits=AdmissionLimits(1, waiting=0)
        )

    def prepare(self, run: AttemptRun, body: bytes) -> "ScriptedCall":
        return ScriptedCall(self)

    @property
    def records(self) -> list[AttemptRecord]:
        return [AttemptRecord.decode(one.line) for one in self.spool.due(time.monotonic() + 1e6, at_most=100)]

    @property
    def failures(self) -> list[FailureClass]:
        return [frame.failure.failure_class for frame in self.sent if isinstance(frame, frames.RequestRefused)]

    async def _send(self, subject: str, data: bytes, reply: str) -> None:
        if subject.startswith("kf.v1.request.reroute."):
            self.reroutes.append(Reroute.split(data)[0])
        else:
            self.sent.append(frames.decode(data))

    def _no_bus(self) -> JetStreamContext:
        raise AssertionError("nothing is published here")


class ScriptedCall:
    dropped: tuple[str, ...] = ("n",)
    added: tuple[str, ...] = ()
    origin: str | None = None

    def __init__(self, worker: Worker) -> None:
        self.answer = Answer()
        self._worker = worker

    async def make(self, progress: Progress) -> None:
        if not self._worker.leases:
            progress.enter(Phase.LEASING)
            await asyncio.Event().wait()
        progress.enter(Phase.SENDING)
        self._worker.called_at.append(time.monotonic())
        if self._worker.hangs:
            await asyncio.Event().wait()
        self.answer = Answer(body=b"{}", finish_reason="stop")


def delayed(delay_ms: int, **changes: object) -> AttemptRun:
    start_by = time.time_ns() // 1_000_000 + 1000
    return attempt_run().model_copy(update={"delay_ms": delay_ms, "start_by_unix_ms": start_by, **changes})


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - counts have no event
            await asyncio.sleep(0)


async def test_it_is_accepted_at_once_and_called_after_the_delay(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    started = time.monotonic()
    await worker.attempts.run(delayed(60), b"{}", INBOX)
    first, again, end = worker.sent
    assert isinstance(first, frames.Accepted)
    assert isinstance(again, frames.Accepted)
    assert isinstance(end, frames.End)
    assert (first.attempt_id, first.dropped, again.dropped) == (again.attempt_id, [], ["n"])
    assert worker.called_at[0] - started >= 0.06
    assert len(worker.records) == 1


async def test_the_delay_is_no_latency_of_the_provider_and_comes_off_the_deadline(tmp_path: Path) -> None:
    worker = Worker(tmp_path, hangs=True)
    await worker.attempts.run(delayed(50, deadline_ms=100, remaining_candidates=1), b"{}", INBOX)
    (record,) = worker.records
    assert record.failure is not None
    assert record.failure.failure_class is FailureClass.TIMEOUT
    assert record.latency_ms <= 95, "the delay was counted as the provider's"


async def test_it_holds_no_place_while_it_waits(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    waiting = asyncio.create_task(worker.attempts.run(delayed(LONG_MS, attempt_id="att_waiting"), b"{}", INBOX))
    await until(lambda: len(worker.attempts.delayed) == 1)
    assert worker.attempts.admission.running == 0
    await worker.attempts.run(delayed(0), b"{}", INBOX)
    assert len(worker.called_at) == 1
    assert worker.attempts.cancel("att_waiting", "acme")
    await asyncio.wait_for(waiting, 30)


async def test_its_caller_cancels_it_and_nobody_else_does(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    waiting = asyncio.create_task(worker.attempts.run(delayed(LONG_MS), b"{}", INBOX))
    await until(lambda: len(worker.attempts.delayed) == 1)
    assert worker.attempts.unknown(["att_test"]) == [], "its caller would take the worker for dead"
    assert not worker.attempts.cancel("att_test", "other")
    assert worker.attempts.cancel("att_test", "acme")
    await asyncio.wait_for(waiting, 30)
    assert (worker.called_at, worker.records, worker.attempts.unknown(["att_test"])) == ([], [], ["att_test"])
    assert [one.refusal and one.refusal.failure_class for one in worker.refusals] == [FailureClass.CANCELLED]


async def test_a_worker_that_stops_says_so_to_the_callers_of_waiting_attempts(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    waiting = asyncio.create_task(worker.attempts.run(delayed(LONG_MS), b"{}", INBOX))
    await until(lambda: len(worker.attempts.delayed) == 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert worker.failures == [FailureClass.UNAVAILABLE]
    assert len(worker.attempts.delayed) == 0


async def test_a_worker_that_was_frozen_meanwhile_calls_no_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(tmp_path)
    late = iter([False, True])
    monkeypatch.setattr(attempt_registry, "is_too_late", lambda run: next(late))
    await worker.attempts.run(delayed(1), b"{}", INBOX)
    assert (worker.called_at, worker.failures) == ([], [FailureClass.UNAVAILABLE])


async def test_the_moment_to_start_by_is_later_by_the_delay_and_not_more(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    run = delayed(40)
    after = await worker.attempts.delayed.wait(run, 0)
    assert after is not None
    assert after.start_by_unix_ms == run.start_by_unix_ms + 40
    assert after.deadline_ms <= run.deadline_ms - 40


async def test_a_deadline_that_ends_during_the_delay_calls_no_provider(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    await worker.attempts.run(delayed(LONG_MS, deadline_ms=20), b"{}", INBOX)
    assert worker.called_at == []
    (end,) = [frame for frame in worker.sent if isinstance(frame, frames.End)]
    assert end.failure is not None
    assert (end.failure.failure_class, end.failure.where) == (FailureClass.EXPIRED, Where.NOT_SENT)


async def test_a_deadline_of_nothing_calls_no_provider(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    await worker.attempts.run(delayed(0, deadline_ms=0), b"{}", INBOX)
    assert worker.called_at == []


async def test_too_many_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delayed_attempts, "MAX_DELAYED", 0)
    worker = Worker(tmp_path)
    await worker.attempts.run(delayed(LONG_MS), b"{}", INBOX)
    assert worker.failures == [FailureClass.OVERLOADED]


async def test_those_of_one_tenant_do_not_take_the_retries_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delayed_attempts, "MAX_DELAYED_OF_TENANT", 2)
    worker = Worker(tmp_path)
    waiting = worker.attempts.delayed
    mallory = [
        asyncio.create_task(
            worker.attempts.run(delayed(LONG_MS, attempt_id=f"att_{number}", tenant="mallory"), b"{}", INBOX)
        )
        for number in range(3)
    ]
    await until(lambda: len(waiting) == 2 and worker.failures == [FailureClass.OVERLOADED])
    await worker.attempts.run(delayed(10, attempt_id="att_acme", tenant="acme"), b"{}", INBOX)
    assert [record.tenant for record in worker.records] == ["acme"]
    for number in range(3):
        worker.attempts.cancel(f"att_{number}", "mallory")
    await asyncio.gather(*mallory)
    assert waiting.may_wait("mallory", 0)


async def test_their_bodies_have_a_limit_too_and_one_tenant_a_quarter_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delayed_attempts, "MAX_DELAYED_BYTES", 40)
    worker = Worker(tmp_path)
    waiting = worker.attempts.delayed
    assert (waiting.may_wait("mallory", 10), waiting.may_wait("mallory", 11)) == (True, False)
    tasks = [
        asyncio.create_task(
            worker.attempts.run(delayed(LONG_MS, attempt_id=f"att_{tenant}", tenant=tenant), b"{" * 8, INBOX)
        )
        for tenant in ("t1", "t2", "t3", "t4")
    ]
    await until(lambda: len(waiting) == 4)
    assert [waiting.may_wait(tenant, 3) for tenant in ("t1", "t5")] == [False, True]
    assert not waiting.may_wait("t5", 9)
    for tenant in ("t1", "t2", "t3", "t4"):
        worker.attempts.cancel(f"att_{tenant}", tenant)
    await asyncio.gather(*tasks)
    assert (waiting.may_wait("t1", 10), worker.failures) == (True, [])


async def test_the_end_of_a_request_says_that_an_earlier_attempt_may_have_been_charged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the end of an attempt nor its refusal may look as if the request could be sent again for nothing."""
    hung = Failure(failure_class=FailureClass.TIMEOUT, message="silence", where=Where.NO_ANSWER)
    earlier = [FailedAttempt(attempt_id="att_0", provider="openai", model="m", failure=hung)]
    worker = Worker(tmp_path)
    await worker.attempts.run(delayed(LONG_MS, deadline_ms=20, failed_attempts=earlier), b"{}", INBOX)
    monkeypatch.setattr(delayed_attempts, "MAX_DELAYED", 0)
    await worker.attempts.run(delayed(LONG_MS, failed_attempts=earlier), b"{}", INBOX)
    await worker.attempts.run(delayed(LONG_MS), b"{}", INBOX)
    ends = [frame.failure for frame in worker.sent if isinstance(frame, frames.End | frames.RequestRefused)]
    assert [end is not None and end.charged_earlier for end in ends] == [True, True, False]
    acceptances = [frame for frame in worker.sent if isinstance(frame, frames.Accepted)]
    assert [accepted.earlier_attempts for accepted in acceptances] == [["att_0"]] * 2


async def test_a_provider_that_does_not_begin_in_its_part_of_the_time_is_left(tmp_path: Path) -> None:
    worker = Worker(tmp_path, hangs=True)
    run = delayed(0, deadline_ms=LONG_MS, first_answer_within_ms=30, remaining_candidates=1)
    await asyncio.wait_for(worker.attempts.run(run, b"{}", INBOX), 30)
    (again,) = worker.reroutes
    (failed,) = again.failed_attempts
    assert (failed.failure.failure_class, failed.failure.where) == (FailureClass.TIMEOUT, Where.NO_ANSWER)
    assert "while there was time for another candidate" in failed.failure.message
    assert again.deadline_ms > LONG_MS - 30_000


async def test_a_vault_that_does_not_answer_in_that_time_leads_to_another_key(tmp_path: Path) -> None:
    worker = Worker(tmp_path, leases=False)
    run = delayed(0, deadline_ms=LONG_MS, first_answer_within_ms=30, remaining_candidates=1)
    await asyncio.wait_for(worker.attempts.run(run, b"{}", INBOX), 30)
    (again,) = worker.reroutes
    (failed,) = again.failed_attempts
    assert failed.no_key
    assert failed.failure.failure_class is KeyUnavailable("").failure.failure_class


class SlowStream(ScriptedCall):
    """A stream whose second text comes after the part of the time until the first is over."""

    async def make(self, progress: Progress) -> None:
        progress.enter(Phase.SENDING)
        await progress.deliver([b'{"choices":[]}'])
        await asyncio.sleep(0.1)
        await progress.deliver([b'{"choices":[]}'])
        self.answer = Answer(finish_reason="stop")


async def test_an_answer_that_has_begun_has_the_whole_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(tmp_path)
    monkeypatch.setattr(worker, "prepare", lambda run, body: SlowStream(worker))
    run = delayed(0, stream=True, first_answer_within_ms=50, remaining_candidates=1)
    await worker.attempts.run(run, b"{}", INBOX)
    assert worker.reroutes == []
    (end,) = [frame for frame in worker.sent if isinstance(frame, frames.End)]
    assert end.failure is None
