"""A lease as the tables see it: the key is looked at, the request's nonce is taken, the act is written down.

It is what an attempt waits for, so it goes past SQLAlchemy's statements to the driver's prepared ones, and asks once: one
statement, which is its own transaction, finds the key, sees that it may be leased, and writes everything down. What that passes
over is asked for twice: to tell why not, or to lease it all the same, and then to write that. Leases that are asked for while
others are being written down are written down together: a commit costs what it costs once.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from secrets import token_hex
from typing import cast

import psycopg
from psycopg.rows import DictRow, dict_row
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts.key import USABLE, ProviderKey
from keyferry.contracts.topology import AUDIT_RECORDED, Role
from keyferry.runtime.database.errors import DatabaseUnavailable, translate_database_errors
from services.key_vault.database.tables import DataKeyRow, EncryptedRecord, key_of_values
from services.key_vault.database.transaction import Act, Clock, Transactions, utc_now
from services.key_vault.leases.sql import LEASE, READ, READ_LOCKING, WRITE

_AUDITED = AUDIT_RECORDED.format(service=Role.KEY_VAULT.value)
_LANES = 2
"""While one batch is on its way to the disk, the next one is read."""
_BATCH_SIZE = 32
_VERSION = token_hex(16)
"""Stands in an act for a version that only the statement will know."""
_Cursor = psycopg.AsyncCursor[DictRow]


class Replayed(Exception):
    """A lease request that was answered before."""


@dataclass(frozen=True, slots=True)
class Nonce:
    """What makes a lease request good once. After `not_after` the request is refused for its age, and need not be known."""

    value: str
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Leased:
    """A key that may be given out: the lease of it is committed. `data_key` is the one that `sealed` is sealed under."""

    key: ProviderKey
    sealed: EncryptedRecord
    data_key: DataKeyRow


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `check` will let pass, for the statement to see to: a usable key of this provider and origin at this time."""

    provider: str
    origin: str
    now: datetime


@dataclass(slots=True, eq=False)
class _Asked:
    """A lease that somebody waits for."""

    owner: str
    key_id: str
    act: Act
    nonce: Nonce
    check: Callable[[ProviderKey], object]
    wanted: Wanted | None
    answer: asyncio.Future[Leased | None]

    def settle(self, outcome: Leased | Exception | None) -> None:
        if self.answer.done():
            return
        if isinstance(outcome, Exception):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)


_Outcomes = dict[_Asked, Leased | Exception | None]


