"""What a compliance report says, from the audit and the attempts of one tenant, on one snapshot."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.compliance import (
    MAX_LINES_OF_A_PART,
    AuditedActivity,
    DataDestination,
    GetComplianceReport,
    KeyActivity,
    RecordedChange,
)
from services.usage_ledger.database import TransactionalStore

_BEGIN = "SET LOCAL statement_timeout = '25s'; SET LOCAL jit = off"
_EVENTS = """
SELECT event ->> 'actor' AS actor, event ->> 'action' AS action, event ->> 'target' AS target, event ->> 'outcome' AS outcome,
       event -> 'details' AS details, (event ->> 'at')::timestamptz AS at
FROM usage_ledger.audit_entries
WHERE tenant = :tenant AND (event ->> 'at')::timestamptz >= :since AND (event ->> 'at')::timestamptz < :until
"""
_SPAN = "count(*) AS count, min(at) AS first_at, max(at) AS last_at"
_ACTIVITIES = f"""
SELECT actor, action, CASE WHEN action = 'operator.access' THEN target END AS resource, outcome, {_SPAN}
FROM ({_EVENTS}) AS events WHERE action <> 'key.lease'
GROUP BY actor, action, resource, outcome ORDER BY count(*) DESC, actor, action, resource, outcome LIMIT :most
"""  # noqa: S608 - of constants of this file, as are those below
_KEYS = f"""
SELECT target AS key_id, action, outcome, {_SPAN}
FROM ({_EVENTS}) AS events WHERE starts_with(action, 'key.')
GROUP BY target, action, outcome ORDER BY target, min(at), action, outcome LIMIT :most
"""  # noqa: S608
_POLICY_CHANGES = f"""
SELECT * FROM ({_EVENTS}) AS events WHERE action = 'tenant.update' ORDER BY at DESC LIMIT :most
"""  # noqa: S608
_DELETIONS = f"""
SELECT * FROM ({_EVENTS}) AS events
WHERE action ~ '[._](remove|removed|revoke|delete|deleted|shred|discard|expire|purge)$'
ORDER BY at DESC LIMIT :most
"""  # noqa: S608
_DESTINATIONS = """
SELECT provider, endpoint, origin, key_source, CASE WHEN key_source = 'byok' THEN key_id END AS key_id, count(*) AS attempts,
       min(started_at) AS first_at, max(started_at) AS last_at
FROM usage_ledger.attempts WHERE tenant = :tenant AND started_at >= :since AND started_at < :until
GROUP BY 1, 2, 3, 4, 5 ORDER BY count(*) DESC, 1, 2, 3, 4, 5 LIMIT :most
"""


class RecordedFacts(NamedTuple):
    """What is recorded within the span of a report."""

    activities: list[AuditedActivity]
    destinations: list[DataDestination]
    keys: list[KeyActivity]
    policy_changes: list[RecordedChange]
    deletions: list[RecordedChange]
    shortened: list[str]
    """The parts that have more rows."""


class ComplianceStore(TransactionalStore):
    """Queries of the audit and of attempts. Every method raises DatabaseUnavailable."""

    async def read(self, command: GetComplianceReport) -> RecordedFacts:
        """Return what is recorded of a tenant."""
        parameters = {"tenant": command.tenant, "since": command.since, "until": command.until}
        shortened: list[str] = []
        async with self.snapshot() as connection:
            await connection.execute(text(_BEGIN))

            async def part(name: str, query: str) -> list[dict[str, Any]]:
                rows = await _rows(connection, query, parameters)
                if len(rows) > MAX_LINES_OF_A_PART:
                    shortened.append(name)
                return [_in_utc(row) for row in rows[:MAX_LINES_OF_A_PART]]

            activities = [AuditedActivity(**row) for row in await part("activities", _ACTIVITIES)]
            destinations = [DataDestination(**row) for row in await part("destinations", _DESTINATIONS)]
            keys = [KeyActivity(**row) for row in await part("keys", _KEYS)]
            changes = [RecordedChange(**row) for row in await part("policy_changes", _POLICY_CHANGES)]
            deletions = [RecordedChange(**row) for row in await part("deletions", _DELETIONS)]
        return RecordedFacts(activities, destinations, keys, changes, deletions, shortened)


async def _rows(connection: AsyncConnection, query: str, parameters: Mapping[str, object]) -> list[RowMapping]:
    found = await connection.execute(text(query), {**parameters, "most": MAX_LINES_OF_A_PART + 1})
    return list(found.mappings())


def _in_utc(row: RowMapping) -> dict[str, Any]:
    return {name: value.astimezone(UTC) if isinstance(value, datetime) else value for name, value in row.items()}
