"""A worker's running attempts: how many there may be, and who may cancel one or grant it credit."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.js import JetStreamContext

from keyferry.contracts import frames
from keyferry.contracts.chat import AttemptRun, Control, ControlKind
from keyferry.contracts.failure import FailureClass
from keyferry.contracts.topology import WORKER_CONTROL
from keyferry.contracts.usage import Outcome
from keyferry.runtime.bus.dispatch import ReceivedMessage
from keyferry.runtime.bus.publishing import BatchPublisher
from keyferry.runtime.process.telemetry import Telemetry
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.attempt import WorkerContext
from services.provider_worker.attempt_registry import AttemptRegistry
from services.provider_worker.handlers import AttemptHandlers
from services.provider_worker.provider_call import Phase, Progress
from services.provider_worker.spool import Spool
from tests.support.providers.attempt_runs import attempt_run

ATTEMPT = "att_test"
INBOX = "_INBOX_test.1"
OWNER, STRANGER = "acme", "other"
TEXT = b'{"choices":[]}'


class Worker:
    """A worker whose provider answers in two pieces, the second one once `go_on` is set."""

    def __init__(self, directory: Path, capacity: int = 10) -> None:
        self.spool = Spool(directory)
        self.spool.open()
        self.sent: list[frames.Frame] = []
        self.go_on = asyncio.Event()
        context = WorkerContext(
            worker_id="worker-1",
            instance_id="inst_1",
            spool=self.spool,
            publisher=BatchPublisher(self._no_bus, "attempts", producer="worker-1"),
            send=self._send,
        )
        self.attempts = AttemptRegistry(
            context, {"custom": self}, telemetry=Telemetry("provider_worker"), capacity=capacity
        )

    def prepare(self, run: AttemptRun, body: bytes) -> "TwoPieces":
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


async def control(worker: Worker, kind: ControlKind, tenant: str, credit_bytes: int = 0) -> None:
    """Handle a control message that arrived on a tenant's subject."""
    handlers = AttemptHandlers(worker.attempts, worker.spool, lambda work: None)
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
    worker = Worker(tmp_path, capacity)
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
