"""Attempts and decisions in PostgreSQL.

A row is inserted once, by its id, however often its record is delivered. A batch is one statement in one transaction; if
PostgreSQL rejects a row, the batch is halved until the row is alone, so that it keeps no other row out of the tables.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import psycopg
from pydantic_core import to_json
from sqlalchemy import Executable, Select, Table, Text, bindparam, cast, column, func, literal, select, text
from sqlalchemy.dialects.postgresql import JSON, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.usage import AttemptRecord, LedgerRow
from keyferry.runtime.database.errors import is_data_error
from keyferry.runtime.database.tenant_isolation import as_service
from services.usage_ledger.attempt_packing import whole_row
from services.usage_ledger.attempt_rows import COPY, NOT_STORED, to_lines, to_values
from services.usage_ledger.corrections import WITH_CORRECTIONS, as_recorded, current_column, recorded_amounts
from services.usage_ledger.database import (
    TransactionalStore,
    attempts,
    decisions,
    packing,
    request_part,
    token_usage_of,
)
from services.usage_ledger.decision_packing import compress, compress_as_before, document_of, skipped_of

R = TypeVar("R")

_COPY_BYTES = 64 * 1024
_DURABLE_COMMITS = ("on", "remote_apply")
"""Values of `synchronous_commit` that leave a commit on the local disk, and on a synchronous standby if there is one."""


class NotDurable(Exception):
    """PostgreSQL may lose what it has committed; the message says which setting to change."""


@dataclass(slots=True)
class InsertResult:
    """The outcome of inserting a batch."""

    new: set[str] = field(default_factory=set)
    """Ids of the rows that were not there before."""
    rejected: dict[int, str] = field(default_factory=dict)
    """The reason why PostgreSQL rejects a row, by the row's index in the batch; without its values."""


AfterCommit = Callable[[], None]


class Projection(Protocol):
    """What follows from attempts and is kept in the transaction that records them, so that it is exact."""

    async def apply(self, connection: AsyncConnection, rows: Sequence[LedgerRow]) -> AfterCommit | None:
        """Apply attempts that are new to the table, in the order of their ids. What is returned is called after the commit."""


class DecisionProjection(Protocol):
    """What follows from decisions and is kept in the transaction that records them."""

    async def apply(self, connection: AsyncConnection, records: Sequence[DecisionRecord], now: datetime) -> None:
        """Apply decisions that are new to the table."""


