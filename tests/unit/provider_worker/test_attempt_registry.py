"""A worker's running attempts: how many there may be, and who may cancel one or grant it credit."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.js import JetStreamContext

from keyferry.contracts import frames
from keyferry.contracts.chat import AttemptRun, Control, ControlKind, Reroute
from keyferry.contracts.failure import FailureClass
from keyferry.contracts.route import DecisionRecord, DecisionSummary
from keyferry.contracts.topology import WORKER_CONTROL
from keyferry.contracts.usage import Outcome
from keyferry.runtime.bus.dispatch import ReceivedMessage
from keyferry.runtime.bus.publishing import BatchPublisher
from keyferry.runtime.tracing.telemetry import Telemetry
from services.provider_worker import attempt_registry
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.admission.limits import AdmissionLimits
from services.provider_worker.attempt import WorkerContext, unix_ms
from services.provider_worker.attempt_registry import AttemptRegistry
from services.provider_worker.handlers import AttemptHandlers
from services.provider_worker.held_limits import HeldLimits
from services.provider_worker.provider_call import Phase, Progress
from services.provider_worker.spool import Spool
from services.provider_worker.watermarks import Watermarks
from tests.support.providers.attempt_runs import attempt_run
from tests.support.providers.limit_counts import count_nowhere

ATTEMPT = "att_test"
INBOX = "_INBOX_test.1"
OWNER, STRANGER = "acme", "other"
TEXT = b'{"choices":[]}'


class Worker:
    """A worker whose provider answers in two pieces, the second one once `go_on` is set."""

    def __init__(self, directory: Path, limits: AdmissionLimits | None = None) -> None:
        self.spool = Spool(directory)
        self.spool.open()
        self.sent: list[frames.Frame] = []
        self.refusals: list[DecisionRecord] = []
        self.reroutes: list[Reroute] = []
        self.prepared: list[AttemptRun] = []
        self.go_on = asyncio.Event()
        context = WorkerContext(
            worker_id="worker-1",
            instance_id="inst_1",
            spool=self.spool,
            publisher=BatchPublisher(self._no_bus, "attempts", producer="worker-1"),
            record_refusal=self.refusals.append,
            send=self._send,
            limits=HeldLimits(count_nowhere),
        )
        self.attempts = AttemptRegistry(
            context, {"custom": self}, telemetry=Telemetry("provider_worker"), limits=limits or AdmissionLimits(10)
        )

    def prepare(self, run: AttemptRun, body: bytes) -> "TwoPieces":
        self.prepared.append(run)
        return TwoPieces(self.go_on)

    @asynccontextmanager
    async def running(self, **changes: object) -> AsyncIterator["asyncio.Task[None]"]:
        """Run an attempt of the tenant `acme` up to its first piece; the block must let it end."""
        start_by = time.time_ns() // 1_000_000 + 60_000
        run = attempt_run(stream=True).model_copy(update={"start_by_unix_ms": start_by, **changes})
        task = asyncio.create_task(self.attempts.run(run, b"{}", INBOX))
        while not any(isinstance(frame, frames.Data) for frame in self.sent):  # noqa: ASYNC110 - a list has no event
            await asyncio.sleep(0)
        yield task
        await asyncio.wait_for(task, 30)
        self.spool.close()

    @property
    def end(self) -> frames.End:
        assert isinstance(self.sent[-1], frames.End)
        return self.sent[-1]

    async def _send(self, subject: str, data: bytes, reply: str) -> None:
        if subject.startswith("kf.v1.request.reroute."):
            self.reroutes.append(Reroute.split(data)[0])
            return
        self.sent.append(frames.decode(data))

    def _no_bus(self) -> JetStreamContext:
        raise AssertionError("nothing is published here")


class TwoPieces:
    added: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    origin: str | None = None

    def __init__(self, go_on: asyncio.Event) -> None:
        self.answer = Answer()
        self._go_on = go_on

    async def make(self, progress: Progress) -> None:
        progress.enter(Phase.SENDING)
        await progress.deliver([TEXT])
        await self._go_on.wait()
        await progress.deliver([TEXT] * 4)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - counts have no event
            await asyncio.sleep(0)


async def control(worker: Worker, kind: ControlKind, tenant: str, credit_bytes: int = 0) -> None:
    """Handle a control message that arrived on a tenant's subject."""
    handlers = AttemptHandlers(worker.attempts, worker.spool, lambda work: None, Watermarks(unix_ms))
    message = Control(kind=kind, attempt_id=ATTEMPT, credit_bytes=credit_bytes)
    subject = WORKER_CONTROL.format(instance="inst_1", tenant=tenant)
    await handlers.on_control(ReceivedMessage(message, b"", subject, "", 0))


