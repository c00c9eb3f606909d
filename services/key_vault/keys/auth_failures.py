"""Hears of calls that a provider refused for their key, and has those keys tested at once.

A call condemns no key: a gateway in between, a clock or a revoked version may be at fault. The test decides.
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
    """Hears of `attempt.finished`. `clock` gives the time in UTC."""

    def __init__(self, store: KeyStore, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    async def on_attempts(self, messages: list[Msg]) -> None:
        """Take in packs of attempts. Raises DatabaseUnavailable, so that they come again; what cannot be read is passed over."""
        latest: dict[tuple[str, str], datetime] = {}
        for message in messages:
            for owner, key_id, at in find_auth_failures(message.subject, message.data):
                latest[owner, key_id] = max(at, latest.get((owner, key_id), at))
        for (owner, key_id), at in latest.items():
            await self._doubt(owner, key_id, at)

    async def _doubt(self, owner: str, key_id: str, refused_at: datetime) -> None:
        key = await self._store.get(owner, key_id)
        doubted = None if key is None else lifecycle.refused_upstream(key, refused_at, self._clock())
        if doubted is not None and doubted.next_test_at is not None:
            await self._store.schedule(doubted, doubted.next_test_at)


def find_auth_failures(subject: str, data: bytes) -> Iterator[tuple[str, str, datetime]]:
    """Owner, id and moment of each key that was refused in a pack. A worker accounts for itself only."""
    producer = subject.rpartition(".")[2]
    try:
        _, lines = split_batch(data)
    except MalformedMessage as error:
        _log.warning("passed over a pack", extra={"producer": producer, "reason": str(error)})
        return
    for line in lines:
        # Nearly all attempts went well: only what may be a refusal is worth reading whole.
        record = _read(line) if _AUTH in line else None
        if record is None or record.worker_id != producer or record.key_id is None or record.failure is None:
            continue
        if record.failure.failure_class is FailureClass.AUTH and record.started_at.tzinfo is not None:
            owner = PLATFORM_TENANT if record.key_source is KeySource.PLATFORM else record.tenant
            yield owner, record.key_id, record.started_at + timedelta(milliseconds=record.latency_ms)


def _read(line: bytes) -> AttemptRecord | None:
    try:
        return AttemptRecord.decode(line)
    except MalformedMessage:
        return None  # the ledger hears the same stream and sets it aside