class LedgerStore(TransactionalStore):
    """The tables of attempts and decisions. Every method raises DatabaseUnavailable."""

    def __init__(
        self,
        engine: AsyncEngine,
        projections: Sequence[Projection] = (),
        decision_projections: Sequence[DecisionProjection] = (),
    ) -> None:
        super().__init__(engine)
        self._projections = projections
        self._decision_projections = decision_projections
        self._packed_from: datetime | None = None

    async def record_attempts(self, rows: Sequence[LedgerRow]) -> InsertResult:
        """Insert attempts, and apply the new ones to every projection. Guard: the primary key; an existing row stays as it is."""

        async def insert(part: Sequence[LedgerRow]) -> set[str]:
            by_id = _first_by_id(part)
            after_commit = []
            async with self.transaction() as connection:
                packed = await self._is_packed(connection, part[0].recorded_at)
                new = await _insert_attempts(connection, by_id, packed=packed)
                fresh = [by_id[attempt_id] for attempt_id in sorted(new)]
                for projection in self._projections if fresh else ():
                    after_commit.append(await projection.apply(connection, fresh))
            for call in after_commit:
                if call is not None:
                    call()
            return new

        return await _insert_all(insert, rows)

    async def record_decisions(self, records: Sequence[DecisionRecord], now: datetime) -> InsertResult:
        """Insert decisions, and apply the new ones to every projection. Guard: the primary key."""

        async def insert(part: Sequence[DecisionRecord]) -> set[str]:
            async with self.transaction() as connection:
                newest = await self._is_packed(connection, now)
                values = [_decision_values(record, now, newest=newest) for record in part]
                new = await _insert(connection, _INSERT_DECISIONS, values)
                fresh = [record for record in part if record.decision_id in new]
                for projection in self._decision_projections if fresh else ():
                    await projection.apply(connection, fresh, now)
                return new

        return await _insert_all(insert, records)

    async def list_attempts(self, tenant: str, request_id: str) -> list[LedgerRow]:
        """Return the attempts of a request, in order."""
        columns = attempts.c
        query = _whole_rows().where(columns.tenant == tenant, columns.request_id == request_id)
        async with self.transaction() as connection:
            rows = await connection.execute(query.order_by(columns.attempt_number, columns.started_at))
            return [ledger_row(row) for row in rows.mappings()]

    async def get_attempts(self, tenant: str, attempt_ids: Sequence[str]) -> list[LedgerRow]:
        """Return those of a tenant's attempts that are recorded."""
        query = _whole_rows().where(attempts.c.tenant == tenant, attempts.c.attempt_id.in_(attempt_ids))
        async with self.transaction() as connection:
            return [ledger_row(row) for row in (await connection.execute(query)).mappings()]

    async def list_unkept(self, attempt_ids: Sequence[str]) -> dict[str, list[str]]:
        """Return the fields without which attempts are recorded, by attempt; only those that lack any."""
        columns = attempts.c
        query = select(columns.attempt_id, columns.unkept).where(columns.attempt_id.in_(attempt_ids))
        async with self.transaction() as connection:
            rows = (await connection.execute(query)).all()
        return {attempt_id: unkept for attempt_id, unkept in rows if unkept}

    async def list_decisions(self, tenant: str, request_id: str) -> list[DecisionRecord]:
        """Return the decisions about a request: the first, and one more after each attempt that failed or was refused."""
        columns = decisions.c
        indexed = request_part(columns.request_id) == request_part(literal(request_id))
        found = select(columns.decision_id).where(indexed, columns.tenant == tenant, columns.request_id == request_id)
        async with self.transaction() as connection:
            # The index by request has an expression, which row-level security does not let a tenant's statement use.
            async with as_service(connection):
                found_ids = (await connection.scalars(found)).all()
            query = select(decisions).where(columns.decision_id.in_(found_ids))
            rows = await connection.execute(query.order_by(columns.decided_at, columns.decision_id))
            records = [DecisionRecord.model_validate(document_of(dict(row))) for row in rows.mappings()]
        # Those who decided are on different machines, whose clocks may differ.
        return sorted(records, key=lambda record: record.attempt_number)

    async def _is_packed(self, connection: AsyncConnection, now: datetime) -> bool:
        """Return whether what is recorded now is packed as this build does."""
        if self._packed_from is None:
            self._packed_from = await connection.scalar(select(packing.c.packed_from))
        return self._packed_from is not None and now >= self._packed_from

    async def ping(self) -> None:
        """Pass if PostgreSQL answers."""
        async with self.transaction() as connection:
            await connection.execute(text("SELECT 1"))

    async def require_durability(self) -> None:
        """Pass if PostgreSQL acknowledges a commit only once it is on disk; else raise NotDurable."""
        async with self.transaction() as connection:
            commit = await connection.scalar(text("SHOW synchronous_commit"))
            sync = await connection.scalar(text("SHOW fsync"))
        if commit not in _DURABLE_COMMITS:
            raise NotDurable(
                f"PostgreSQL's synchronous_commit is {commit!r} for the usage ledger's role, so a power failure could lose"
                " paid attempts that were already confirmed to workers: set it to 'on' (ALTER ROLE … SET, or postgresql.conf)"
            )
        if sync != "on":
            raise NotDurable(
                f"PostgreSQL's fsync is {sync!r}: set it to 'on' in postgresql.conf and restart the server"
            )


async def _insert_all(insert: Callable[[Sequence[R]], Awaitable[set[str]]], records: Sequence[R]) -> InsertResult:
    """Insert records by `insert`, which is one transaction; halve what PostgreSQL rejects until the record is alone."""
    result = InsertResult()
    pending = [range(len(records))] if records else []
    while pending:
        part = pending.pop()
        try:
            result.new |= await insert([records[index] for index in part])
        except DBAPIError as error:
            if (reason := _rejection_reason(error)) is None:
                raise
            if len(part) == 1:
                result.rejected[part[0]] = reason
            else:
                middle = len(part) // 2
                pending += [part[middle:], part[:middle]]
    return result


def _first_by_id(rows: Sequence[LedgerRow]) -> dict[str, LedgerRow]:
    """Return rows by the id of the attempt: of several in one batch the first is the one that is recorded."""
    return {row.record.attempt_id: row for row in reversed(rows)}


