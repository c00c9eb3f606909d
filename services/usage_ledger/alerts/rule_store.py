"""Alert rules in PostgreSQL, and those that every tenant has. A change and its audit event are committed together."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import ValidationError
from sqlalchemy import Row, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql import bindparam

from keyferry.contracts import ids
from keyferry.contracts.alert_rules import (
    MAX_ALERT_RULES,
    AlertRule,
    AlertRuleTerms,
    RemoveAlertRule,
    SaveAlertRule,
)
from keyferry.contracts.audit import AuditHead
from keyferry.contracts.audit_changes import describe_changes
from keyferry.contracts.envelope import describe
from services.usage_ledger.alerts.alert_log import resolve_rule
from services.usage_ledger.alerts.causes import mark_tenants
from services.usage_ledger.alerts.defaults import default_rule, default_rules
from services.usage_ledger.audit_log import OwnAction
from services.usage_ledger.database import TransactionalStore

Record = Callable[[AsyncConnection, OwnAction], Awaitable[AuditHead]]
"""Appends to the audit in the caller's transaction."""

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('alert rules ' || :tenant, 0))")
_READ = text("""
SELECT * FROM usage_ledger.alert_rules WHERE tenant = ANY(:tenants) ORDER BY tenant, created_at, rule_id
""")
_VERSIONS = text("""
SELECT tenant, sum(revision)::bigint AS version FROM usage_ledger.alert_rules WHERE tenant = ANY(:tenants) GROUP BY tenant
""")
_SAVE = text("""
INSERT INTO usage_ledger.alert_rules AS known (tenant, rule_id, terms, revision, created_at)
VALUES (:tenant, :rule_id, :terms, 1, :now)
ON CONFLICT (tenant, rule_id) DO UPDATE
SET terms = excluded.terms, revision = known.revision + 1, removed_at = NULL
RETURNING revision, created_at
""").bindparams(bindparam("terms", type_=JSONB))
_REMOVE = text("""
UPDATE usage_ledger.alert_rules SET removed_at = :now, revision = revision + 1
WHERE tenant = :tenant AND rule_id = :rule_id AND removed_at IS NULL RETURNING rule_id
""")
_OWNERS = text("SELECT DISTINCT tenant FROM usage_ledger.alert_rules WHERE removed_at IS NULL")


class UnknownAlertRule(Exception):
    """The tenant has no such rule."""


class TooManyAlertRules(Exception):
    """The tenant has as many rules as it may."""


class FixedMetric(Exception):
    """The metric of a rule stays as it is: its alerts would be of something else."""


