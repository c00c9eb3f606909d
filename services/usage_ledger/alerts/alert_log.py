"""The states of alerts in PostgreSQL, inside a transaction of the caller: a change, its step and its event are one commit.

Steps of a rule are numbered without gaps under the lock of the rule's row in `alert_sequences`, which also puts their events into
the outbox in the order of their numbers.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json
from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts import ids
from keyferry.contracts.alert_events import AlertChanged
from keyferry.contracts.alert_management import ALERT_CHANGED
from keyferry.contracts.alert_metrics import AlertUnit
from keyferry.contracts.alert_rules import AlertRule, AlertScope, AlertSeverity
from keyferry.contracts.alerts import AlertState
from keyferry.runtime.database.event_outbox import PendingEvent, enqueue_events
from services.usage_ledger.alerts.conditions import AlertFinding, AlertMove
from services.usage_ledger.alerts.texts import describe_alert, describe_resolved, describe_title, unit_of
from services.usage_ledger.database import EVENT_OUTBOX

_COLUMNS = """
alert_id text, tenant text, rule_id text, rule_name text, metric text, scope jsonb, subject text, severity text,
channels jsonb, title text, text text, value numeric, threshold numeric, unit text, key_action text
"""
_NAMES = ", ".join(part.split()[0] for part in _COLUMNS.split(","))
_FIRE = text(f"""
INSERT INTO usage_ledger.alerts ({_NAMES}, state, fired_at)
SELECT {_NAMES}, 'fired', :now FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS fired ({_COLUMNS}) ORDER BY rule_id, subject
ON CONFLICT (tenant, rule_id, subject) WHERE state <> 'resolved' DO NOTHING
RETURNING *
""")  # noqa: S608 - names of columns
_RESOLVE = text("""
UPDATE usage_ledger.alerts SET state = 'resolved', resolved_at = :now
WHERE tenant = :tenant AND rule_id = :rule_id AND state <> 'resolved'
RETURNING *
""")
_RESOLVE_SOME = text("""
UPDATE usage_ledger.alerts AS known SET state = 'resolved', resolved_at = :now
FROM unnest(CAST(:rules AS text[]), CAST(:subjects AS text[])) AS over (rule_id, subject)
WHERE known.tenant = :tenant AND (known.rule_id, known.subject) = (over.rule_id, over.subject) AND known.state <> 'resolved'
RETURNING known.*
""")
_ACKNOWLEDGE = text("""
UPDATE usage_ledger.alerts SET state = 'acknowledged', acknowledged_at = :now, acknowledged_by = :actor
WHERE tenant = :tenant AND alert_id = :alert_id AND state = 'fired' RETURNING *
""")
_NUMBER = text("""
INSERT INTO usage_ledger.alert_sequences AS known (tenant, rule_id, last)
SELECT :tenant, rule_id, steps FROM unnest(CAST(:rules AS text[]), CAST(:steps AS bigint[])) AS added (rule_id, steps)
ORDER BY rule_id
ON CONFLICT (tenant, rule_id) DO UPDATE SET last = known.last + excluded.last RETURNING rule_id, last
""")
_STEPS = text("""
INSERT INTO usage_ledger.alert_steps (tenant, rule_id, sequence, alert_id, state, at, actor, value)
SELECT tenant, rule_id, sequence, alert_id, state, :now, actor, value
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS steps (
    tenant text, rule_id text, sequence bigint, alert_id text, state text, actor text, value numeric)
""")
_OPEN = text("""
SELECT tenant, rule_id, subject FROM usage_ledger.alerts WHERE tenant = ANY(:tenants) AND state <> 'resolved'
""")
_RESOLVED = text("""
SELECT tenant, rule_id, subject, max(resolved_at) AS at FROM usage_ledger.alerts
WHERE tenant = ANY(:tenants) AND resolved_at >= :since GROUP BY 1, 2, 3
""")
_OWNERS = text("SELECT DISTINCT tenant FROM usage_ledger.alerts WHERE state <> 'resolved'")
_KEPT = timedelta(days=400)
_PURGE = text("DELETE FROM usage_ledger.alerts WHERE resolved_at < :before")
LONGEST_COOLDOWN = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class AlertMemory:
    """What is open of a tenant, and when what was resolved, by rule and subject."""

    open: dict[str, set[str]]
    resolved: dict[str, dict[str, datetime]]


async def apply_moves(
    connection: AsyncConnection, tenant: str, changes: Iterable[tuple[AlertRule, Sequence[AlertMove]]], now: datetime
) -> None:
    """Open and resolve alerts of a tenant's rules, whose lock the caller has. Guard: one open alert for each subject."""
    moves = [(rule, move) for rule, of_rule in changes for move in of_rule]
    over = {(rule.rule_id, move.subject): move.finding for rule, move in moves if not move.fires}
    if over:
        values = {"tenant": tenant, "now": now, "rules": [key[0] for key in over], "subjects": [key[1] for key in over]}
        rows = (await connection.execute(_RESOLVE_SOME, values)).mappings().all()
        await _record_steps(connection, rows, AlertState.RESOLVED, now, values=_values_of(over))
    fired = [_row(rule, move.finding) for rule, move in moves if move.fires and move.finding is not None]
    if fired:
        values = {"rows": to_json(fired).decode(), "now": now}
        rows = (await connection.execute(_FIRE, values)).mappings().all()
        await _record_steps(connection, rows, AlertState.FIRED, now)


