"""A lease as the tables see it: the key is looked at, the request's nonce is taken, the act is written down.

It is what an attempt waits for, so it goes past SQLAlchemy's statements to the driver's prepared ones, and asks twice: for the
key, and to have everything written in one statement that is its own transaction. Between the two nobody is kept waiting. Leases
that are asked for while others are being written down are written down together: a commit costs what it costs once.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import psycopg
from psycopg.rows import DictRow, dict_row
from sqlalchemy import ColumnElement, Text, bindparam, func, literal_column, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql.psycopg import dialect as psycopg_dialect
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts.key import ProviderKey
from keyferry.contracts.topology import AUDIT_RECORDED, Role
from services.key_vault.tables import (
    DataKeyRow,
    Sealed,
    data_keys,
    event_outbox,
    key_of_values,
    key_records,
    lease_nonces,
    provider_keys,
)
from services.key_vault.transactions import Act, Clock, DatabaseAway, Transactions, utc_now

_AUDITED = AUDIT_RECORDED.at(service=Role.KEY_VAULT.value)
_LANES = 2
"""While one batch is on its way to the disk, the next one is read."""
_BATCH_SIZE = 32
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
    sealed: Sealed
    data_key: DataKeyRow


@dataclass(slots=True, eq=False)
class _Asked:
    """A lease that somebody waits for."""

    owner: str
    key_id: str
    act: Act
    nonce: Nonce
    check: Callable[[ProviderKey], object]
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
    """Leases. Every method raises DatabaseAway."""

    def __init__(self, engine: AsyncEngine, clock: Clock = utc_now) -> None:
        super().__init__(engine, clock)
        self._each_alone = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._waiting: deque[_Asked] = deque()
        self._lanes = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def for_lease(
        self, owner: str, key_id: str, act: Act, nonce: Nonce, check: Callable[[ProviderKey], object] = lambda _: None
    ) -> Leased | None:
        """A key and its record, the lease written down; None, and nothing written, where the owner has no such key.

        Guard: the lease is written under a lock of the key's row, and only where that still is what `check` saw; a key that
        is being removed is leased before or not at all. When `check` raises, nothing is written and the error passes
        through. Raises Replayed for a nonce that was used.
        """
        asked = _Asked(owner, key_id, act, nonce, check, asyncio.get_running_loop().create_future())
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
                outcomes = await self._leased(cursor, batch)
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

    async def _leased(self, cursor: _Cursor, batch: list[_Asked], *, locking: bool = False) -> _Outcomes:
        """What becomes of each; nothing where its row was changed after it was read, which `locking` prevents."""
        outcomes, fitting = await _looked_at(cursor, batch, _READ_LOCKING if locking else _READ)
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
        await cursor.execute(_WRITE, values)
        fresh = {row["nonce"]: row["fresh"] for row in await cursor.fetchall()}
        for asked, (leased, _) in fitting.items():
            if asked.nonce.value in fresh:
                replayed = Replayed("this lease request was answered before")
                outcomes[asked] = leased if fresh[asked.nonce.value] else replayed
        return outcomes

    @asynccontextmanager
    async def _cursor(self) -> AsyncIterator[_Cursor]:
        """A cursor of the driver's own connection, each of whose statements is a transaction. Raises DatabaseAway."""
        async with self._saying_when_away(), self._each_alone.connect() as pooled:
            driver = (await pooled.get_raw_connection()).driver_connection
            connection = cast("psycopg.AsyncConnection[DictRow]", driver)
            try:
                async with connection.cursor(row_factory=dict_row) as cursor:
                    yield cursor
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                await pooled.invalidate()
                raise DatabaseAway(type(error).__name__) from None


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


def _unnested(name: str) -> ColumnElement[str]:
    return func.unnest(bindparam(name, type_=ARRAY(Text)))


def _query(*, locking: bool) -> bytes:
    """A key of an owner, its record in use and the data key of that, as the driver wants the statement."""
    keys, records = provider_keys.c, key_records.c
    query = (
        select(
            provider_keys,
            literal_column(f"CAST({provider_keys.fullname}.xmin AS text)").label("seen"),
            records.data_key_id,
            records.record,
            data_keys.c.tenant.label("data_key_tenant"),
            data_keys.c.wrapped,
            data_keys.c.sealing_key,
        )
        .join(key_records, (records.key_id == keys.key_id) & (records.version == keys.version))
        .join(data_keys, data_keys.c.data_key_id == records.data_key_id)
        .where(tuple_(keys.tenant, keys.key_id).in_(select(_unnested("owners"), _unnested("keys"))))
    )
    if locking:
        query = query.with_for_update(read=True, of=provider_keys)
    dialect = psycopg_dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy declares no types here
    return str(query.compile(dialect=dialect)).encode()


_READ, _READ_LOCKING = _query(locking=False), _query(locking=True)
"""`seen` is the transaction that wrote the row: whoever changes the row changes it."""
_WRITE = f"""
    WITH asked AS MATERIALIZED (
        SELECT * FROM unnest(
            %(keys)s::text[], %(seen)s::text[], %(nonces)s::text[], %(not_after)s::timestamptz[],
            %(message_ids)s::text[], %(payloads)s::bytea[]
        ) WITH ORDINALITY AS asked (key_id, seen, nonce, not_after, message_id, payload, place)
    ), kept AS MATERIALIZED (
        SELECT key_id, CAST(xmin AS text) AS seen FROM {provider_keys.fullname}
        WHERE key_id = ANY (%(keys)s::text[]) FOR SHARE SKIP LOCKED
    ), unchanged AS MATERIALIZED (
        SELECT asked.* FROM asked JOIN kept USING (key_id, seen)
    ), used AS (
        INSERT INTO {lease_nonces.fullname} (nonce, not_after) SELECT nonce, not_after FROM unchanged ORDER BY nonce
        ON CONFLICT DO NOTHING RETURNING nonce
    ), told AS (
        INSERT INTO {event_outbox.fullname} (subject, message_id, payload, counted)
        SELECT %(subject)s, message_id, payload, true FROM unchanged JOIN used USING (nonce) ORDER BY place
    )
    SELECT nonce, used.nonce IS NOT NULL AS fresh FROM unchanged LEFT JOIN used USING (nonce)
""".encode()  # noqa: S608 - the names are those of the vault's own tables
"""A row that somebody has locked is passed over: a batch waits for nobody, so none of it waits, and no two lock each other
out. Nonces are in one order for the same reason."""


def _leased_of(row: DictRow) -> Leased:
    data_key = DataKeyRow(row["data_key_id"], row["data_key_tenant"], row["wrapped"], row["sealing_key"])
    return Leased(key_of_values(row), Sealed(row["data_key_id"], row["record"]), data_key)
