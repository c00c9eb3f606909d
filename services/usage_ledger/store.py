"""Attempts and decisions in PostgreSQL: the ledger's only SQL.

Rows go in once, by their ids, however often they come. A batch is one statement and one transaction; when PostgreSQL refuses
a row of it, halves are tried until the row is alone, so that it keeps nothing else from the tables.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psycopg
from pydantic_core import to_json
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Computed,
    DateTime,
    Executable,
    MetaData,
    Numeric,
    RowMapping,
    Select,
    Table,
    Text,
    bindparam,
    case,
    cast,
    column,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSON, JSONB, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts.key import KeySpend
from keyferry.contracts.money import PLACES
from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.usage import (
    AttemptRecord,
    KeySource,
    LedgerRow,
    Outcome,
    SummarizeUsage,
    TokenUsage,
    UsageRow,
    UsageSummary,
)
from keyferry.runtime.database.errors import is_data_error, translate_database_errors

SCHEMA = "usage_ledger"
METERS = tuple(TokenUsage.model_fields)

metadata = MetaData(schema=SCHEMA)
_Timestamp = DateTime(timezone=True)
attempts = Table(
    "attempts",
    metadata,
    Column("attempt_id", Text, primary_key=True),
    Column("request_id", Text),
    Column("kind", Text),
    Column("decision_id", Text),
    Column("attempt_number", BigInteger),
    Column("tenant", Text),
    Column("client_token_id", Text),
    Column("provider", Text),
    Column("endpoint", Text),
    Column("origin", Text),
    Column("model_asked", Text),
    Column("model", Text),
    Column("model_served", Text),
    Column("operation", Text),
    Column("key_source", Text),
    Column("key_id", Text),
    Column("stream", Boolean),
    Column("outcome", Text),
    Column("failure", JSONB(none_as_null=True)),
    Column("failure_class", Text, Computed("failure ->> 'failure_class'", persisted=True)),
    Column("finish_reason", Text),
    Column("service_tier", Text),
    *(Column(f"{meter}_tokens", BigInteger) for meter in METERS),
    Column("usage_source", Text),
    Column("reported_cost_usd", Numeric(27, PLACES)),
    Column("cost_usd", Numeric(24, PLACES)),
    Column("price_version", Text),
    Column("pricing", Text),
    Column("started_at", _Timestamp),
    Column("latency_ms", BigInteger),
    Column("first_token_ms", BigInteger),
    Column("tags", JSONB),
    Column("traceparent", Text),
    Column("trace_id", Text),
    Column("worker_id", Text),
    Column("spool_seq", BigInteger),
    Column("recorded_at", _Timestamp),
)
decisions = Table(
    "decisions",
    metadata,
    Column("decision_id", Text, primary_key=True),
    Column("request_id", Text),
    Column("tenant", Text),
    Column("record", JSONB),
    Column("decided_at", _Timestamp),
    Column("recorded_at", _Timestamp),
)

_DURABLE_COMMITS = ("on", "remote_apply")
"""Values of `synchronous_commit` that leave a commit on disk here, and on a synchronous standby where there is one."""
_MAX_SUMMARY_ROWS = 10_000


class NotDurable(Exception):
    """PostgreSQL may forget what it has committed; the message says which setting to change."""


class SummaryTooLong(Exception):
    """A summary has more rows than a message can carry."""


@dataclass(slots=True)
class Recorded:
    """What became of a batch."""

    new: set[str] = field(default_factory=set)
    """Ids of the rows that were not there before."""
    refused: dict[int, str] = field(default_factory=dict)
    """Why PostgreSQL does not take a row, by its index in the batch; without its values."""


class Transactions:
    """A database in which something can be done as a whole."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """All of the block, or none of it. Raises DatabaseUnavailable."""
        with translate_database_errors():
            async with self._engine.begin() as connection:
                yield connection


class LedgerStore(Transactions):
    """The tables. Every method raises DatabaseUnavailable."""

    async def record_attempts(self, rows: Sequence[LedgerRow]) -> Recorded:
        """Insert attempts. Guard: the primary key, so a row that is there already stays as it is."""
        return await self._record(_INSERT_ATTEMPTS, [_attempt_values(row) for row in rows])

    async def record_decisions(self, records: Sequence[DecisionRecord], now: datetime) -> Recorded:
        """Insert decisions. Guard: the primary key."""
        return await self._record(_INSERT_DECISIONS, [_decision_values(record, now) for record in records])

    async def attempts_of(self, tenant: str, request_id: str) -> list[LedgerRow]:
        """The attempts of a request, in order."""
        columns = attempts.c
        query = select(attempts).where(columns.tenant == tenant, columns.request_id == request_id)
        async with self.transaction() as connection:
            rows = await connection.execute(query.order_by(columns.attempt_number, columns.started_at))
            return [_ledger_row(row) for row in rows.mappings()]

    async def decisions_of(self, tenant: str, request_id: str) -> list[DecisionRecord]:
        """The decisions about a request: the first, and one more after each attempt that failed."""
        columns = decisions.c
        query = select(columns.record).where(columns.tenant == tenant, columns.request_id == request_id)
        async with self.transaction() as connection:
            documents = await connection.scalars(query.order_by(columns.decided_at, columns.decision_id))
            return [DecisionRecord.model_validate(document) for document in documents]

    async def summarize(self, command: SummarizeUsage) -> UsageSummary:
        """A tenant's usage by provider and model, most expensive first. Raises SummaryTooLong."""
        async with self.transaction() as connection:
            found = (await connection.execute(_summary(command))).mappings().all()
        if len(found) > _MAX_SUMMARY_ROWS:
            raise SummaryTooLong
        total = next(row for row in found if row["is_total"])
        return UsageSummary(
            tenant=command.tenant,
            requests=total["requests"],
            attempts=total["attempts"],
            cost_usd=total["cost_usd"],
            unpriced=total["unpriced"],
            rows=[_usage_row(row) for row in found if not row["is_total"]],
        )

    async def spent(self, keys: Sequence[tuple[str, str]]) -> list[KeySpend]:
        """What calls with each of these provider keys came to in these calendar months (UTC)."""
        columns = attempts.c
        month = func.to_char(func.timezone("UTC", columns.started_at), "YYYY-MM")
        query = (
            select(
                columns.key_id,
                month.label("month"),
                # A platform key's calls are made for many tenants; it belongs to none of them.
                func.max(case((columns.key_source == KeySource.PLATFORM.value, PLATFORM_TENANT), else_=columns.tenant)),
                func.coalesce(func.sum(columns.cost_usd), 0),
                func.count(),
                func.count().filter(columns.pricing == "unpriced"),
                func.max(columns.started_at),
            )
            .where(columns.key_id.in_({key_id for key_id, _ in keys}), columns.started_at >= _first_day(keys))
            .group_by(columns.key_id, month)
        )
        async with self.transaction() as connection:
            rows = (await connection.execute(query)).all()
        return [
            KeySpend(
                key_id=key_id,
                month=in_month,
                tenant=tenant,
                spent_usd=cost,
                attempts=count,
                unpriced=unpriced,
                last_used_at=last.astimezone(UTC),
            )
            for key_id, in_month, tenant, cost, count, unpriced, last in rows
            if (key_id, in_month) in keys
        ]

    async def keys_used_this_month(self) -> set[tuple[str, str]]:
        """Key id and month of every provider key that was used in the current calendar month (UTC)."""
        now = datetime.now(UTC)
        columns = attempts.c
        query = (
            select(columns.key_id)
            .distinct()
            .where(
                columns.key_id.is_not(None),
                columns.started_at >= now.replace(day=1, hour=0, minute=0, second=0, microsecond=0),
            )
        )
        async with self.transaction() as connection:
            return {(key_id, now.strftime("%Y-%m")) for key_id in await connection.scalars(query)}

    async def ping(self) -> None:
        """Pass when PostgreSQL answers."""
        async with self.transaction() as connection:
            await connection.execute(text("SELECT 1"))

    async def require_durability(self) -> None:
        """Pass when a commit is on disk before it is acknowledged; else raise NotDurable."""
        async with self.transaction() as connection:
            commit = await connection.scalar(text("SHOW synchronous_commit"))
            sync = await connection.scalar(text("SHOW fsync"))
        if commit not in _DURABLE_COMMITS:
            raise NotDurable(
                f"PostgreSQL's synchronous_commit is {commit!r} for the usage ledger's role, so a power cut would lose paid"
                " attempts that workers were told to forget: set it to 'on' (ALTER ROLE … SET, or postgresql.conf)"
            )
        if sync != "on":
            raise NotDurable(
                f"PostgreSQL's fsync is {sync!r}: set it to 'on' in postgresql.conf and restart the server"
            )

    # --- inside

    async def _record(self, statement: Executable, rows: Sequence[Mapping[str, object]]) -> Recorded:
        recorded = Recorded()
        pending = [range(len(rows))] if rows else []
        while pending:
            part = pending.pop()
            try:
                recorded.new |= await self._insert(statement, [rows[index] for index in part])
            except DBAPIError as error:
                if (reason := _refusal(error)) is None:
                    raise
                if len(part) == 1:
                    recorded.refused[part[0]] = reason
                else:
                    middle = len(part) // 2
                    pending += [part[middle:], part[:middle]]
        return recorded

    async def _insert(self, statement: Executable, rows: Sequence[Mapping[str, object]]) -> set[str]:
        async with self.transaction() as connection:
            result = await connection.execute(statement, {"rows": to_json(rows).decode()})
            return set(result.scalars())


