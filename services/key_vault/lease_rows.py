"""A lease as the tables see it: the key is looked at, the request's nonce is taken, the act is written down.

It is what an attempt waits for, so it goes past SQLAlchemy's statements to the driver's prepared ones, and asks twice: for the
key, and to have everything written in one statement that is its own transaction. Between the two nobody else is kept waiting.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import psycopg
from psycopg.rows import DictRow, dict_row
from sqlalchemy import Text, bindparam, literal_column, select
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


class LeaseRows(Transactions):
    """Leases. Every method raises DatabaseAway."""

    def __init__(self, engine: AsyncEngine, clock: Clock = utc_now) -> None:
        super().__init__(engine, clock)
        self._each_alone = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def for_lease(
        self, owner: str, key_id: str, act: Act, nonce: Nonce, check: Callable[[ProviderKey], object] = lambda _: None
    ) -> Leased | None:
        """A key and its record, the lease written down; None, and nothing written, where the owner has no such key.

        Guard: the lease is written under a lock of the key's row, and only where that still is what `check` saw; a key that
        is being removed is leased before or not at all. When `check` raises, nothing is written and the error passes
        through. Raises Replayed for a nonce that was used.
        """
        async with self._cursor() as cursor:
            asked = (owner, key_id, act, nonce, check)
            try:
                return await self._leased(cursor, *asked)
            except _Changed:
                async with cursor.connection.transaction():
                    return await self._leased(cursor, *asked, locking=True)

    async def _leased(
        self,
        cursor: _Cursor,
        owner: str,
        key_id: str,
        act: Act,
        nonce: Nonce,
        check: Callable[[ProviderKey], object],
        *,
        locking: bool = False,
    ) -> Leased | None:
        """Raises _Changed where the row was changed after it was read, which `locking` prevents."""
        await cursor.execute(_READ_LOCKING if locking else _READ, {"owner": owner, "key": key_id})
        row = await cursor.fetchone()
        if row is None:
            return None
        leased = _leased_of(row)
        check(leased.key)
        event = self._audit_event(act, provider=leased.key.provider, version=str(leased.key.version))
        values = {
            "key": key_id,
            "seen": row["seen"],
            "nonce": nonce.value,
            "not_after": nonce.not_after,
            "subject": _AUDITED,
            "message_id": event.event_id,
            "payload": event.encode(),
        }
        await cursor.execute(_WRITE, values)
        written = await cursor.fetchone()
        if written is None or not written["unchanged"]:
            raise _Changed
        if not written["fresh"]:
            raise Replayed("this lease request was answered before")
        return leased

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


class _Changed(Exception):
    """The row is not any more what it was when it was read."""


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
        .where(keys.tenant == bindparam("owner", type_=Text), keys.key_id == bindparam("key", type_=Text))
    )
    if locking:
        query = query.with_for_update(read=True, of=provider_keys)
    dialect = psycopg_dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy declares no types here
    return str(query.compile(dialect=dialect)).encode()


_READ, _READ_LOCKING = _query(locking=False), _query(locking=True)
"""`seen` is the transaction that wrote the row: whoever changes the row changes it."""
_WRITE = f"""
    WITH kept AS MATERIALIZED (
        SELECT key_id FROM {provider_keys.fullname}
        WHERE key_id = %(key)s AND xmin = CAST(%(seen)s AS xid) FOR SHARE
    ), used AS (
        INSERT INTO {lease_nonces.fullname} (nonce, not_after) SELECT %(nonce)s, %(not_after)s FROM kept
        ON CONFLICT DO NOTHING RETURNING nonce
    ), told AS (
        INSERT INTO {event_outbox.fullname} (subject, message_id, payload, counted)
        SELECT %(subject)s, %(message_id)s, %(payload)s, true FROM used
    )
    SELECT EXISTS (SELECT FROM kept) AS unchanged, EXISTS (SELECT FROM used) AS fresh
""".encode()  # noqa: S608 - the names are those of the vault's own tables


def _leased_of(row: DictRow) -> Leased:
    data_key = DataKeyRow(row["data_key_id"], row["data_key_tenant"], row["wrapped"], row["sealing_key"])
    return Leased(key_of_values(row), Sealed(row["data_key_id"], row["record"]), data_key)
