"""Keeps the tables of the request log, in the transactions that record attempts and decisions."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.usage import LedgerRow
from keyferry.runtime.process.telemetry import trace_id
from services.usage_ledger.request_log.facets import (
    Facet,
    FacetDay,
    days_of,
    facet_of_cost,
    facets_of_attempt,
    facets_of_refusal,
)
from services.usage_ledger.request_log.tables import refused_requests


class RequestFacets:
    """The projection that keeps facets of attempts."""

    async def apply(self, connection: AsyncConnection, rows: Sequence[LedgerRow]) -> None:
        """Add the facets of new attempts. Guard: the primary key."""
        await _insert_facets(connection, (facet for row in rows for facet in facets_of_attempt(row)))


class RefusedRequests:
    """What follows from decisions that refused a request."""

    async def apply(self, connection: AsyncConnection, records: Sequence[DecisionRecord], now: datetime) -> None:
        """Insert refusals of decisions that are new, and their facets. Guard: the primary keys."""
        refusals = [record for record in records if record.refusal is not None]
        if refusals:
            statement = insert(refused_requests).on_conflict_do_nothing()
            await connection.execute(statement, [_refusal_values(record, now) for record in refusals])
            await _insert_facets(connection, (facet for record in refusals for facet in facets_of_refusal(record)))


async def correct_facets(connection: AsyncConnection, rerate_id: str, tenant: str) -> None:
    """Add what attempts are found by after a re-rating, in its transaction."""
    rows = await connection.execute(_CORRECTED, {"rerate_id": rerate_id, "tenant": tenant})
    await _insert_facets(connection, [facet_of_cost(tenant, row.started_at, row.cost_usd) for row in rows])


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


async def _insert_facets(connection: AsyncConnection, found: Iterable[Facet]) -> None:
    # In one order, so that two processes that change the same rows wait for each other and do not deadlock.
    days = days_of(found)
    await connection.execute(_ADD_FACETS, {name: [getattr(day, name) for day in days] for name in FacetDay._fields})


_CORRECTED = text("""
SELECT DISTINCT attempts.started_at, r.cost_usd
FROM usage_ledger.rerated_attempts AS r JOIN usage_ledger.attempts USING (attempt_id)
WHERE r.rerate_id = :rerate_id AND r.tenant = :tenant
""")
_ADD_FACETS = text(
    """
INSERT INTO usage_ledger.request_facets AS known (tenant, name, day, quarters)
SELECT added.tenant, added.name, added.day, CAST(added.quarters AS bit(96))
FROM unnest(CAST(:tenant AS text[]), CAST(:name AS text[]), CAST(:day AS integer[]), CAST(:quarters AS text[]))
    AS added (tenant, name, day, quarters)
LEFT JOIN usage_ledger.request_facets AS present
    ON (present.tenant, present.name, present.day) = (added.tenant, added.name, added.day)
WHERE present.quarters IS NULL
    OR present.quarters | CAST(added.quarters AS bit(96)) <> present.quarters
ORDER BY added.tenant COLLATE "C", added.name COLLATE "C", added.day
ON CONFLICT (tenant, name, day) DO UPDATE SET quarters = known.quarters | excluded.quarters
"""
)
"""Rows that have the quarter hour already, as nearly all have, are neither written nor locked."""