async def _insert_attempts(connection: AsyncConnection, by_id: Mapping[str, LedgerRow], *, packed: bool) -> set[str]:
    """Insert attempts by COPY, which is fast and takes no row that is there already; in that case by a statement."""
    try:
        async with connection.begin_nested():
            await _copy(connection, COPY, to_lines([by_id[attempt_id] for attempt_id in sorted(by_id)], packed=packed))
    except DBAPIError as error:
        if not isinstance(error.orig, psycopg.errors.UniqueViolation):
            raise
        return await _insert(connection, _INSERT_ATTEMPTS, [to_values(row, packed=packed) for row in by_id.values()])
    return set(by_id)


async def _copy(connection: AsyncConnection, statement: str, lines: bytes) -> None:
    """Copy lines into a table. Raises DBAPIError, as a statement does."""
    driver = (await connection.get_raw_connection()).driver_connection
    assert driver is not None
    try:
        async with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for first in range(0, len(lines), _COPY_BYTES):
                await copy.write(lines[first : first + _COPY_BYTES])
    except psycopg.Error as error:
        raise DBAPIError.instance(statement, None, error, psycopg.Error, hide_parameters=True) from None


async def _insert(connection: AsyncConnection, statement: Executable, rows: Sequence[Mapping[str, object]]) -> set[str]:
    result = await connection.execute(statement, {"rows": to_json(rows).decode()})
    return set(result.scalars())


def _rejection_reason(error: DBAPIError) -> str | None:
    """Return why PostgreSQL rejects a row; None if the error is not about the row."""
    cause = error.orig
    if not isinstance(cause, psycopg.Error) or not is_data_error(error):
        return None
    constraint = cause.diag.constraint_name
    return f"PostgreSQL rejects it: {type(cause).__name__} ({cause.sqlstate}{f', {constraint}' if constraint else ''})"


def _insert_from_json(table: Table) -> Executable:
    """Return a statement that inserts an array of JSON objects and returns the ids of the new rows.

    Rows are inserted in the order of their ids, so that two processes that insert the same rows do not deadlock.
    """
    columns = [column for column in table.columns if column.computed is None]
    key = next(iter(table.primary_key.columns))
    source = (
        func.json_to_recordset(cast(bindparam("rows", type_=Text), JSON))
        .table_valued(*(column(item.name, item.type) for item in columns))
        .render_derived(name="incoming", with_types=True)
    )
    rows = select(*source.c).order_by(source.c[key.name])
    statement = insert(table).from_select([item.name for item in columns], rows, include_defaults=False)
    return statement.on_conflict_do_nothing(index_elements=[key]).returning(key)


def _decision_values(record: DecisionRecord, now: datetime, *, newest: bool) -> dict[str, object]:
    return {
        "decision_id": record.decision_id,
        "request_id": record.request_id,
        "tenant": record.tenant,
        "attempt_number": None if record.attempt_number == 1 else record.attempt_number,
        "refused": record.refusal is not None or None,
        "skipped": skipped_of(record),
        "packed": f"\\x{(compress if newest else compress_as_before)(record).hex()}",
        "record": None,
        "decided_at": record.decided_at,
        "recorded_at": now,
    }


def _whole_rows() -> Select[Any]:
    """Select attempts with all that `ledger_row` needs."""
    names = (column.name for column in attempts.c)
    return select(*(current_column(name).label(name) for name in names), *as_recorded()).select_from(WITH_CORRECTIONS)


def ledger_row(found: Mapping[Any, Any]) -> LedgerRow:
    """Return a row of the table of attempts."""
    row = whole_row(found)
    record = {name: row[name] for name in AttemptRecord.model_fields if name not in {"token_usage", *NOT_STORED}}
    record["token_usage"] = token_usage_of(row)
    record["started_at"] = row["started_at"].astimezone(UTC)
    return LedgerRow(
        record=AttemptRecord.model_validate(record),
        cost_usd=row["cost_usd"],
        price_version=row["price_version"],
        pricing=row["pricing"],
        charge_micro_usd=row["charge_micro_usd"],
        absorbed_micro_usd=row["absorbed_micro_usd"] or 0,
        spend_micro_usd=row["spend_micro_usd"],
        plan_version=row["plan_version"],
        before_rerating=recorded_amounts(row),
        trace_id=row["trace_id"],
        recorded_at=row["recorded_at"].astimezone(UTC),
    )


_INSERT_ATTEMPTS = _insert_from_json(attempts)
_INSERT_DECISIONS = _insert_from_json(decisions)
