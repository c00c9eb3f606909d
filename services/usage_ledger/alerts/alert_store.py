"""Alerts and what other services report, for requests. Every change is one transaction with its step and its event."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts.alert_events import ReportAlert
from keyferry.contracts.alert_metrics import AlertUnit
from keyferry.contracts.alert_rules import (
    AlertRule,
    AlertRules,
    AlertRuleState,
    AlertRuleStatus,
    AlertSeverity,
    ListAlertRules,
)
from keyferry.contracts.alerts import AcknowledgeAlert, Alert, Alerts, AlertState, AlertStep, ListAlerts
from keyferry.contracts.audit import AuditHead
from keyferry.contracts.text import clean
from services.usage_ledger.alerts.alert_log import acknowledge
from services.usage_ledger.alerts.causes import mark_tenants
from services.usage_ledger.alerts.defaults import default_rule
from services.usage_ledger.alerts.facts import TenantFacts
from services.usage_ledger.alerts.findings import find_missing
from services.usage_ledger.alerts.references import describe_missing
from services.usage_ledger.alerts.rule_store import Record, TenantAlertRules, UnknownAlertRule, read_rules
from services.usage_ledger.audit_log import OwnAction
from services.usage_ledger.database import TransactionalStore

_MOST_REPORTS = 1000
"""Of one tenant: what is reported beyond is not recorded."""
_LONGEST_NAME = 300
_LIST = text("""
SELECT * FROM usage_ledger.alerts
WHERE tenant = :tenant AND (CAST(:rule_id AS text) IS NULL OR rule_id = :rule_id)
    AND (CAST(:metric AS text) IS NULL OR metric = :metric)
    AND (CAST(:alert_id AS text) IS NULL OR alert_id = :alert_id)
    AND (CAST(:after AS text) IS NULL OR alert_id < :after)
    AND (CAST(:state AS text) IS NULL OR state = :state OR (:state = 'open' AND state <> 'resolved'))
ORDER BY alert_id DESC LIMIT :limit
""")
_COUNT_OPEN = text("SELECT count(*) FROM usage_ledger.alerts WHERE tenant = :tenant AND state <> 'resolved'")
_STEPS = text("""
SELECT * FROM usage_ledger.alert_steps WHERE alert_id = ANY(:alerts) ORDER BY alert_id, sequence
""")
_OF_RULES = text("""
SELECT rule_id, count(*) FILTER (WHERE state <> 'resolved') AS open, max(fired_at) AS last
FROM usage_ledger.alerts WHERE tenant = :tenant GROUP BY rule_id
""")
_REPORT = text("""
INSERT INTO usage_ledger.alert_reports (tenant, metric, subject, text, reported_at)
SELECT :tenant, :metric, :subject, :text, :now
WHERE (SELECT count(*) FROM usage_ledger.alert_reports WHERE tenant = :tenant) < :most
ON CONFLICT (tenant, metric, subject) DO NOTHING RETURNING subject
""")
_TAKE_BACK = text("""
DELETE FROM usage_ledger.alert_reports WHERE tenant = :tenant AND metric = :metric AND subject = :subject RETURNING subject
""")


class UnknownAlert(Exception):
    """The tenant has no such alert."""


class AlertStore(TransactionalStore):
    """The alerts of all tenants. Every method raises DatabaseUnavailable."""

    def __init__(self, engine: AsyncEngine, record: Record) -> None:
        super().__init__(engine)
        self._record = record

    async def list_alerts(self, command: ListAlerts) -> Alerts:
        """Return a page of a tenant's alerts, newest first."""
        values = command.model_dump(mode="json") | {"limit": command.limit + 1}
        async with self.snapshot() as connection:
            rows = (await connection.execute(_LIST, values)).mappings().all()
            found = await _with_steps(connection, rows[: command.limit])
            count = await connection.scalar(_COUNT_OPEN, {"tenant": command.tenant})
        following = found[-1].alert_id if len(rows) > command.limit else None
        return Alerts(tenant=command.tenant, alerts=found, open=count or 0, next=following)

    async def acknowledge(self, command: AcknowledgeAlert, now: datetime) -> tuple[Alert, AuditHead | None]:
        """Acknowledge an alert unless that is done or it is resolved; return it. Raises UnknownAlert."""
        values = dict.fromkeys(("rule_id", "metric", "after", "state")) | {
            "tenant": command.tenant,
            "alert_id": command.alert_id,
            "limit": 1,
        }
        async with self.transaction() as connection:
            is_new = await acknowledge(connection, command.tenant, command.alert_id, command.actor, now)
            found = await _with_steps(connection, (await connection.execute(_LIST, values)).mappings().all())
            if not found:
                raise UnknownAlert
            if not is_new:
                return found[0], None
            details = {"rule": found[0].rule_id, "subject": found[0].subject}
            done = OwnAction(command.actor, "alert.acknowledge", command.alert_id, details, command.tenant)
            return found[0], await self._record(connection, done)

    async def report(self, command: ReportAlert, now: datetime) -> bool:
        """Record what another service says; return whether that was not known. Guard: the primary key."""
        values = {
            "tenant": command.tenant,
            "metric": command.metric.value,
            "subject": command.subject,
            "text": command.text,
            "now": now,
            "most": _MOST_REPORTS,
        }
        async with self.transaction() as connection:
            statement = _REPORT if command.raised else _TAKE_BACK
            changed = (await connection.execute(statement, values)).first() is not None
            if changed:
                await mark_tenants(connection, [command.tenant])
        return changed

    async def list_rules(
        self, command: ListAlertRules, facts_of: Callable[[Sequence[AlertRule]], Awaitable[TenantFacts]]
    ) -> AlertRules:
        """Return the rules of a tenant with their states; `facts_of` reads what these depend on. Raises UnknownAlertRule."""
        async with self.snapshot() as connection:
            rules = (await read_rules(connection, [command.tenant]))[command.tenant]
            counts = {row.rule_id: row for row in await connection.execute(_OF_RULES, {"tenant": command.tenant})}
        chosen = _choose(rules, command.rule_id)
        if command.rule_id is not None and not (chosen.rules or chosen.unreadable):
            raise UnknownAlertRule
        facts = await facts_of(chosen.rules)
        found = [status.model_copy(update=_counts(counts.get(status.rule_id))) for status in _statuses(chosen, facts)]
        return AlertRules(tenant=command.tenant, rules=found)


