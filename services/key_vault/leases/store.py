"""Leases in PostgreSQL: check the key, take the request's nonce, write the audit event.

Attempts wait for this, so it bypasses SQLAlchemy's statements for the driver's prepared ones. One statement, which is its own
transaction, finds the key, checks that it may be leased, and writes everything. What it skips takes the slow path: a read to
find out why, and a write where the key may be leased after all. Leases that are requested while others are being written are
written in one batch, so that they share a commit.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime
from secrets import token_hex
from typing import cast

import psycopg
from psycopg.rows import DictRow, dict_row

from keyferry.contracts.key import USABLE, ProviderKey
from keyferry.contracts.topology import AUDIT_RECORDED, Role
from keyferry.runtime.database.errors import DatabaseUnavailable, translate_database_errors
from services.key_vault.database.tables import DataKeyRow, EncryptedRecord, key_of_values
from services.key_vault.database.transaction import Act, Database
from services.key_vault.leases.sql import LEASE, READ, READ_LOCKING, WRITE

_AUDITED = AUDIT_RECORDED.format(service=Role.KEY_VAULT.value)
_WRITERS = 2
"""While one batch waits for the disk, the next one is read."""
_BATCH_SIZE = 32
_VERSION = token_hex(16)
"""Placeholder in an act for the key version, which only the statement knows."""
_Cursor = psycopg.AsyncCursor[DictRow]


class Replayed(Exception):
    """A lease request whose nonce was used before."""


@dataclass(frozen=True, slots=True)
class Nonce:
    """Makes a lease request good once. After `not_after` the request is rejected for its age, so the nonce may be deleted."""

    value: str
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Leased:
    """A key whose lease is committed. `data_key` is the one that encrypts `record`."""

    key: ProviderKey
    record: EncryptedRecord
    data_key: DataKeyRow


@dataclass(frozen=True, slots=True)
class LeaseCriteria:
    """What `check` accepts, in terms that the statement can test: a usable key of this provider and origin at this time."""

    provider: str
    origin: str
    now: datetime


@dataclass(slots=True, eq=False)
class _PendingLease:
    """A lease that a caller waits for."""

    owner: str
    key_id: str
    act: Act
    nonce: Nonce
    check: Callable[[ProviderKey], object]
    criteria: LeaseCriteria | None
    result: asyncio.Future[Leased | None]

    def settle(self, outcome: Leased | Exception | None) -> None:
        if self.result.done():
            return
        if isinstance(outcome, Exception):
            self.result.set_exception(outcome)
        else:
            self.result.set_result(outcome)


_Outcomes = dict[_PendingLease, Leased | Exception | None]


class LeaseStore:
    """Writes leases in batches."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._autocommit = database.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._queue: deque[_PendingLease] = deque()
        self._writers = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def lease(
        self,
        owner: str,
        key_id: str,
        act: Act,
        nonce: Nonce,
        check: Callable[[ProviderKey], object] = lambda _: None,
        criteria: LeaseCriteria | None = None,
    ) -> Leased | None:
        """Return a key and its record with the lease written; None, and nothing written, where the owner has no such key.

        Guard: the lease is written under a lock of the key's row, and only if the row still is what `check` saw; a key that
        is being removed is leased before or not at all. When `check` raises, nothing is written and the error passes
        through; but if the key met `criteria`, the lease is written all the same. Raises Replayed for a used nonce, and
        DatabaseUnavailable.
        """
        pending = _PendingLease(owner, key_id, act, nonce, check, criteria, asyncio.get_running_loop().create_future())
        self._queue.append(pending)
        if self._writers < _WRITERS:
            self._writers += 1
            self._spawn(self._write_queue())
        return await pending.result

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        # A batch is not about the tenant or the request that happened to start it.
        task = asyncio.create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write_queue(self) -> None:
        """Write batches until the queue is empty."""
        try:
            while self._queue:
                await self._write_batch(self._next_batch())
        finally:
            self._writers -= 1

    def _next_batch(self) -> list[_PendingLease]:
        """Take the oldest requests with distinct nonces: of two with one nonce the later has to find it used."""
        batch: dict[str, _PendingLease] = {}
        while self._queue and len(batch) < _BATCH_SIZE and self._queue[0].nonce.value not in batch:
            pending = self._queue.popleft()
            batch[pending.nonce.value] = pending
        return list(batch.values())

    async def _write_batch(self, batch: list[_PendingLease]) -> None:
        outcomes: _Outcomes
        try:
            async with self._cursor() as cursor:
                outcomes = await self._fast_path(cursor, [pending for pending in batch if pending.criteria is not None])
                if rest := [pending for pending in batch if pending not in outcomes]:
                    outcomes |= await self._slow_path(cursor, rest)
        except Exception as error:  # each caller gets the error; the next batch is written independently of it
            outcomes = dict.fromkeys(batch, error)
        for pending in batch:
            if pending in outcomes:
                pending.settle(outcomes[pending])
            else:
                self._spawn(self._write_locking(pending))

    async def _write_locking(self, pending: _PendingLease) -> None:
        """Write a lease of a key that is being changed, outside the batch, which must not wait for the row's lock."""
        try:
            async with self._cursor() as cursor, cursor.connection.transaction():
                outcome = (await self._slow_path(cursor, [pending], locking=True))[pending]
        except Exception as error:  # the caller gets the error
            pending.settle(error)
        else:
            pending.settle(outcome)

    async def _fast_path(self, cursor: _Cursor, batch: list[_PendingLease]) -> _Outcomes:
        """Lease the keys that meet their criteria; return their outcomes, replays included, and none for the others."""
        if not batch:
            return {}
        await cursor.execute(LEASE, self._lease_values(batch))
        outcomes: _Outcomes = {}
        rows = {row["nonce"]: row for row in await cursor.fetchall()}
        for pending in batch:
            if (row := rows.get(pending.nonce.value)) is not None:
                outcomes[pending] = _check(pending, row) if row["fresh"] else _replayed()
        return outcomes

    def _lease_values(self, batch: list[_PendingLease]) -> dict[str, object]:
        criteria = [pending.criteria for pending in batch if pending.criteria is not None]
        events = [
            self._database.audit_event(pending.act, provider=one.provider, version=_VERSION)
            for pending, one in zip(batch, criteria, strict=True)
        ]
        # rpartition: the version is the last detail, and callers influence the details before it.
        around = [event.encode().rpartition(_VERSION.encode()) for event in events]
        return {
            "owners": [pending.owner for pending in batch],
            "keys": [pending.key_id for pending in batch],
            "providers": [one.provider for one in criteria],
            "origins": [one.origin for one in criteria],
            "nows": [one.now for one in criteria],
            "usable": [status.value for status in USABLE],
            "nonces": [pending.nonce.value for pending in batch],
            "not_after": [pending.nonce.not_after for pending in batch],
            "message_ids": [event.event_id for event in events],
            "befores": [before for before, _, _ in around],
            "afters": [after for _, _, after in around],
            "subject": _AUDITED,
        }

    async def _slow_path(self, cursor: _Cursor, batch: list[_PendingLease], *, locking: bool = False) -> _Outcomes:
        """Read, check and write; no outcome for a key that changed in between, which `locking` prevents."""
        outcomes, accepted = await _read_and_check(cursor, batch, READ_LOCKING if locking else READ)
        if not accepted:
            return outcomes
        events = {
            pending: self._database.audit_event(
                pending.act, provider=leased.key.provider, version=str(leased.key.version)
            )
            for pending, (leased, _) in accepted.items()
        }
        values = {
            "keys": [pending.key_id for pending in accepted],
            "seen": [seen for _, seen in accepted.values()],
            "nonces": [pending.nonce.value for pending in accepted],
            "not_after": [pending.nonce.not_after for pending in accepted],
            "subject": _AUDITED,
            "message_ids": [event.event_id for event in events.values()],
            "payloads": [event.encode() for event in events.values()],
        }
        await cursor.execute(WRITE, values)
        fresh = {row["nonce"]: row["fresh"] for row in await cursor.fetchall()}
        for pending, (leased, _) in accepted.items():
            if pending.nonce.value in fresh:
                outcomes[pending] = leased if fresh[pending.nonce.value] else _replayed()
        return outcomes

    @asynccontextmanager
    async def _cursor(self) -> AsyncIterator[_Cursor]:
        """Open a cursor on the driver's own connection in autocommit mode. Raises DatabaseUnavailable."""
        with translate_database_errors():
            async with self._autocommit.connect() as pooled:
                driver = (await pooled.get_raw_connection()).driver_connection
                connection = cast("psycopg.AsyncConnection[DictRow]", driver)
                try:
                    async with connection.cursor(row_factory=dict_row) as cursor:
                        yield cursor
                except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                    await pooled.invalidate()
                    raise DatabaseUnavailable(type(error).__name__) from None


