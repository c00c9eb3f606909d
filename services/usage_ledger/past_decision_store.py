"""Reads past decisions with the attempts that they led to, for planning them again."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, func, literal, literal_column, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.past_decisions import ListDecisions, PastAttempt, PastDecision, PastDecisions
from keyferry.runtime.database.tenant_isolation import as_service
from services.usage_ledger.database import TOKEN_KINDS, TransactionalStore, attempts, decisions, token_usage_of
from services.usage_ledger.decision_packing import document_of
from services.usage_ledger.record_batches import assume_utc

_QUARTER_HOUR = timedelta(minutes=15)
_ORIGIN = datetime(2000, 1, 1, tzinfo=UTC)
_SPANS = tuple(_QUARTER_HOUR * 4**step for step in range(6))
"""How far back is looked, further each time; after the last, at all there is."""
_MICROSECOND = timedelta(microseconds=1)
_ATTEMPT_COLUMNS = ("provider", "endpoint", "model", "key_source", "outcome", "cost_usd", "latency_ms")


class PastDecisionStore(TransactionalStore):
    """The tables of decisions and attempts, read by time. Every method raises DatabaseUnavailable."""

    async def page(self, command: ListDecisions) -> PastDecisions:
        """Return the first decision about each request, newest first, with the attempts of the request."""
        times = {name: getattr(command, name) for name in ("since", "until")}
        known = {name: assume_utc(moment) for name, moment in times.items() if moment is not None}
        command = command.model_copy(update=known)
        async with self.snapshot() as connection:
            # The index by quarter hour has an expression, which row-level security does not let a tenant's statement use.
            async with as_service(connection):
                found_ids = await _find_ids(connection, command)
            rows = await _read_rows(connection, found_ids)
            taken = rows[: command.limit]
            by_request = await _attempts(connection.execute, taken)
        found = [_past_decision(row, by_request.get((row["tenant"], row["request_id"]), [])) for row in taken]
        return PastDecisions(decisions=found, next=found[-1].decision_id if len(rows) > command.limit else None)


async def _find_ids(connection: AsyncConnection, command: ListDecisions) -> list[str]:
    """Return one id more than a page has, if there are so many, newest first.

    No index has them in order of time: they are found by the quarter hour, or by where they are stored, and sorted. So only as
    much time is looked at as it takes.
    """
    until = command.until
    if command.after is not None:
        moment = await connection.scalar(select(decisions.c.decided_at).where(decisions.c.decision_id == command.after))
        if moment is None:
            return []
        # What was decided at that moment as well may come after it.
        until = min(moment + _MICROSECOND, until or moment + _MICROSECOND)
    begin = until or (await connection.execute(select(func.clock_timestamp()))).scalar_one()
    found: list[str] = []
    for span in _SPANS:
        since = begin - span
        if command.since is not None and since <= command.since:
            break
        found += await connection.scalars(_select_page(command, since, until))
        if len(found) > command.limit:
            return found[: command.limit + 1]
        until = since
    found += await connection.scalars(_select_page(command, command.since, until))
    return found[: command.limit + 1]


async def _read_rows(connection: AsyncConnection, ids: Sequence[str]) -> Sequence[RowMapping]:
    columns = decisions.c
    names = ("decision_id", "request_id", "tenant", "decided_at", "packed", "record")
    query = select(*(columns[name] for name in names)).where(columns.decision_id.in_(ids))
    query = query.order_by(columns.decided_at.desc(), columns.decision_id.desc())
    return (await connection.execute(query)).mappings().all()


def _select_page(command: ListDecisions, since: datetime | None, until: datetime | None) -> Select[tuple[str]]:
    """Select one id more than a page has, of these moments."""
    columns = decisions.c
    number = func.coalesce(columns.attempt_number, columns.record["attempt_number"].as_integer(), 1)
    query = select(columns.decision_id).where(number == 1)
    if command.tenant is not None:
        query = query.where(columns.tenant == command.tenant)
    if since is not None:
        query = query.where(columns.decided_at >= since, _quarter(columns.decided_at) >= _quarter_of(since))
    if until is not None:
        query = query.where(columns.decided_at < until, _quarter(columns.decided_at) <= _quarter_of(until))
    if command.after is not None:
        moment = select(columns.decided_at).where(columns.decision_id == command.after).scalar_subquery()
        query = query.where(tuple_(columns.decided_at, columns.decision_id) < tuple_(moment, literal(command.after)))
    return query.order_by(columns.decided_at.desc(), columns.decision_id.desc()).limit(command.limit + 1)


def _quarter(at: ColumnElement[datetime]) -> ColumnElement[datetime]:
    """Return the quarter hour of a moment, as the index of a tenant's decisions has it."""
    return func.date_bin(literal_column("interval '15 minutes'"), at, literal_column("timestamptz '2000-01-01Z'"))


def _quarter_of(moment: datetime) -> datetime:
    return moment - (moment - _ORIGIN) % _QUARTER_HOUR


async def _attempts(execute: Any, rows: Sequence[RowMapping]) -> Mapping[tuple[str, str], list[PastAttempt]]:
    if not rows:
        return {}
    columns = attempts.c
    requests = [(row["tenant"], row["request_id"]) for row in rows]
    query = select(
        columns.tenant,
        columns.request_id,
        *(columns[name] for name in _ATTEMPT_COLUMNS),
        *(columns[f"{kind}_tokens"] for kind in TOKEN_KINDS),
    ).where(tuple_(columns.tenant, columns.request_id).in_(requests))
    found: dict[tuple[str, str], list[PastAttempt]] = {}
    for row in (await execute(query.order_by(columns.attempt_number, columns.started_at))).mappings():
        values = {name: row[name] for name in _ATTEMPT_COLUMNS}
        attempt = PastAttempt(**values, token_usage=token_usage_of(row))
        found.setdefault((row["tenant"], row["request_id"]), []).append(attempt)
    return found


def _past_decision(row: RowMapping, found: list[PastAttempt]) -> PastDecision:
    record = document_of(dict(row))
    known = {name: record[name] for name in PastDecision.model_fields if name in record}
    own = {"decided_at": row["decided_at"].astimezone(UTC), "refused": "refusal" in record, "attempts": found}
    return PastDecision.model_validate(known | own)