def _choose(rules: TenantAlertRules, rule_id: str | None) -> TenantAlertRules:
    if rule_id is None:
        return rules
    return replace(
        rules,
        rules=[rule for rule in rules.rules if rule.rule_id == rule_id],
        unreadable=[rule for rule in rules.unreadable if rule.rule_id == rule_id],
    )


def status_of(rule: AlertRule, facts: TenantFacts) -> AlertRuleStatus:
    """Return whether a rule can fire, and why not."""
    missing = find_missing(rule, facts)
    state = AlertRuleState.BROKEN if missing else AlertRuleState.ACTIVE
    return AlertRuleStatus(
        rule_id=rule.rule_id,
        tenant=rule.tenant,
        name=rule.name,
        rule=rule,
        is_default=default_rule(rule.tenant, rule.rule_id) is not None,
        state=state if rule.enabled else AlertRuleState.OFF,
        reason=describe_missing(missing),
        missing=missing,
        revision=rule.revision,
    )


def _statuses(rules: TenantAlertRules, facts: TenantFacts) -> list[AlertRuleStatus]:
    unreadable = [
        AlertRuleStatus(
            rule_id=each.rule_id,
            tenant=rules.tenant,
            name=clean(each.name, _LONGEST_NAME) or each.rule_id,
            is_default=default_rule(rules.tenant, each.rule_id) is not None,
            state=AlertRuleState.BROKEN,
            reason=each.reason,
            revision=each.revision,
        )
        for each in rules.unreadable
    ]
    return [*unreadable, *(status_of(rule, facts) for rule in rules.rules)]


def _counts(row: Any) -> dict[str, object]:
    if row is None:
        return {}
    return {"open_alerts": row.open, "last_fired_at": row.last.astimezone(UTC)}


async def _with_steps(connection: AsyncConnection, rows: Any) -> list[Alert]:
    found: dict[str, list[AlertStep]] = {row["alert_id"]: [] for row in rows}
    for step in (await connection.execute(_STEPS, {"alerts": list(found)})).mappings():
        found[step["alert_id"]].append(
            AlertStep(
                sequence=step["sequence"],
                state=AlertState(step["state"]),
                at=step["at"].astimezone(UTC),
                actor=step["actor"],
                value=step["value"],
            )
        )
    return [_alert(row, found[row["alert_id"]]) for row in rows]


def _alert(row: RowMapping, steps: list[AlertStep]) -> Alert:
    def at(name: str) -> datetime | None:
        return None if row[name] is None else row[name].astimezone(UTC)

    return Alert(
        alert_id=row["alert_id"],
        tenant=row["tenant"],
        rule_id=row["rule_id"],
        rule_name=row["rule_name"],
        metric=row["metric"],
        subject=row["subject"],
        severity=AlertSeverity(row["severity"]),
        state=AlertState(row["state"]),
        title=row["title"],
        text=row["text"],
        value=row["value"],
        threshold=row["threshold"],
        unit=AlertUnit(row["unit"]),
        fired_at=row["fired_at"].astimezone(UTC),
        acknowledged_at=at("acknowledged_at"),
        acknowledged_by=row["acknowledged_by"],
        resolved_at=at("resolved_at"),
        key_disabled=None if row["key_action"] is None else row["key_action"] == "done",
        steps=steps,
    )
