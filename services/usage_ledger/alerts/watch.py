"""Evaluates alert rules in one process at a time: what marks say has changed, and what a moment changes.

It costs what changes, not what rules there are: a tenant without marks that is not due is not looked at. What is open, rules
and usage are kept in memory, and read anew when the version of the tenant's rules differs, when an older quarter hour changes, or
when another process has evaluated in between. A process that is killed leaves the marks, and a successor finds the same.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Column, MetaData, Table, Text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts.alert_metrics import AlertMetric
from keyferry.contracts.alert_rules import AlertRule
from keyferry.contracts.health import Outage
from keyferry.contracts.tenancy import PLATFORM_TENANT, Tenant
from keyferry.runtime.database.errors import DatabaseUnavailable
from keyferry.runtime.database.leader import LeadingRelay, PendingRow, RelayState
from keyferry.runtime.views import KvView
from services.usage_ledger.alerts.alert_log import AlertMemory, apply_moves, purge_alerts, read_memory, read_open_owners
from services.usage_ledger.alerts.causes import AlertCause, clear_causes, read_causes
from services.usage_ledger.alerts.conditions import AlertMove, find_moves
from services.usage_ledger.alerts.due import DueTenants, next_change
from services.usage_ledger.alerts.fact_reading import FactReader, NeededFacts, TenantKeys
from services.usage_ledger.alerts.facts import TenantFacts
from services.usage_ledger.alerts.findings import find_all, outage_subject
from services.usage_ledger.alerts.rule_store import (
    TenantAlertRules,
    lock_rules,
    read_owners,
    read_rules,
    read_versions,
)
from services.usage_ledger.alerts.tenant_usage import TenantUsage
from services.usage_ledger.alerts.usage_reading import load_usage, read_callers, renew_history, renew_usage
from services.usage_ledger.analytics.periods import floor_quarter
from services.usage_ledger.database import SCHEMA

_log = logging.getLogger(__name__)

_AT_ONCE = 100
"""Tenants whose facts are read together."""
_MOST_CAUSES = 1000
_MOST_KEPT = 20_000
"""Tenants whose rules and usage are kept in memory."""
_RETRY = timedelta(seconds=60)
_PURGE_EVERY = timedelta(hours=1)
POLL_SECONDS = 0.5
_OUTAGE_MESSAGE = "alert rules cannot be evaluated because of %s (%s): nothing is lost, retrying"
_CAUSES = Table("alert_causes", MetaData(schema=SCHEMA), Column("id", Text))


@dataclass(slots=True)
class _Watched:
    """What is kept of a tenant."""

    rules: TenantAlertRules
    memory: AlertMemory
    zone: ZoneInfo
    usage: TenantUsage | None = None
    """None until it was read."""


class _RulesChanged(Exception):
    """Somebody has changed the rules of the tenant in the meantime: its marks stay."""


class AlertWatch(LeadingRelay):
    """Evaluates, while it holds the advisory lock. `evaluated` is called after alerts have changed."""

    def __init__(
        self,
        engine: AsyncEngine,
        facts: FactReader,
        keys: TenantKeys,
        tenants: KvView[Tenant],
        evaluated: Callable[[], None],
        clock: Callable[[], datetime],
        *,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        super().__init__(engine, _CAUSES, lock="alert rules", outage_message=_OUTAGE_MESSAGE, poll_seconds=poll_seconds)
        self._facts = facts
        self._keys = keys
        self._tenants = tenants
        self._evaluated = evaluated
        self._clock = clock
        self._watched: dict[str, _Watched] = {}
        self._due = DueTenants()
        self._failed: dict[str, datetime] = {}
        self._must_plan = True
        self._outages: set[str] = set()
        self._purged_at: datetime | None = None

    @property
    def leads(self) -> bool:
        """Whether this process evaluates."""
        return self.state is RelayState.LEADING

    def mark_keys(self, owner: str) -> None:
        """Look at a tenant whose keys have changed."""
        self._due.add(owner, self._clock())
        self.wake()

    def _on_lock_acquired(self) -> None:
        self._watched.clear()
        self._due.clear()
        self._failed.clear()
        self._outages.clear()
        self._must_plan = True

    async def _next_rows(self, connection: AsyncConnection) -> Sequence[PendingRow]:
        return ()

    async def _before_publishing(self, connection: AsyncConnection) -> None:
        """Evaluate all that is marked or due."""
        if not (self._tenants.ready and self._keys.known):
            return
        await self._plan(connection)
        while not self._stopping.is_set():
            now = self._clock()
            causes = [
                cause for cause in await read_causes(connection, _MOST_CAUSES) if self._may_try(cause.tenant, now)
            ]
            marked = {cause.tenant for cause in causes}
            due = [tenant for tenant in self._due.pop(now, _MOST_CAUSES) if tenant not in marked]
            pending = [*causes, *(AlertCause(tenant, 0, None) for tenant in due)]
            if not pending:
                return
            for first in range(0, len(pending), _AT_ONCE):
                await self.evaluate(pending[first : first + _AT_ONCE], self._clock())

    async def evaluate(self, causes: Sequence[AlertCause], now: datetime) -> None:
        """Evaluate the rules of some tenants, and remove the marks that led here. Raises SQLAlchemyError."""
        by_tenant = {cause.tenant: cause for cause in causes}
        known = [tenant for tenant in by_tenant if self._exists(tenant)]
        watched = await self._watch(known, now)
        usages: dict[str, TenantUsage] = {}
        for tenant in list(watched):
            usages[tenant] = await self._renew_usage(tenant, watched[tenant], by_tenant[tenant].first_quarter, now)
        facts = await self._facts.read([_needed(watched[tenant].rules) for tenant in watched], usages, now)
        if PLATFORM_TENANT in facts:
            await self._spread(facts[PLATFORM_TENANT].outages, now)
        done = [by_tenant[tenant] for tenant in by_tenant if tenant not in watched]
        for tenant, found in facts.items():
            if await self._evaluate_tenant(watched[tenant], found, by_tenant[tenant], now):
                done.append(by_tenant[tenant])
        async with self._engine.begin() as transaction:
            await clear_causes(transaction, done)

    async def _evaluate_tenant(self, watched: _Watched, facts: TenantFacts, cause: AlertCause, now: datetime) -> bool:
        """Evaluate one tenant; return whether its mark is done with. A defect of one rule must not stop the others."""
        tenant = watched.rules.tenant
        try:
            due = await self._apply(watched, facts, now)
        except _RulesChanged:
            self._watched.pop(tenant, None)
            self._due.add(tenant, now)
            return False
        except (SQLAlchemyError, DatabaseUnavailable):
            self._watched.pop(tenant, None)
            raise
        except Exception:  # the edge of the loop: one tenant's defect must not keep others from their alerts
            _log.exception("the alert rules of a tenant cannot be evaluated", extra={"tenant": tenant})
            self._watched.pop(tenant, None)
            self._failed[tenant] = now + _RETRY
            return False
        times = [
            at for at in (due, next_change(watched.rules.rules, facts, watched.memory.open, now)) if at is not None
        ]
        if facts.outages and self._facts.outages_until is not None:
            times.append(self._facts.outages_until)
        self._due.set(tenant, min(times, default=None))
        return True

    async def _apply(self, watched: _Watched, facts: TenantFacts, now: datetime) -> datetime | None:
        """Find what changes, and commit it with its events; return when the end of a cooldown may change more."""
        changes: list[tuple[AlertRule, Sequence[AlertMove]]] = []
        due: list[datetime] = []
        memory = watched.memory
        for rule in watched.rules.rules:
            findings = find_all(rule, facts, now) if rule.enabled else []
            if findings is None:
                continue
            resolved = memory.resolved.get(rule.rule_id, {})
            found = find_moves(rule, findings, memory.open.get(rule.rule_id, ()), resolved, now)
            if found.moves:
                changes.append((rule, found.moves))
            if found.due_at is not None:
                due.append(found.due_at)
        if changes:
            await self._commit(watched.rules, changes, now)
            _remember(memory, changes, now)
            self._evaluated()
        return min(due, default=None)

    async def _commit(
        self, rules: TenantAlertRules, changes: Iterable[tuple[AlertRule, Sequence[AlertMove]]], now: datetime
    ) -> None:
        async with self._engine.begin() as transaction:
            await lock_rules(transaction, rules.tenant)
            versions = await read_versions(transaction, [rules.tenant])
            if versions.get(rules.tenant, 0) != rules.version:
                raise _RulesChanged
            await apply_moves(transaction, rules.tenant, changes, now)

    async def _watch(self, tenants: Sequence[str], now: datetime) -> dict[str, _Watched]:
        """Return what is kept of tenants, read anew where their rules or their time zone have changed."""
        async with self._engine.connect() as connection:
            versions = await read_versions(connection, tenants)
            stale = [tenant for tenant in tenants if self._is_stale(tenant, versions.get(tenant, 0))]
            if stale:
                rules = await read_rules(connection, stale)
                memories = await read_memory(connection, stale, now)
                for tenant in stale:
                    self._watched[tenant] = _Watched(rules[tenant], memories[tenant], self._facts.zone_of(tenant))
        found = {tenant: self._watched[tenant] for tenant in tenants}
        while len(self._watched) > _MOST_KEPT:
            del self._watched[next(iter(self._watched))]
        return found

    def _is_stale(self, tenant: str, version: int) -> bool:
        known = self._watched.get(tenant)
        return known is None or known.rules.version != version or known.zone != self._facts.zone_of(tenant)

    async def _renew_usage(
        self, tenant: str, watched: _Watched, first_quarter: int | None, now: datetime
    ) -> TenantUsage:
        """Return a tenant's usage with what was recorded since: only the quarter hours from the first change on are read."""
        async with self._engine.connect() as connection:
            usage = watched.usage
            if usage is None or (first_quarter is not None and first_quarter < usage.kept_from):
                usage = watched.usage = await load_usage(connection, tenant, watched.rules.rules, now, watched.zone)
            elif first_quarter is not None and usage.rules:
                await renew_usage(connection, tenant, usage, first_quarter)
            if usage.rules:
                await renew_history(connection, tenant, usage, now, watched.zone)
        return usage

    async def _plan(self, connection: AsyncConnection) -> None:
        """Look at every tenant once for which time may matter, after another process has evaluated."""
        now = self._clock()
        if self._must_plan:
            owners = {PLATFORM_TENANT, *self._keys.owners(), *await read_owners(connection)}
            for tenant in owners.union(await read_open_owners(connection)):
                self._due.add(tenant, now)
            self._must_plan = False
        if self._purged_at is None or now - self._purged_at >= _PURGE_EVERY:
            self._purged_at = now
            await purge_alerts(connection, now)

    async def _spread(self, outages: Sequence[Outage], now: datetime) -> None:
        """Look at the tenants that have just called a provider of which an outage begins."""
        lasting = {outage_subject(outage): outage.provider for outage in outages}
        began = lasting.keys() - self._outages
        self._outages = set(lasting)
        if began:
            async with self._engine.connect() as connection:
                since = floor_quarter(now) - 1
                for tenant in await read_callers(connection, {lasting[subject] for subject in began}, since):
                    self._due.add(tenant, now)

    def _exists(self, tenant: str) -> bool:
        if tenant == PLATFORM_TENANT:
            return True
        found = self._tenants.get(tenant)
        return found is not None and found.deleted_at is None

    def _may_try(self, tenant: str, now: datetime) -> bool:
        until = self._failed.get(tenant)
        if until is not None and now >= until:
            del self._failed[tenant]
        return until is None or now >= until


def _needed(rules: TenantAlertRules) -> NeededFacts:
    metrics = {rule.metric for rule in rules.rules if rule.enabled}
    return NeededFacts(
        rules.tenant,
        allowance=AlertMetric.ALLOWANCE_USED_PERCENT in metrics,
        outages=AlertMetric.PROVIDER_OUTAGE in metrics,
    )


def _remember(memory: AlertMemory, changes: Iterable[tuple[AlertRule, Sequence[AlertMove]]], now: datetime) -> None:
    for rule, moves in changes:
        of_rule = memory.open.setdefault(rule.rule_id, set())
        for move in moves:
            if move.fires:
                of_rule.add(move.subject)
            else:
                of_rule.discard(move.subject)
                memory.resolved.setdefault(rule.rule_id, {})[move.subject] = now