async def test_only_its_own_tenant_cancels_an_attempt(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    async with worker.running() as task:
        assert not worker.attempts.cancel(ATTEMPT, STRANGER)
        await control(worker, ControlKind.CANCEL, STRANGER)
        await asyncio.sleep(0)
        assert not task.done()
        worker.go_on.set()
    assert (worker.end.outcome, worker.end.failure) == (Outcome.COMPLETED, None)


async def test_its_own_tenant_cancels_an_attempt(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    async with worker.running():
        await control(worker, ControlKind.CANCEL, OWNER)
    assert worker.end.outcome is Outcome.CANCELLED


async def test_an_attempt_that_is_not_running_cannot_be_cancelled(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    assert not worker.attempts.cancel(ATTEMPT, OWNER)


async def test_only_its_own_tenant_grants_an_attempt_credit(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    async with worker.running(credit_bytes=1) as task:
        worker.go_on.set()
        await control(worker, ControlKind.CREDIT, STRANGER, credit_bytes=10_000)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not task.done()
        assert len([frame for frame in worker.sent if isinstance(frame, frames.Data)]) == 1
        await control(worker, ControlKind.CREDIT, OWNER, credit_bytes=10_000)
    assert worker.end.outcome is Outcome.COMPLETED


@pytest.mark.parametrize("capacity", [1, 2])
async def test_a_full_worker_refuses_another_attempt(tmp_path: Path, capacity: int) -> None:
    worker = Worker(tmp_path, AdmissionLimits(capacity, waiting=0))
    async with worker.running():
        again = attempt_run(stream=True).model_copy(update={"attempt_id": "att_again"})
        second = asyncio.create_task(worker.attempts.run(again, b"{}", INBOX))
        await asyncio.sleep(0)
        refused = [frame for frame in worker.sent if isinstance(frame, frames.RequestRefused)]
        assert len(worker.attempts) == (2 if capacity == 2 else 1)
        assert [frame.failure.failure_class for frame in refused] == [FailureClass.OVERLOADED] * (2 - capacity)
        worker.go_on.set()
        await second
    assert worker.attempts.unknown([ATTEMPT, "att_again"]) == [ATTEMPT, "att_again"]
    records = worker.spool.due(time.monotonic() + 1e6, at_most=10)
    assert len(records) == capacity, "what was refused was not called and is not accounted for"


async def test_a_refusal_is_recorded_with_its_reason_and_answered_with_the_decision(tmp_path: Path) -> None:
    """The ledger gets no row of an attempt that called nobody: without this nothing would say why its request failed."""
    worker = Worker(tmp_path, AdmissionLimits(1, waiting=0))
    decided = DecisionSummary(request_id="req_test", decision_id="dec_test", model_asked="m")
    async with worker.running():
        await worker.attempts.run(another(attempt_number=2, decision=decided), b"{}", INBOX)
        worker.go_on.set()
    (refused,) = [frame for frame in worker.sent if isinstance(frame, frames.RequestRefused)]
    (record,) = worker.refusals
    assert (refused.decision, refused.decision_id) == (decided, "dec_test")
    assert (record.refusal, record.router, record.attempt_number) == (refused.failure, "worker-1", 3)
    assert record.attempt_refused
    assert record.decision_id != "dec_test"


async def test_an_attempt_of_an_unknown_provider_is_recorded(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    await worker.attempts.run(another(provider="elsewhere"), b"{}", INBOX)
    (record,) = worker.refusals
    assert record.refusal is not None
    assert record.refusal.failure_class is FailureClass.UNAVAILABLE


ONE_OF_TWO = AdmissionLimits(2, waiting=0, provider_share_percent=1, tenant_share_percent=100)


def another(**changes: object) -> AttemptRun:
    """Return an attempt beside the one that runs; it has another candidate, and a second to start in."""
    start_by = time.time_ns() // 1_000_000 + 1000
    values = {"attempt_id": "att_again", "start_by_unix_ms": start_by, "remaining_candidates": 1, **changes}
    return attempt_run(stream=True).model_copy(update=values)


def other_server(worker: Worker) -> "asyncio.Task[None]":
    """Start an attempt at another server, so that none is alone."""
    run = another(attempt_id="att_other", base_url="http://127.0.0.1:10/v1")
    return asyncio.create_task(worker.attempts.run(run, b"{}", INBOX))


async def test_an_attempt_waits_until_another_has_ended(tmp_path: Path) -> None:
    worker = Worker(tmp_path, AdmissionLimits(1))
    async with worker.running():
        second = asyncio.create_task(worker.attempts.run(another(), b"{}", INBOX))
        await until(lambda: worker.attempts.admission.waiting == 1)
        assert len(worker.attempts) == 1
        worker.go_on.set()
        await asyncio.wait_for(second, 30)
    ended = [frame.attempt_id for frame in worker.sent if isinstance(frame, frames.End)]
    assert ended == [ATTEMPT, "att_again"]
    assert (worker.attempts.admission.running, worker.attempts.admission.waiting) == (0, 0)


async def test_the_time_that_an_attempt_waited_is_taken_from_its_deadline(tmp_path: Path) -> None:
    worker = Worker(tmp_path, AdmissionLimits(1))
    async with worker.running():
        second = asyncio.create_task(worker.attempts.run(another(deadline_ms=60_000), b"{}", INBOX))
        await until(lambda: worker.attempts.admission.waiting == 1)
        await asyncio.sleep(0.01)
        worker.go_on.set()
        await asyncio.wait_for(second, 30)
    assert worker.prepared[-1].deadline_ms in range(1, 59_995)


async def test_an_attempt_that_waits_in_vain_is_refused_before_its_caller_sends_it_again(tmp_path: Path) -> None:
    worker = Worker(tmp_path, AdmissionLimits(1, wait_seconds=0.02))
    async with worker.running():
        run = another()
        await worker.attempts.run(run, b"{}", INBOX)
        assert time.time_ns() // 1_000_000 < run.start_by_unix_ms + 200
        assert isinstance(refused := worker.sent[-1], frames.RequestRefused)
        assert refused.failure.failure_class is FailureClass.OVERLOADED
        assert refused.failure.retry_after_ms
        worker.go_on.set()
    assert len(worker.prepared) == 1


async def test_an_attempt_that_waited_in_a_frozen_process_is_neither_made_nor_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(tmp_path, AdmissionLimits(1))
    async with worker.running():
        second = asyncio.create_task(worker.attempts.run(another(), b"{}", INBOX))
        await until(lambda: worker.attempts.admission.waiting == 1)
        sent = len(worker.sent)
        monkeypatch.setattr(attempt_registry, "is_too_late", lambda run: True)
        worker.go_on.set()
        await asyncio.wait_for(second, 30)
    assert [frame for frame in worker.sent[sent:] if not isinstance(frame, frames.Data | frames.End)] == []
    assert len(worker.prepared) == 1
    assert worker.attempts.admission.running == 0


async def test_a_request_for_a_provider_with_its_share_is_handed_back_once(tmp_path: Path) -> None:
    worker = Worker(tmp_path, ONE_OF_TWO)
    async with worker.running():
        other = other_server(worker)
        await until(lambda: len(worker.attempts) == 2)
        run = another()
        await worker.attempts.run(run, b"{}", INBOX)
        (again,) = worker.reroutes
        assert (again.start_by_unix_ms, again.model) == (run.start_by_unix_ms, run.model_asked)
        assert [one.failure.failure_class for one in again.failed_attempts] == [FailureClass.OVERLOADED]
        assert [one.refused for one in again.failed_attempts] == [True]
        assert worker.refusals == [], "the router that plans it again records the decision"
        await worker.attempts.run(another(failed_attempts=again.failed_attempts), b"{}", INBOX)
        assert isinstance(worker.sent[-1], frames.RequestRefused)
        await worker.attempts.run(another(remaining_candidates=0), b"{}", INBOX)
        assert isinstance(worker.sent[-1], frames.RequestRefused)
        assert len(worker.reroutes) == 1
        worker.go_on.set()
        await other


async def test_a_tenant_with_its_share_gets_a_limit_and_is_not_handed_back(tmp_path: Path) -> None:
    worker = Worker(tmp_path, AdmissionLimits(2, waiting=0, provider_share_percent=100, tenant_share_percent=1))
    async with worker.running():
        other = asyncio.create_task(worker.attempts.run(another(attempt_id="x", tenant="calm"), b"{}", INBOX))
        await until(lambda: len(worker.attempts) == 2)
        await worker.attempts.run(another(), b"{}", INBOX)
        assert isinstance(refused := worker.sent[-1], frames.RequestRefused)
        assert refused.failure.failure_class is FailureClass.LIMIT
        assert not worker.reroutes
        worker.go_on.set()
        await other


async def test_a_cancelled_wait_gives_its_place_in_the_queue_back(tmp_path: Path) -> None:
    """As when the process is stopped before it was its turn."""
    worker = Worker(tmp_path, AdmissionLimits(1))
    async with worker.running():
        second = asyncio.create_task(worker.attempts.run(another(), b"{}", INBOX))
        await until(lambda: worker.attempts.admission.waiting == 1)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert worker.attempts.admission.waiting == 0
        worker.go_on.set()
    assert worker.attempts.admission.running == 0


async def test_its_own_tenant_cancels_a_waiting_attempt(tmp_path: Path) -> None:
    """One that was accepted when its delay began: its caller knows of it."""
    worker = Worker(tmp_path, AdmissionLimits(1))
    async with worker.running():
        second = asyncio.create_task(worker.attempts.run(another(), b"{}", INBOX))
        await until(lambda: worker.attempts.admission.waiting == 1)
        assert worker.attempts.unknown(["att_again"]) == []
        assert not worker.attempts.cancel("att_again", STRANGER)
        assert worker.attempts.cancel("att_again", OWNER)
        await asyncio.wait_for(second, 30)
        assert worker.attempts.unknown(["att_again"]) == ["att_again"]
        assert (worker.attempts.admission.running, worker.attempts.admission.waiting) == (1, 0)
        worker.go_on.set()
    assert len(worker.prepared) == 1
    assert [one.refusal and one.refusal.failure_class for one in worker.refusals] == [FailureClass.CANCELLED]