async def resolve_rule(connection: AsyncConnection, tenant: str, rule_id: str, now: datetime) -> int:
    """Resolve all open alerts of a rule; return how many there were. The caller has locked the tenant's rules."""
    values = {"tenant": tenant, "rule_id": rule_id, "now": now}
    rows = (await connection.execute(_RESOLVE, values)).mappings().all()
    await _record_steps(connection, rows, AlertState.RESOLVED, now)
    return len(rows)


async def acknowledge(connection: AsyncConnection, tenant: str, alert_id: str, actor: str, now: datetime) -> bool:
    """Acknowledge an alert that has fired; return whether it was in that state. Guard: the lock of its row."""
    values = {"tenant": tenant, "alert_id": alert_id, "actor": actor, "now": now}
    rows = (await connection.execute(_ACKNOWLEDGE, values)).mappings().all()
    await _record_steps(connection, rows, AlertState.ACKNOWLEDGED, now, actor=actor)
    return bool(rows)


async def read_memory(connection: AsyncConnection, tenants: Sequence[str], now: datetime) -> dict[str, AlertMemory]:
    """Return what evaluation has to know of the alerts of tenants."""
    found = {tenant: AlertMemory({}, {}) for tenant in tenants}
    for row in await connection.execute(_OPEN, {"tenants": list(tenants)}):
        found[row.tenant].open.setdefault(row.rule_id, set()).add(row.subject)
    since = now - LONGEST_COOLDOWN
    for row in await connection.execute(_RESOLVED, {"tenants": list(tenants), "since": since}):
        found[row.tenant].resolved.setdefault(row.rule_id, {})[row.subject] = row.at.astimezone(UTC)
    return found


async def read_open_owners(connection: AsyncConnection) -> list[str]:
    """Return the tenants that have open alerts."""
    return list(await connection.scalars(_OWNERS))


async def purge_alerts(connection: AsyncConnection, now: datetime) -> None:
    """Remove alerts that were resolved too long ago to be asked for, with their steps."""
    await connection.execute(_PURGE, {"before": now - _KEPT})


async def _record_steps(
    connection: AsyncConnection,
    rows: Sequence[RowMapping],
    state: AlertState,
    now: datetime,
    *,
    actor: str | None = None,
    values: Mapping[tuple[str, str], Decimal | None] | None = None,
) -> None:
    """Store and publish the changes of alerts of one tenant, with the next numbers of their rules."""
    if not rows:
        return
    tenant, counts = rows[0]["tenant"], Counter(row["rule_id"] for row in rows)
    numbered = {"tenant": tenant, "rules": list(counts), "steps": list(counts.values())}
    found = await connection.execute(_NUMBER, numbered)
    following = {row.rule_id: row.last - counts[row.rule_id] + 1 for row in found}
    steps, events = [], []
    for row in sorted(rows, key=lambda row: (str(row["rule_id"]), str(row["subject"]))):
        rule_id, sequence = row["rule_id"], following[row["rule_id"]]
        following[rule_id] += 1
        value = row["value"] if values is None else values.get((rule_id, row["subject"]), row["value"])
        own = {"sequence": sequence, "alert_id": row["alert_id"], "state": state.value, "actor": actor}
        steps.append({"tenant": tenant, "rule_id": rule_id, "value": value} | own)
        event = _event(row, state, sequence, value, now, actor)
        events.append(PendingEvent(ALERT_CHANGED.format(tenant=tenant), event.message_id, event.encode()))
    await connection.execute(_STEPS, {"rows": to_json(steps).decode(), "now": now})
    await enqueue_events(connection, EVENT_OUTBOX, events)


def _event(
    row: RowMapping, state: AlertState, sequence: int, value: Decimal | None, now: datetime, actor: str | None
) -> AlertChanged:
    is_over = state is AlertState.RESOLVED
    return AlertChanged(
        tenant=row["tenant"],
        rule_id=row["rule_id"],
        rule_name=row["rule_name"],
        alert_id=row["alert_id"],
        sequence=sequence,
        state=state,
        severity=AlertSeverity(row["severity"]),
        metric=row["metric"],
        scope=_known_scope(row["scope"]),
        subject=row["subject"],
        value=value,
        threshold=row["threshold"],
        unit=AlertUnit(row["unit"]),
        since=row["fired_at"].astimezone(UTC),
        at=now,
        actor=actor,
        channels=row["channels"],
        title=describe_resolved(row["rule_name"]) if is_over else row["title"],
        text=row["text"],
    )


def _known_scope(stored: Mapping[str, Any]) -> AlertScope:
    """Return what this build knows of a scope: alerts of another build have to be resolved as well."""
    try:
        return AlertScope.model_validate({name: stored[name] for name in stored if name in AlertScope.model_fields})
    except ValidationError:
        return AlertScope()


def _row(rule: AlertRule, finding: AlertFinding) -> dict[str, Any]:
    return {
        "alert_id": ids.new(ids.ALERT),
        "tenant": rule.tenant,
        "rule_id": rule.rule_id,
        "rule_name": rule.name,
        "metric": rule.metric.value,
        "scope": rule.scope.model_dump(mode="json", exclude_none=True),
        "subject": finding.subject,
        "severity": rule.severity.value,
        "channels": rule.channels,
        "title": describe_title(rule, finding),
        "text": describe_alert(rule, finding),
        "value": finding.value,
        "threshold": finding.limit,
        "unit": unit_of(rule).value,
        "key_action": "due" if rule.disable_key else None,
    }


def _values_of(over: Mapping[tuple[str, str], AlertFinding | None]) -> dict[tuple[str, str], Decimal | None]:
    return {key: None if finding is None else finding.value for key, finding in over.items()}
