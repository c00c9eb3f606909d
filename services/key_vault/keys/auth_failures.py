"""Tests keys at once after a call failed with an authentication error.

A failed call alone does not make a key invalid: a gateway in between, a clock or a revoked version may be at fault. The test
decides.
"""

import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from nats.aio.msg import Msg

from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.failure import FailureClass
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.usage import AttemptRecord, KeySource
from keyferry.runtime.bus.publishing import split_batch
from services.key_vault.keys import lifecycle
from services.key_vault.keys.store import KeyStore

_log = logging.getLogger(__name__)

_AUTH = FailureClass.AUTH.value.encode()


class AuthFailures:
    """Handles `attempt.finished`. `clock` returns the time in UTC."""

    def __init__(self, keys: KeyStore, clock: Callable[[], datetime]) -> None:
        self._keys = keys
        self._clock = clock

    async def on_attempts(self, messages: list[Msg]) -> None:
        """Process batches of attempts, skipping malformed ones. Raises DatabaseUnavailable, so that they are redelivered."""
        latest: dict[tuple[str, str], datetime] = {}
        for message in messages:
            for owner, key_id, at in find_auth_failures(message.subject, message.data):
                latest[owner, key_id] = max(at, latest.get((owner, key_id), at))
        for (owner, key_id), at in latest.items():
            await self._schedule_test(owner, key_id, at)

    async def _schedule_test(self, owner: str, key_id: str, failed_at: datetime) -> None:
        key = await self._keys.get(owner, key_id)
        scheduled = None if key is None else lifecycle.schedule_after_auth_failure(key, failed_at, self._clock())
        if scheduled is not None and scheduled.next_test_at is not None:
            await self._keys.schedule_test(scheduled, scheduled.next_test_at)


def find_auth_failures(subject: str, data: bytes) -> Iterator[tuple[str, str, datetime]]:
    """Yield owner, key id and time of each auth failure in a batch. A worker reports its own attempts only."""
    producer = subject.rpartition(".")[2]
    try:
        _, lines = split_batch(data)
    except MalformedMessage as error:
        _log.warning("skipped a malformed batch of attempts", extra={"producer": producer, "reason": str(error)})
        return
    for line in lines:
        # Nearly all attempts succeed: parse only lines that may be a failure.
        record = _decode(line) if _AUTH in line else None
        if record is None or record.worker_id != producer or record.key_id is None or record.failure is None:
            continue
        if record.failure.failure_class is FailureClass.AUTH and record.started_at.tzinfo is not None:
            owner = PLATFORM_TENANT if record.key_source is KeySource.PLATFORM else record.tenant
            yield owner, record.key_id, record.started_at + timedelta(milliseconds=record.latency_ms)


def _decode(line: bytes) -> AttemptRecord | None:
    try:
        return AttemptRecord.decode(line)
    except MalformedMessage:
        return None  # the ledger consumes the same stream and keeps it as a dead letter