def _first_day(keys: Sequence[tuple[str, str]]) -> datetime:
    return datetime.strptime(min(month for _, month in keys), "%Y-%m").replace(tzinfo=UTC)


def _refusal(error: DBAPIError) -> str | None:
    """Why PostgreSQL does not take a row; None when the error is not about the row."""
    cause = error.orig
    if not isinstance(cause, psycopg.Error) or not is_data_error(error):
        return None
    constraint = cause.diag.constraint_name
    return f"PostgreSQL refuses it: {type(cause).__name__} ({cause.sqlstate}{f', {constraint}' if constraint else ''})"


def _insert_from_json(table: Table) -> Executable:
    """Insert an array of JSON objects in the order of their ids, as two processes that insert the same rows must not wait for
    each other in a circle. Returns the ids of new rows."""
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


def _attempt_values(row: LedgerRow) -> dict[str, object]:
    values = row.record.model_dump()
    token_usage = values.pop("token_usage")
    for meter in METERS:
        values[f"{meter}_tokens"] = token_usage[meter]
    values["cost_usd"] = row.cost_usd
    values["price_version"] = row.price_version
    values["pricing"] = row.pricing
    values["trace_id"] = row.trace_id
    values["recorded_at"] = row.recorded_at
    return values


def _decision_values(record: DecisionRecord, now: datetime) -> dict[str, object]:
    return {
        "decision_id": record.decision_id,
        "request_id": record.request_id,
        "tenant": record.tenant,
        "record": record.model_dump(exclude_none=True),
        "decided_at": record.decided_at,
        "recorded_at": now,
    }