class AlertRuleChanged(Exception):
    """Somebody else has changed the rule in the meantime."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"revision {revision}")
        self.revision = revision


@dataclass(frozen=True, slots=True)
class UnreadableRule:
    """A stored rule that this build cannot read."""

    rule_id: str
    name: str
    revision: int
    reason: str


@dataclass(frozen=True, slots=True)
class TenantAlertRules:
    """The rules of a tenant: its own, then those that every tenant has."""

    tenant: str
    version: int = 0
    """Grows with each change of any rule of the tenant."""
    rules: Sequence[AlertRule] = ()
    unreadable: Sequence[UnreadableRule] = ()
    changed_defaults: frozenset[str] = field(default_factory=frozenset)


class AlertRuleStore(TransactionalStore):
    """The alert rules of all tenants. Every method raises DatabaseUnavailable."""

    def __init__(self, engine: AsyncEngine, record: Record) -> None:
        super().__init__(engine)
        self._record = record

    async def save(self, command: SaveAlertRule, now: datetime) -> tuple[AlertRule, AuditHead]:
        """Add or replace a rule; return it, and the head of the audit to publish.

        Raises UnknownAlertRule, TooManyAlertRules, FixedMetric and AlertRuleChanged. Guard: a lock of the tenant's rules, which
        also keeps alerts from being opened by the former terms.
        """
        async with self.transaction() as connection:
            await lock_rules(connection, command.tenant)
            before = None if command.rule_id is None else await self._require(connection, command, command.rule_id)
            if before is None and len(await self._own(connection, command.tenant)) >= MAX_ALERT_RULES:
                raise TooManyAlertRules
            rule_id = command.rule_id or ids.new(ids.ALERT_RULE)
            terms = {name: value for name, value in command.model_dump(mode="json").items() if name in _TERMS}
            row = (
                await connection.execute(
                    _SAVE, {"tenant": command.tenant, "rule_id": rule_id, "terms": terms, "now": now}
                )
            ).one()
            rule = _rule(command.tenant, rule_id, terms, row.revision, row.created_at)
            if not rule.enabled:
                await resolve_rule(connection, rule.tenant, rule_id, now)
            await mark_tenants(connection, [rule.tenant])
            old = {} if before is None else before.model_dump(mode="json", include=set(_TERMS))
            details = describe_changes(old, rule.model_dump(mode="json", include=set(_TERMS)))
            action = "alert_rule.add" if before is None else "alert_rule.change"
            done = OwnAction(command.actor, action, rule_id, details, rule.tenant)
            return rule, await self._record(connection, done)

    async def remove(self, command: RemoveAlertRule, now: datetime) -> tuple[int, AuditHead]:
        """Remove a rule, or the changes of one that every tenant has; return how many alerts were resolved.

        Raises UnknownAlertRule.
        """
        async with self.transaction() as connection:
            await lock_rules(connection, command.tenant)
            values = {"tenant": command.tenant, "rule_id": command.rule_id, "now": now}
            if (await connection.execute(_REMOVE, values)).first() is None:
                raise UnknownAlertRule
            resolved = await resolve_rule(connection, command.tenant, command.rule_id, now)
            await mark_tenants(connection, [command.tenant])
            done = OwnAction(command.actor, "alert_rule.remove", command.rule_id, {}, command.tenant)
            return resolved, await self._record(connection, done)

    async def _require(self, connection: AsyncConnection, command: SaveAlertRule, rule_id: str) -> AlertRule | None:
        """Return the rule that a command replaces, with the terms that it has; None if they cannot be read."""
        found = (await read_rules(connection, [command.tenant]))[command.tenant]
        rule = next((rule for rule in found.rules if rule.rule_id == rule_id), None)
        unreadable = next((each for each in found.unreadable if each.rule_id == rule_id), None)
        if rule is None and unreadable is None:
            raise UnknownAlertRule
        revision = rule.revision if rule is not None else unreadable.revision if unreadable is not None else 0
        if command.expected_revision not in (None, revision):
            raise AlertRuleChanged(revision)
        if rule is not None and rule.metric is not command.metric:
            raise FixedMetric
        return rule

    async def _own(self, connection: AsyncConnection, tenant: str) -> list[AlertRule]:
        found = (await read_rules(connection, [tenant]))[tenant]
        return [rule for rule in found.rules if default_rule(tenant, rule.rule_id) is None]


async def lock_rules(connection: AsyncConnection, tenant: str) -> None:
    """Let nobody else change the rules of a tenant, or open and resolve their alerts, until the transaction ends."""
    await connection.execute(_LOCK, {"tenant": tenant})


async def read_versions(connection: AsyncConnection, tenants: Iterable[str]) -> dict[str, int]:
    """Return the versions of those tenants that ever saved a rule; the others have 0."""
    rows = await connection.execute(_VERSIONS, {"tenants": sorted(tenants)})
    return {row.tenant: row.version for row in rows}


async def read_owners(connection: AsyncConnection) -> list[str]:
    """Return the tenants that have saved rules."""
    return list(await connection.scalars(_OWNERS))


async def read_rules(connection: AsyncConnection, tenants: Sequence[str]) -> dict[str, TenantAlertRules]:
    """Return the rules of tenants."""
    rows: dict[str, list[Row[tuple[object, ...]]]] = {tenant: [] for tenant in tenants}
    for row in await connection.execute(_READ, {"tenants": sorted(tenants)}):
        rows[row.tenant].append(row)
    return {tenant: _merge(tenant, found) for tenant, found in rows.items()}


def _merge(tenant: str, rows: Sequence[Row[tuple[object, ...]]]) -> TenantAlertRules:
    own: list[AlertRule] = []
    changed: dict[str, AlertRule | None] = {}
    unreadable: list[UnreadableRule] = []
    defaults = {rule.rule_id: rule for rule in default_rules(tenant)}
    for row in rows:
        if row.removed_at is not None:
            continue
        try:
            rule = _rule(tenant, row.rule_id, row.terms, row.revision, row.created_at)
        except ValidationError as error:
            reason = f"this build cannot read it: {describe(error)}; save it anew, or remove it"
            unreadable.append(
                UnreadableRule(row.rule_id, str(row.terms.get("name", row.rule_id)), row.revision, reason)
            )
            changed[row.rule_id] = None
            continue
        if row.rule_id in defaults:
            changed[row.rule_id] = rule
        else:
            own.append(rule)
    of_all = [changed.get(rule_id, rule) for rule_id, rule in defaults.items()]
    return TenantAlertRules(
        tenant,
        sum(row.revision for row in rows),
        [*own, *(rule for rule in of_all if rule is not None)],
        unreadable,
        frozenset(changed.keys() & defaults.keys()),
    )


def _rule(tenant: str, rule_id: str, terms: dict[str, object], revision: int, created_at: datetime) -> AlertRule:
    known = {name: value for name, value in terms.items() if name in _TERMS}
    return AlertRule.model_validate(
        known | {"tenant": tenant, "rule_id": rule_id, "revision": revision, "created_at": created_at.astimezone(UTC)}
    )


_TERMS = tuple(name for name in AlertRuleTerms.model_fields if name != "tenant")
