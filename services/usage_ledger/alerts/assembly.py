"""Assembles what evaluates alert rules and answers about them."""

from datetime import UTC, datetime
from functools import partial

from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.billing.plan import BillingPlan
from keyferry.contracts.alert_management import KEY_DISABLE
from keyferry.contracts.buckets import PROVIDER_KEYS_VIEW
from keyferry.contracts.tenancy import Tenant
from keyferry.runtime.database.event_outbox import EventRelay
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.views import KvView
from services.usage_ledger.alerts.alert_store import AlertStore
from services.usage_ledger.alerts.fact_reading import FactReader, TenantKeys
from services.usage_ledger.alerts.handlers import AlertHandlers
from services.usage_ledger.alerts.key_disabling import KeyDisabling
from services.usage_ledger.alerts.preview import AlertPreviews
from services.usage_ledger.alerts.reference_check import ReferenceCheck
from services.usage_ledger.alerts.rule_store import AlertRuleStore
from services.usage_ledger.alerts.watch import AlertWatch
from services.usage_ledger.audit_log import AuditLog
from services.usage_ledger.budgets.store import BudgetStore
from services.usage_ledger.charges.allowance_store import AllowanceStore
from services.usage_ledger.database import EVENT_COUNTER, EVENT_OUTBOX
from services.usage_ledger.known_tenants import KnownTenants
from services.usage_ledger.outage_store import OutageStore

_DISABLE_SECONDS = 10.0
_CHECK_SECONDS = 2.0
"""Less than those wait who list or save rules: what cannot be looked up in time is left out."""


class AlertEvaluation:
    """The evaluation of rules and the publication of events, which begin once the database is open."""

    def __init__(self) -> None:
        self.watch: AlertWatch | None = None
        self.events: EventRelay | None = None
        self.disabling: KeyDisabling | None = None

    def wake(self) -> None:
        """Evaluate and publish what was committed at once."""
        if self.watch is not None:
            self.watch.wake()
        if self.events is not None:
            self.events.wake()

    def wake_after(self) -> None:
        """Publish what an evaluation has committed, and disable keys that it asks for."""
        if self.events is not None:
            self.events.wake()
        if self.disabling is not None:
            self.disabling.wake()

    async def start(self) -> None:
        """Start to evaluate and to publish."""
        for part in (self.watch, self.events):
            if part is not None:
                part.start()
        if self.disabling is not None:
            await self.disabling.start()

    async def stop(self) -> None:
        """Stop; what is marked or not published yet stays in the tables."""
        for part in (self.disabling, self.watch, self.events):
            if part is not None:
                await part.stop()


def serve_alerts(
    service: Service,
    engine: AsyncEngine,
    readers: AsyncEngine,
    tenants: KvView[Tenant],
    known: KnownTenants,
    audit_log: AuditLog,
    plan: BillingPlan,
) -> AlertEvaluation:
    """Answer requests about alerts; return what evaluates rules, which the caller starts once the database is open."""
    clock = partial(datetime.now, UTC)
    evaluation = AlertEvaluation()
    view = KvView(service.bus, PROVIDER_KEYS_VIEW)
    keys = TenantKeys(view, lambda owner: evaluation.watch.mark_keys(owner) if evaluation.watch is not None else None)
    service.opens(view.start, view.stop)
    outages = OutageStore(readers)
    budgets = BudgetStore(readers, audit_log.append)
    allowances = AllowanceStore(readers, plan, tenants.get, lambda: tenants.ready)
    facts = FactReader(readers, budgets, allowances, outages, keys, tenants)
    evaluation.events = EventRelay(engine, EVENT_OUTBOX, EVENT_COUNTER, lambda: service.bus.jetstream)
    evaluation.watch = watch = AlertWatch(engine, facts, keys, tenants, evaluation.wake_after, clock)
    evaluation.disabling = KeyDisabling(
        engine, partial(service.bus.ask, KEY_DISABLE, timeout_seconds=_DISABLE_SECONDS), lambda: watch.leads
    )
    previews = AlertPreviews(readers, outages, keys, facts.zone_of, clock)
    rules, alerts = AlertRuleStore(engine, audit_log.append), AlertStore(engine, audit_log.append)
    references = ReferenceCheck(readers, partial(service.bus.ask, timeout_seconds=_CHECK_SECONDS))
    handlers = AlertHandlers(
        rules, alerts, facts, references, previews, known.require, evaluation.wake, audit_log.publish, clock
    )
    handlers.register(service.bus)
    return evaluation
