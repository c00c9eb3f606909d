"""Keeps the tables of the request log, in the transactions that record attempts and decisions."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.usage import LedgerRow
from keyferry.runtime.tracing.context import trace_id
from services.usage_ledger.request_log.facets import (
    QuarterFacets,
    days_of,
    facets_of_attempts,
    facets_of_costs,
    facets_of_refusals,
)
from services.usage_ledger.request_log.known_facets import KnownFacets
from services.usage_ledger.request_log.tables import refused_requests
from services.usage_ledger.store import AfterCommit


class RequestFacets:
    """The projection that keeps facets of attempts."""

    def __init__(self) -> None:
        self._known = KnownFacets()

    async def apply(self, connection: AsyncConnection, rows: Sequence[LedgerRow]) -> AfterCommit | None:
        """Add the facets of new attempts. Guard: the primary key."""
        found = facets_of_attempts(rows)
        self._known.follow(connection.info)
        new = self._known.missing(found)
        await _insert_facets(connection, new)
        return lambda: self._known.add(new)


class RefusedRequests:
    """What follows from decisions that refused a request."""

    async def apply(self, connection: AsyncConnection, records: Sequence[DecisionRecord], now: datetime) -> None:
        """Insert refusals of decisions that are new, and their facets. Guard: the primary keys."""
        refusals = [record for record in records if record.refusal is not None]
        if refusals:
            statement = insert(refused_requests).on_conflict_do_nothing()
            await connection.execute(statement, [_refusal_values(record, now) for record in refusals])
            await _insert_facets(connection, facets_of_refusals(refusals))


async def correct_facets(connection: AsyncConnection, rerate_id: str, tenant: str) -> None:
    """Add what attempts are found by after a re-rating, in its transaction."""
    rows = await connection.execute(_CORRECTED, {"rerate_id": rerate_id, "tenant": tenant})
    await _insert_facets(connection, facets_of_costs(tenant, ((row.started_at, row.cost_usd) for row in rows)))


def _refusal_values(record: DecisionRecord, now: datetime) -> dict[str, object]:
    assert record.refusal is not None
    return {
        "decision_id": record.decision_id,
        "request_id": record.request_id,
        "tenant": record.tenant,
        "attempt_number": record.attempt_number,
        "kind": record.kind.value,
        "stream": record.stream,
        "model_asked": record.model_asked,
        "operation": record.operation,
        "power_level": None if record.power_level is None else record.power_level.value,
        "team": record.team,
        "member": record.member,
        "client_token_id": record.client_token_id,
        "tags": record.tags,
        "failure_class": record.refusal.failure_class.value,
        "message": record.refusal.message,
        "trace_id": trace_id(record.traceparent),
        "decided_at": record.decided_at,
        "recorded_at": now,
    }


async def _insert_facets(connection: AsyncConnection, found: QuarterFacets) -> None:
    days = days_of(found)
    if days:
        numbers = [number for number, day in enumerate(days, start=1) for _ in day.names]
        columns: dict[str, Iterable[str]] = {
            "tenants": (day.tenant for day in days),
            "days": (str(day.day) for day in days),
            "quarters": (day.quarters for day in days),
            "names": (name for day in days for name in day.names),
            "numbers": map(str, numbers),
        }
        # One text for each column: the driver takes a microsecond for each element of a list.
        await connection.execute(_ADD_FACETS, {name: _SEPARATOR.join(values) for name, values in columns.items()})


_SEPARATOR = "\x1f"
"""No name has a control character."""
_CORRECTED = text("""
SELECT DISTINCT attempts.started_at, r.cost_usd
FROM usage_ledger.rerated_attempts AS r JOIN usage_ledger.attempts USING (attempt_id)
WHERE r.rerate_id = :rerate_id AND r.tenant = :tenant
""")
_ADD_FACETS = text(
    """
INSERT INTO usage_ledger.request_facets AS known (tenant, name, day, quarters)
SELECT tenant, name, day, quarters
FROM unnest(string_to_array(:names, E'\\x1f'), CAST(string_to_array(:numbers, E'\\x1f') AS integer[])) AS named (name, number)
JOIN unnest(
    string_to_array(:tenants, E'\\x1f'), CAST(string_to_array(:days, E'\\x1f') AS integer[]),
    CAST(string_to_array(:quarters, E'\\x1f') AS bit(96)[])
) WITH ORDINALITY AS days (tenant, day, quarters, number) USING (number)
ORDER BY tenant COLLATE "C", name COLLATE "C", day
ON CONFLICT (tenant, name, day) DO UPDATE SET quarters = known.quarters | excluded.quarters
    WHERE known.quarters | excluded.quarters <> known.quarters
"""
)
"""Rows that have the quarter hour already are not written.

All are taken in one order, so that two processes that change the same rows wait for each other and do not deadlock.
"""
