"""An attempt that ends while its key is being leased has sent nothing, and is not accounted as if it had."""

import asyncio
import time
from functools import cached_property
from pathlib import Path

import pytest
from nats.js import JetStreamContext

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import FailureClass, Where
from keyferry.contracts.lease import LeaseKey, SealedKey
from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.usage import AttemptRecord, Outcome, UsageSource
from keyferry.runtime.bus.publishing import BatchPublisher
from keyferry.runtime.tracing.telemetry import Telemetry
from keyferry.runtime.upstream.client import Timeouts, UpstreamClient
from services.provider_worker.adapters.registry import ADAPTERS
from services.provider_worker.admission.limits import AdmissionLimits
from services.provider_worker.attempt import WorkerContext
from services.provider_worker.attempt_registry import AttemptRegistry
from services.provider_worker.held_limits import HeldLimits
from services.provider_worker.http_call import HttpProvider, refuse_lease
from services.provider_worker.keys.lease_client import KeyUnavailable, LeaseClient
from services.provider_worker.spool import Spool
from tests.support.providers.attempt_runs import attempt_run
from tests.support.providers.limit_counts import count_nowhere
from tests.support.vault.vault_double import VaultDouble, worker_side

BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
TIMEOUTS = Timeouts(connect_seconds=20, first_byte_seconds=20, between_bytes_seconds=20)


class Worker:
    """Attempts at a provider that nothing reaches, since the vault never answers."""

    def __init__(self, directory: Path) -> None:
        self.spool = Spool(directory)
        self.spool.open()
        self.asked = asyncio.Event()
        self.refusals: list[DecisionRecord] = []
        self.client = UpstreamClient()
        leases: LeaseClient = worker_side(VaultDouble(), ask=self._hangs).leases
        context = WorkerContext(
            worker_id="provider-worker-1",
            instance_id="inst_1",
            spool=self.spool,
            publisher=BatchPublisher(_no_bus, "attempts", producer="provider-worker-1"),
            record_refusal=self.refusals.append,
            send=_nowhere,
            limits=HeldLimits(count_nowhere),
        )
        self.attempts = AttemptRegistry(
            context,
            {"custom": HttpProvider(ADAPTERS["custom"], self.client, TIMEOUTS, leases.lease)},
            telemetry=Telemetry("provider_worker"),
            limits=AdmissionLimits(10),
        )

    @cached_property
    def record(self) -> AttemptRecord:
        (result,) = self.spool.due(time.monotonic() + 1e6, at_most=100)
        return AttemptRecord.decode(result.line)

    async def _hangs(self, asked: LeaseKey) -> SealedKey:
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


async def _nowhere(subject: str, data: bytes, reply: str) -> None:
    """No caller listens."""


def _no_bus() -> JetStreamContext:
    raise AssertionError("nothing is published here")


def keyed(deadline_ms: int = 60_000) -> AttemptRun:
    changes = {"key_id": "key_0001", "key_owner": "acme", "deadline_ms": deadline_ms}
    return attempt_run().model_copy(update=changes)


async def test_a_caller_that_cancels_meanwhile_is_charged_nothing(tmp_path: Path) -> None:
    worker, run = Worker(tmp_path), keyed()
    attempt = asyncio.create_task(worker.attempts.run(run, BODY, "_INBOX_test.1"))
    await worker.asked.wait()
    assert worker.attempts.cancel(run.attempt_id, run.tenant)
    await attempt
    assert worker.record.outcome is Outcome.CANCELLED
    assert worker.record.failure is not None
    assert worker.record.failure.where is Where.NOT_SENT
    assert (worker.record.usage_source, worker.record.token_usage.total) == (UsageSource.NONE, 0)


async def test_a_deadline_that_passes_meanwhile_is_not_charged_and_not_the_providers_failure(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    await worker.attempts.run(keyed(deadline_ms=50), BODY, "_INBOX_test.1")
    assert worker.record.failure is not None
    assert (worker.record.failure.failure_class, worker.record.failure.where) == (FailureClass.EXPIRED, Where.NOT_SENT)
    assert (worker.record.usage_source, worker.record.token_usage.total) == (UsageSource.NONE, 0)


async def test_a_worker_without_an_identity_names_the_missing_settings() -> None:
    with pytest.raises(KeyUnavailable, match="KEYFERRY_IDENTITY_KEY_FILE and KEYFERRY_VAULT_PUBLIC_KEY_FILE"):
        await refuse_lease(keyed(), "https://api.openai.com", BODY)