class LeaseRows(Transactions):
    """Leases. Every method raises DatabaseUnavailable."""

    def __init__(self, engine: AsyncEngine, clock: Clock = utc_now) -> None:
        super().__init__(engine, clock)
        self._each_alone = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._waiting: deque[_Asked] = deque()
        self._lanes = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def for_lease(
        self,
        owner: str,
        key_id: str,
        act: Act,
        nonce: Nonce,
        check: Callable[[ProviderKey], object] = lambda _: None,
        wanted: Wanted | None = None,
    ) -> Leased | None:
        """A key and its record, the lease written down; None, and nothing written, where the owner has no such key.

        Guard: the lease is written under a lock of the key's row, and only where that still is what `check` saw; a key that
        is being removed is leased before or not at all. When `check` raises, nothing is written and the error passes
        through, unless the key was `wanted` as it is: then the lease is written down, and the error passes through all the
        same. Raises Replayed for a nonce that was used.
        """
        asked = _Asked(owner, key_id, act, nonce, check, wanted, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        if self._lanes < _LANES:
            self._lanes += 1
            self._spawn(self._lane())
        return await asked.answer

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _lane(self) -> None:
        """Write down what waits, a batch at a time, until nothing does."""
        try:
            while self._waiting:
                await self._together(self._batch())
        finally:
            self._lanes -= 1

    def _batch(self) -> list[_Asked]:
        """The longest waiting, none with the same nonce as another: of those the later one has to find it used."""
        batch: dict[str, _Asked] = {}
        while self._waiting and len(batch) < _BATCH_SIZE and self._waiting[0].nonce.value not in batch:
            asked = self._waiting.popleft()
            batch[asked.nonce.value] = asked
        return list(batch.values())

    async def _together(self, batch: list[_Asked]) -> None:
        try:
            async with self._cursor() as cursor:
                outcomes = await self._leased_at_once(cursor, [asked for asked in batch if asked.wanted is not None])
                if rest := [asked for asked in batch if asked not in outcomes]:
                    outcomes |= await self._leased(cursor, rest)
        except (
            Exception
        ) as error:  # the edge of a lane: whoever waits gets the error, and the next batch is another try
            outcomes = dict.fromkeys(batch, error)
        for asked in batch:
            if asked in outcomes:
                asked.settle(outcomes[asked])
            else:
                self._spawn(self._apart(asked))

    async def _apart(self, asked: _Asked) -> None:
        """A lease of a key that somebody was changing: under its lock from reading on, so that others need not wait."""
        try:
            async with self._cursor() as cursor, cursor.connection.transaction():
                outcome = (await self._leased(cursor, [asked], locking=True))[asked]
        except Exception as error:  # the edge of a task: whoever waits gets the error
            asked.settle(error)
        else:
            asked.settle(outcome)

    async def _leased_at_once(self, cursor: _Cursor, batch: list[_Asked]) -> _Outcomes:
        """What becomes of those whose key may be leased as it is, and of replays of such; nothing of the others."""
        if not batch:
            return {}
        await cursor.execute(LEASE, self._values(batch))
        outcomes: _Outcomes = {}
        rows = {row["nonce"]: row for row in await cursor.fetchall()}
        for asked in batch:
            if (row := rows.get(asked.nonce.value)) is not None:
                outcomes[asked] = _checked(asked, row) if row["fresh"] else _replayed()
        return outcomes

    def _values(self, batch: list[_Asked]) -> dict[str, object]:
        wanted = [asked.wanted for asked in batch if asked.wanted is not None]
        events = [
            self._audit_event(asked.act, provider=one.provider, version=_VERSION)
            for asked, one in zip(batch, wanted, strict=True)
        ]
        # Last, since whoever asks has a word in the other details, and none in the version.
        around = [event.encode().rpartition(_VERSION.encode()) for event in events]
        return {
            "owners": [asked.owner for asked in batch],
            "keys": [asked.key_id for asked in batch],
            "providers": [one.provider for one in wanted],
            "origins": [one.origin for one in wanted],
            "nows": [one.now for one in wanted],
            "usable": [status.value for status in USABLE],
            "nonces": [asked.nonce.value for asked in batch],
            "not_after": [asked.nonce.not_after for asked in batch],
            "message_ids": [event.event_id for event in events],
            "befores": [before for before, _, _ in around],
            "afters": [after for _, _, after in around],
            "subject": _AUDITED,
        }

    async def _leased(self, cursor: _Cursor, batch: list[_Asked], *, locking: bool = False) -> _Outcomes:
        """What becomes of each; nothing where its row was changed after it was read, which `locking` prevents."""
        outcomes, fitting = await _looked_at(cursor, batch, READ_LOCKING if locking else READ)
        if not fitting:
            return outcomes
        events = {
            asked: self._audit_event(asked.act, provider=leased.key.provider, version=str(leased.key.version))
            for asked, (leased, _) in fitting.items()
        }
        values = {
            "keys": [asked.key_id for asked in fitting],
            "seen": [seen for _, seen in fitting.values()],
            "nonces": [asked.nonce.value for asked in fitting],
            "not_after": [asked.nonce.not_after for asked in fitting],
            "subject": _AUDITED,
            "message_ids": [event.event_id for event in events.values()],
            "payloads": [event.encode() for event in events.values()],
        }
        await cursor.execute(WRITE, values)
        fresh = {row["nonce"]: row["fresh"] for row in await cursor.fetchall()}
        for asked, (leased, _) in fitting.items():
            if asked.nonce.value in fresh:
                outcomes[asked] = leased if fresh[asked.nonce.value] else _replayed()
        return outcomes

    @asynccontextmanager
    async def _cursor(self) -> AsyncIterator[_Cursor]:
        """A cursor of the driver's own connection, each of whose statements is a transaction. Raises DatabaseUnavailable."""
        with translate_database_errors():
            async with self._each_alone.connect() as pooled:
                driver = (await pooled.get_raw_connection()).driver_connection
                connection = cast("psycopg.AsyncConnection[DictRow]", driver)
                try:
                    async with connection.cursor(row_factory=dict_row) as cursor:
                        yield cursor
                except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                    await pooled.invalidate()
                    raise DatabaseUnavailable(type(error).__name__) from None


async def _looked_at(
    cursor: _Cursor, batch: list[_Asked], query: bytes
) -> tuple[_Outcomes, dict[_Asked, tuple[Leased, str]]]:
    """Of whom there is no such key or whose check failed, and the others with the version of the row that was checked."""
    await cursor.execute(query, {"owners": [asked.owner for asked in batch], "keys": [a.key_id for a in batch]})
    rows = {(row["tenant"], row["key_id"]): row for row in await cursor.fetchall()}
    outcomes: _Outcomes = {}
    fitting: dict[_Asked, tuple[Leased, str]] = {}
    for asked in batch:
        row = rows.get((asked.owner, asked.key_id))
        if row is None:
            outcomes[asked] = None
            continue
        leased = _leased_of(row)
        try:
            asked.check(leased.key)
        except Exception as error:  # whatever the caller's check raises is for the caller
            outcomes[asked] = error
        else:
            fitting[asked] = leased, row["seen"]
    return outcomes, fitting


def _checked(asked: _Asked, row: DictRow) -> Leased | Exception:
    leased = _leased_of(row)
    try:
        asked.check(leased.key)
    except Exception as error:  # whatever the caller's check raises is for the caller
        return error
    return leased


def _replayed() -> Replayed:
    return Replayed("this lease request was answered before")


def _leased_of(row: DictRow) -> Leased:
    data_key = DataKeyRow(row["data_key_id"], row["data_key_tenant"], row["wrapped"], row["kek"])
    return Leased(key_of_values(row), EncryptedRecord(row["data_key_id"], row["record"]), data_key)
