"""Reads past decisions with the attempts that they led to, for planning them again."""

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any

from sqlalchemy import RowMapping, Select, func, literal, select, tuple_

from keyferry.contracts.past_decisions import ListDecisions, PastAttempt, PastDecision, PastDecisions
from services.usage_ledger.database import TOKEN_KINDS, TransactionalStore, attempts, decisions, token_usage_of
from services.usage_ledger.decision_packing import document_of

_ATTEMPT_COLUMNS = ("provider", "endpoint", "model", "key_source", "outcome", "cost_usd", "latency_ms")


class PastDecisionStore(TransactionalStore):
    """The tables of decisions and attempts, read by time. Every method raises DatabaseUnavailable."""

    async def page(self, command: ListDecisions) -> PastDecisions:
        """Return the first decision about each request, newest first, with the attempts of the request."""
        async with self.transaction() as connection:
            rows = (await connection.execute(_select_page(command))).mappings().all()
            taken = rows[: command.limit]
            by_request = await _attempts(connection.execute, taken)
        found = [_past_decision(row, by_request.get((row["tenant"], row["request_id"]), [])) for row in taken]
        return PastDecisions(decisions=found, next=found[-1].decision_id if len(rows) > command.limit else None)


def _select_page(command: ListDecisions) -> Select[Any]:
    """Select one row more than a page has."""
    columns = decisions.c
    number = func.coalesce(columns.attempt_number, columns.record["attempt_number"].as_integer(), 1)
    query = select(
        columns.decision_id, columns.request_id, columns.tenant, columns.decided_at, columns.packed, columns.record
    ).where(number == 1)
    if command.tenant is not None:
        query = query.where(columns.tenant == command.tenant)
    if command.since is not None:
        query = query.where(columns.decided_at >= command.since)
    if command.until is not None:
        query = query.where(columns.decided_at < command.until)
    if command.after is not None:
        moment = select(columns.decided_at).where(columns.decision_id == command.after).scalar_subquery()
        query = query.where(tuple_(columns.decided_at, columns.decision_id) < tuple_(moment, literal(command.after)))
    return query.order_by(columns.decided_at.desc(), columns.decision_id.desc()).limit(command.limit + 1)


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
