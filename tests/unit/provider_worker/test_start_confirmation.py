"""An attempt whose caller wants to confirm its start calls no provider before that, however late the confirmation is."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from keyferry.contracts import frames
from keyferry.contracts.failure import FailureClass, Where
from keyferry.contracts.usage import Outcome
from services.provider_worker import attempt as attempts
from tests.support.waiting import eventually
from tests.unit.provider_worker.test_attempt import Worker, starting_within


def begun(worker: Worker, start_within_ms: int = 60_000) -> tuple["asyncio.Task[None]", str, str]:
    """Begin an attempt. Return its task, its id and its tenant."""
    run = starting_within(start_within_ms).model_copy(update={"confirm_start": True})
    return asyncio.ensure_future(worker.attempts.run(run, b"{}", "_INBOX_test.1")), run.attempt_id, run.tenant


async def accepted(worker: Worker) -> frames.Accepted:
    """Wait for the acceptance."""
    await eventually("it is accepted", lambda: worker.written)
    (frame,) = worker.written
    assert isinstance(frame, frames.Accepted)
    return frame


async def test_the_provider_is_called_once_the_caller_has_confirmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(tmp_path)
    task, attempt_id, tenant = begun(worker)
    assert (await accepted(worker)).awaits_start
    worker.attempts.confirm(attempt_id, "somebody-else")
    worker.attempts.confirm("att_unknown", tenant)
    await asyncio.sleep(0.02)
    assert "the provider is called" not in worker.steps
    # It may be late by now: the caller takes no other attempt.
    monkeypatch.setattr(attempts, "is_too_late", lambda run: True)
    worker.attempts.confirm(attempt_id, tenant)
    await task
    assert [record.outcome for record in worker.records] == [Outcome.COMPLETED]


async def test_without_a_confirmation_no_provider_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_CONFIRMATION_SECONDS", 0.05)
    worker = Worker(tmp_path)
    task, _, _ = begun(worker)
    await task
    assert "the provider is called" not in worker.steps
    (record,) = worker.records
    assert record.failure is not None
    found: Any = (record.outcome, record.failure.failure_class, record.failure.where, record.token_usage.total)
    assert found == (Outcome.FAILED, FailureClass.UNAVAILABLE, Where.NOT_SENT, 0)


async def test_a_caller_that_has_confirmed_another_attempt_cancels_this_one(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    task, attempt_id, tenant = begun(worker)
    await accepted(worker)
    assert worker.attempts.cancel(attempt_id, tenant)
    await task
    assert "the provider is called" not in worker.steps
    assert [record.outcome for record in worker.records] == [Outcome.CANCELLED]


async def test_a_refused_attempt_awaits_nothing(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    run = starting_within(60_000).model_copy(update={"confirm_start": True})
    await worker.attempts.run(run, b"refuse", "_INBOX_test.1")
    await asyncio.sleep(0)
    first, last = worker.written
    assert isinstance(first, frames.Accepted)
    assert not first.awaits_start
    assert isinstance(last, frames.End)