async def _read_and_check(
    cursor: _Cursor, batch: list[_PendingLease], query: bytes
) -> tuple[_Outcomes, dict[_PendingLease, tuple[Leased, str]]]:
    """Return the outcomes of missing keys and failed checks, and the accepted ones with the row version that was checked."""
    keys = {"owners": [pending.owner for pending in batch], "keys": [pending.key_id for pending in batch]}
    await cursor.execute(query, keys)
    rows = {(row["tenant"], row["key_id"]): row for row in await cursor.fetchall()}
    outcomes: _Outcomes = {}
    accepted: dict[_PendingLease, tuple[Leased, str]] = {}
    for pending in batch:
        row = rows.get((pending.owner, pending.key_id))
        if row is None:
            outcomes[pending] = None
            continue
        checked = _check(pending, row)
        if isinstance(checked, Exception):
            outcomes[pending] = checked
        else:
            accepted[pending] = checked, row["seen"]
    return outcomes, accepted


def _check(pending: _PendingLease, row: DictRow) -> Leased | Exception:
    data_key = DataKeyRow(row["data_key_id"], row["data_key_tenant"], row["encrypted_key"], row["kek"])
    leased = Leased(key_of_values(row), EncryptedRecord(row["data_key_id"], row["record"]), data_key)
    try:
        pending.check(leased.key)
    except Exception as error:  # whatever the caller's check raises is passed to the caller
        return error
    return leased


def _replayed() -> Replayed:
    return Replayed("this lease request was answered before")