def _ledger_row(row: RowMapping) -> LedgerRow:
    record = {name: row[name] for name in AttemptRecord.model_fields if name != "token_usage"}
    record["token_usage"] = _meters(row)
    record["started_at"] = row["started_at"].astimezone(UTC)
    return LedgerRow(
        record=AttemptRecord.model_validate(record),
        cost_usd=row["cost_usd"],
        price_version=row["price_version"],
        pricing=row["pricing"],
        trace_id=row["trace_id"],
        recorded_at=row["recorded_at"].astimezone(UTC),
    )


def _summary(command: SummarizeUsage) -> Select[tuple[object, ...]]:
    """Rows by provider and model, and one for all of them, from one snapshot."""
    columns = attempts.c
    counts = (func.count().filter(columns.outcome == outcome.value).label(outcome.value) for outcome in Outcome)
    sums = (func.coalesce(func.sum(columns[f"{meter}_tokens"]), 0).label(f"{meter}_tokens") for meter in METERS)
    cost = func.coalesce(func.sum(columns.cost_usd), 0).label("cost_usd")
    query = select(
        columns.provider,
        columns.model,
        (func.grouping(columns.provider, columns.model) != 0).label("is_total"),
        func.count(columns.request_id.distinct()).label("requests"),
        func.count().label("attempts"),
        *counts,
        *sums,
        cost,
        func.count().filter(columns.pricing == "unpriced").label("unpriced"),
    ).where(columns.tenant == command.tenant)
    if command.since is not None:
        query = query.where(columns.started_at >= command.since)
    if command.until is not None:
        query = query.where(columns.started_at < command.until)
    grouped = query.group_by(text("GROUPING SETS ((provider, model), ())"))
    return grouped.order_by(cost.desc(), columns.provider, columns.model).limit(_MAX_SUMMARY_ROWS + 2)


def _usage_row(row: RowMapping) -> UsageRow:
    return UsageRow(
        provider=row["provider"],
        model=row["model"],
        attempts=row["attempts"],
        completed=row["completed"],
        failed=row["failed"],
        cancelled=row["cancelled"],
        indeterminate=row["indeterminate"],
        token_usage=_meters(row),
        cost_usd=row["cost_usd"],
        unpriced=row["unpriced"],
    )


def _meters(row: RowMapping) -> TokenUsage:
    return TokenUsage(**{meter: int(row[f"{meter}_tokens"]) for meter in METERS})


_INSERT_ATTEMPTS = _insert_from_json(attempts)
_INSERT_DECISIONS = _insert_from_json(decisions)
