"""Assembles the usage ledger."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyferry.billing.plan import BillingPlan
from keyferry.contracts.accounts import AccountKind
from keyferry.contracts.erasure_management import TENANT_ERASE_LEDGER
from keyferry.contracts.key import KeySpends
from keyferry.contracts.ledger_management import BUDGETS_VIEW
from keyferry.contracts.price_edits import PriceEntry
from keyferry.contracts.routing_management import PRICES_VIEW, RATINGS_VIEW
from keyferry.contracts.tenancy import Tenant
from keyferry.contracts.topology import ATTEMPT_CONFIRMED, KEYS_SPENT, TENANTS_VIEW, Role
from keyferry.contracts.usage import AttemptsConfirmed, LedgerRow
from keyferry.pricing.book import PriceBook
from keyferry.runtime.billing import load_plan
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.database.connecting import describe_servers
from keyferry.runtime.database.engine import engine_for, open_database
from keyferry.runtime.database.erasure import TenantEraser
from keyferry.runtime.database.erasure_handler import BEYOND_ITS_SCOPE, ErasureHandler
from keyferry.runtime.database.errors import DatabaseUnavailable
from keyferry.runtime.prices import load_prices
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.process.settings import SettingsError, load
from keyferry.runtime.views import KvView
from services.usage_ledger.accounts.debts import DebtStore
from services.usage_ledger.alerts.assembly import serve_alerts
from services.usage_ledger.alerts.causes import AlertCauses
from services.usage_ledger.analytics.estimates import UsageEstimates
from services.usage_ledger.analytics.handlers import AnalyticsHandlers
from services.usage_ledger.analytics.installation import InstallationReports
from services.usage_ledger.analytics.installation_handlers import InstallationHandlers
from services.usage_ledger.analytics.position import IngestPosition
from services.usage_ledger.analytics.projection import RollupProjection
from services.usage_ledger.analytics.rebuild import RollupRebuild
from services.usage_ledger.analytics.reports import UsageReports
from services.usage_ledger.audit_assembly import assemble_audit_log
from services.usage_ledger.audit_log import AuditLog
from services.usage_ledger.budgets.funding import prepare_account
from services.usage_ledger.budgets.handlers import BudgetHandlers
from services.usage_ledger.budgets.spending_store import BudgetSpending
from services.usage_ledger.budgets.store import BudgetStore
from services.usage_ledger.charges.allowance_store import AllowanceStore
from services.usage_ledger.charges.handlers import ChargeHandlers
from services.usage_ledger.charges.margin_store import MarginStore
from services.usage_ledger.charges.rerating_store import RerateStore
from services.usage_ledger.compliance.handlers import ComplianceHandlers
from services.usage_ledger.contents.serving import serve_contents
from services.usage_ledger.credit.handlers import CreditLeaseHandlers
from services.usage_ledger.credit.release import CreditRelease, read_progress
from services.usage_ledger.credit.settlement import CreditSettlement
from services.usage_ledger.credit.store import CreditLeaseStore
from services.usage_ledger.credit.worker_handlers import CreditWorkerHandlers
from services.usage_ledger.credit.worker_store import CreditWorkerStore
from services.usage_ledger.database import OUTBOX, SCHEMA
from services.usage_ledger.dead_letter_handlers import DeadLetterHandlers
from services.usage_ledger.dead_letter_replay import DeadLetterReplay
from services.usage_ledger.dead_letter_stream import DeadLetterStream
from services.usage_ledger.feedback.handlers import FeedbackHandlers
from services.usage_ledger.feedback.store import FeedbackStore
from services.usage_ledger.handlers import Handlers
from services.usage_ledger.health_history import HealthHistory
from services.usage_ledger.ingestion import Ingestion
from services.usage_ledger.key_spending import KeySpendPublisher
from services.usage_ledger.key_spending_store import KeySpendingStore
from services.usage_ledger.known_tenants import KnownTenants
from services.usage_ledger.live.assembly import publish_live
from services.usage_ledger.live.publisher import LivePublisher
from services.usage_ledger.metrics import register_gauges
from services.usage_ledger.outage_store import OutageStore
from services.usage_ledger.partitions.store import PartitionStore
from services.usage_ledger.partitions.upkeep import PartitionUpkeep
from services.usage_ledger.past_decision_store import PastDecisionStore
from services.usage_ledger.payments.assembly import serve_credits
from services.usage_ledger.payments.closing import AccountClosing
from services.usage_ledger.plan_check import warn_of_plans_below_cost
from services.usage_ledger.projections.known import known_projections
from services.usage_ledger.projections.store import CheckStore
from services.usage_ledger.projections.watch import ProjectionWatch
from services.usage_ledger.publication import LedgerPublication
from services.usage_ledger.read_replica import UsageQueries
from services.usage_ledger.replayed_record import ATTEMPTS, AUDIT, CHANGES, DECISIONS
from services.usage_ledger.request_log.assembly import answer_about_requests
from services.usage_ledger.request_log.projection import RefusedRequests, RequestFacets
from services.usage_ledger.settings import LedgerSettings
from services.usage_ledger.statements.assembly import serve_statements
from services.usage_ledger.store import LedgerStore, NotDurable
from services.usage_ledger.tenant_data import TENANT_TABLES
from services.usage_ledger.usage_store import UsageStore

_log = logging.getLogger(__name__)

VERSIONS_DIR = Path(__file__).parent / "migrations" / "versions"
_PING_EVERY_SECONDS = 1.0
_PING_TIMEOUT_SECONDS = 3.0
_LOG_EVERY_SECONDS = 5.0
_PUBLISH_TIMEOUT_SECONDS = 5.0
_POOL_SIZE = 8
"""Connections to PostgreSQL; the relays of views and of events and the evaluation of alerts keep one each for their locks."""
_READERS = 4
"""Connections for queries of usage and of the request log, which may take seconds: more of them wait."""
_REBUILD_RETRY_SECONDS = 5.0


class LedgerDatabase:
    """The connection to PostgreSQL, and whether it is reachable now."""

    def __init__(self, settings: LedgerSettings) -> None:
        self.engine = engine_for(settings, pool_size=_POOL_SIZE)
        self._watch_task: asyncio.Task[None] | None = None
        self._rebuild_task: asyncio.Task[None] | None = None
        self._logged_at = 0.0
        self.key_spending = KeySpendingStore(self.engine)
        self.settlement = CreditSettlement()
        # Rollups last: what a transaction changes after them waits for every other process that records attempts.
        self.store = LedgerStore(
            self.engine,
            [self.settlement, self.key_spending, BudgetSpending(), RequestFacets(), AlertCauses(), RollupProjection()],
            [RefusedRequests()],
        )
        # Of their own, so that no query takes the connection that attempts are recorded or credit is leased on.
        self.readers = engine_for(settings, pool_size=_READERS)
        self.queries = UsageQueries(settings, self.engine, self.readers)
        self.rollups = RollupRebuild(self.engine)
        self.credit = CreditLeaseStore(self.engine)
        self.credit.open_with(AccountKind.BUDGET, prepare_account)
        self.credit_workers = CreditWorkerStore(self.engine)
        self.usage = UsageStore(self.readers)
        self.past_decisions = PastDecisionStore(self.engine)
        self.feedback = FeedbackStore(self.engine)
        self.reachable = False

    def stores(self) -> tuple[LedgerStore, UsageStore, PastDecisionStore]:
        """Return the stores of what people read."""
        return self.store, self.usage, self.past_decisions

    async def open(self) -> None:
        """Wait for PostgreSQL. Raises SchemaMismatch, and SettingsError if PostgreSQL may lose a commit."""
        await open_database(self.engine, SCHEMA, VERSIONS_DIR)
        try:
            await self.store.require_durability()
        except NotDurable as error:
            raise SettingsError(str(error)) from None
        self.reachable = True
        self.queries.start()
        self._rebuild_task = asyncio.create_task(self._rebuild_rollups(), name="add up usage that was recorded earlier")
        self._watch_task = asyncio.create_task(self._watch_connection(), name="watch PostgreSQL")

    async def close(self) -> None:
        """Stop watching and disconnect."""
        for task in (self._watch_task, self._rebuild_task):
            if task is not None:
                await cancel_and_wait(task)
        await self.queries.stop()
        await self.readers.dispose()
        await self.engine.dispose()

    async def _rebuild_rollups(self) -> None:
        while True:
            try:
                await self.rollups.rebuild_pending()
                return
            except DatabaseUnavailable:
                await asyncio.sleep(_REBUILD_RETRY_SECONDS)

    async def _watch_connection(self) -> None:
        while True:
            await asyncio.sleep(_PING_EVERY_SECONDS)
            self.reachable = await self._ping()
            if not self.reachable:
                self._log_outage(asyncio.get_running_loop().time())

    async def _ping(self) -> bool:
        try:
            async with asyncio.timeout(_PING_TIMEOUT_SECONDS):
                await self.store.ping()
        except (DatabaseUnavailable, TimeoutError):
            return False
        return True

    def _log_outage(self, now: float) -> None:
        if now - self._logged_at >= _LOG_EVERY_SECONDS:
            self._logged_at = now
            _log.warning(
                "PostgreSQL does not answer at %s: start it (`make up` does); attempts stay in their stream, nothing is lost",
                describe_servers(self.engine.url),
            )


async def _confirm(bus: Bus, confirmation: AttemptsConfirmed) -> None:
    await bus.client.publish(ATTEMPT_CONFIRMED.format(worker=confirmation.worker_id), confirmation.encode())


async def _publish_spends(bus: Bus, spends: KeySpends) -> None:
    await bus.jetstream.publish(KEYS_SPENT.format(), spends.encode(), timeout=_PUBLISH_TIMEOUT_SECONDS)


def _follow_operator_prices(service: Service, prices: PriceBook) -> KvView[PriceEntry]:
    """Keep the operator's prices current while the service runs; without them attempts would get a wrong cost."""
    view = KvView(service.bus, PRICES_VIEW)
    view.on_change(lambda: prices.install(entry for _, entry in view))
    service.opens(view.start, view.stop)
    service.needs_view(view)
    return view


def _follow_tenants(service: Service) -> KvView[Tenant]:
    tenants = KvView(service.bus, TENANTS_VIEW)
    service.opens(tenants.start, tenants.stop)
    return tenants


def _pass_on(rows: list[LedgerRow], spending: KeySpendPublisher, live: LivePublisher) -> None:
    spending.mark_changed(rows)
    live.add_attempts(rows)


def _replay_of(
    letters: DeadLetterStream, ingestion: Ingestion, audit_log: AuditLog, history: HealthHistory
) -> DeadLetterReplay:
    """Connect each stream's dead letters with its ingestion."""
    record_again = {
        ATTEMPTS: ingestion.replay_attempts,
        DECISIONS: ingestion.replay_decisions,
        AUDIT: audit_log.replay,
        CHANGES: history.replay,
    }
    return DeadLetterReplay(letters, record_again, audit_log.record)


def _facts(
    ingestion: Ingestion,
    dead_letters: DeadLetterStream,
    history: HealthHistory,
    settlement: CreditSettlement,
    prices: PriceBook,
    plan_version: str,
) -> dict[str, str]:
    return {
        **ingestion.counters.facts(),
        "dead_letters": str(dead_letters.count),
        "health_changes": str(history.recorded),
        "prices": prices.version,
        "plan": plan_version,
        "uncollected_micro_usd": str(settlement.uncollected_micro_usd),
        "operator_prices": str(len(prices)),
    }


def _keep_partitions(bus: Bus, database: LedgerDatabase, settings: LedgerSettings) -> PartitionUpkeep:
    upkeep = PartitionUpkeep(PartitionStore(database.engine), settings.retention(), partial(datetime.now, UTC))
    upkeep.register(bus)
    return upkeep


def _register_analytics(
    service: Service,
    database: LedgerDatabase,
    tenants: KvView[Tenant],
    prices: PriceBook,
    plan: BillingPlan,
    settings: LedgerSettings,
    release: CreditRelease,
) -> None:
    """Answer queries of usage and statements, with how far attempts are recorded."""
    clock, longest = partial(datetime.now, UTC), timedelta(seconds=settings.request_deadline_seconds)
    position = IngestPosition(lambda: service.bus.jetstream, clock, longest, release.settled_until)
    service.opens(position.start, position.stop)

    def complete_until() -> datetime | None:
        return None if database.rollups.pending else position.complete_until()

    reports = UsageReports(database.queries.engine, clock, database.queries.careful(complete_until))
    service.bus.alerts.append(database.queries.notes)
    serve_statements(service, database.engine, database.readers, tenants, complete_until)
    estimates = UsageEstimates(reports, prices, plan)
    AnalyticsHandlers(reports, estimates).register(service.bus)
    InstallationHandlers(InstallationReports(reports, estimates)).register(service.bus)


def _serve_credit(
    bus: Bus, database: LedgerDatabase, audit_log: AuditLog, key: Ed25519PrivateKey, live: LivePublisher
) -> CreditRelease:
    """Answer routers' requests for credit; return the job that releases ended leases."""
    clock = partial(datetime.now, UTC)
    CreditLeaseHandlers(database.credit, key, clock, live.mark_credits).register(bus)
    CreditWorkerHandlers(database.credit_workers, audit_log.record, clock).register(bus)
    debts = DebtStore(database.engine).collect
    return CreditRelease(
        database.credit, database.credit_workers, lambda: read_progress(bus.jetstream), clock, live.mark_released, debts
    )


def _register_charges(
    service: Service,
    database: LedgerDatabase,
    tenants: KvView[Tenant],
    prices: PriceBook,
    plan: BillingPlan,
    prices_known: Callable[[], bool],
    audit_log: AuditLog,
    spending: KeySpendPublisher,
) -> None:
    """Register the handlers about charges, and what funds the accounts of free requests."""
    clock = partial(datetime.now, UTC)
    allowances = AllowanceStore(database.engine, plan, tenants.get, lambda: tenants.ready)
    reratings = RerateStore(database.engine, prices, plan, clock, spending.mark_keys)
    margin = MarginStore(database.readers, plan, clock)
    ChargeHandlers(allowances, margin, reratings, audit_log, prices_known, clock).register(service.bus)
    database.credit.open_with(AccountKind.ALLOWANCE, allowances.open_account)


def _watch_projections(bus: Bus, database: LedgerDatabase, audit_log: AuditLog) -> ProjectionWatch:
    projections = known_projections(database.engine, database.rollups)
    watch = ProjectionWatch(CheckStore(database.engine), projections, audit_log.record, partial(datetime.now, UTC))
    watch.register(bus)
    return watch


def _serve_published(bus: Bus, database: LedgerDatabase, audit_log: AuditLog, known: KnownTenants) -> LedgerPublication:
    """Answer requests about what is published to views; return what publishes it."""
    clock = partial(datetime.now, UTC)
    budgets = BudgetStore(database.engine, audit_log.append)
    contents = (database.feedback.view_contents, budgets.view_contents)
    publication = LedgerPublication(bus, database.engine, (RATINGS_VIEW, BUDGETS_VIEW), contents)
    FeedbackHandlers(database.feedback, publication.wake, clock).register(bus)
    eraser = TenantEraser(database.engine, SCHEMA, TENANT_TABLES, OUTBOX)
    closing = AccountClosing(database.engine, eraser.erase, audit_log, clock)
    bus.respond(
        TENANT_ERASE_LEDGER, ErasureHandler(closing.erase, publication.wake).erase, all_tenants=BEYOND_ITS_SCOPE
    )
    BudgetHandlers(budgets, known.require, publication.wake, audit_log.publish, clock).register(bus)
    return publication


def create_app(settings: LedgerSettings | None = None) -> Service:
    """Assemble a usage ledger from `settings`, or from the environment. Raises SettingsError."""
    settings = settings or load(LedgerSettings)
    prices, plan = PriceBook(load_prices(settings.price_file)), load_plan(settings.billing_file)
    service = Service(Role.USAGE_LEDGER, settings)
    bus = service.bus
    operator_prices = _follow_operator_prices(service, prices)
    tenants = _follow_tenants(service)
    known = KnownTenants(tenants)
    database = LedgerDatabase(settings)
    dead_letters = DeadLetterStream(lambda: bus.jetstream)
    spending = KeySpendPublisher(database.key_spending, partial(_publish_spends, bus), partial(datetime.now, UTC))
    live = publish_live(service, database.readers, dead_letters)
    ingestion = Ingestion(
        store=database.store,
        prices=prices,
        plan=plan,
        prices_known=lambda: operator_prices.ready,
        confirm=partial(_confirm, bus),
        publish_dead_letter=dead_letters.publish,
        telemetry=service.telemetry,
        clock=partial(datetime.now, UTC),
        on_new_attempts=lambda rows: _pass_on(rows, spending, live),
        on_new_decisions=live.add_decisions,
        on_watermarks=database.credit_workers.record,
    )
    audit_log = assemble_audit_log(bus, database.engine, settings.audit_key(), dead_letters.publish)
    history = HealthHistory(OutageStore(database.engine), dead_letters.publish, partial(datetime.now, UTC))
    Handlers(*database.stores(), ingestion, audit_log, dead_letters, history).register(bus)
    DeadLetterHandlers(_replay_of(dead_letters, ingestion, audit_log, history)).register(bus)
    answer_about_requests(bus, database.engine, database.queries.engine, database.store, prices, plan)
    publication = _serve_published(bus, database, audit_log, known)
    serve_credits(bus, database.engine, known, audit_log, live.mark_credits_first)
    ComplianceHandlers(database.readers, known.require, tenants.get, settings.retention()).register(bus)
    serve_contents(service, database.engine, settings.content_key(), tenants.get, audit_log)
    alerts = serve_alerts(service, database.engine, database.readers, tenants, known, audit_log, plan)
    watch = _watch_projections(bus, database, audit_log)
    release = _serve_credit(bus, database, audit_log, settings.credit_key(), live)
    _register_charges(service, database, tenants, prices, plan, lambda: operator_prices.ready, audit_log, spending)
    service.opens(partial(warn_of_plans_below_cost, plan))
    service.opens(database.open, database.close)
    _register_analytics(service, database, tenants, prices, plan, settings, release)
    upkeep = _keep_partitions(bus, database, settings)
    for part in (upkeep, watch, publication, spending, dead_letters, release, alerts):
        service.opens(part.start, part.stop)
    service.needs("PostgreSQL", lambda: database.reachable)
    register_gauges(service.metrics, lambda: dead_letters.count, lambda: database.reachable)
    service.degraded = lambda: [*dead_letters.degraded(), *watch.degraded(), *release.degraded()]
    service.facts = partial(_facts, ingestion, dead_letters, history, database.settlement, prices, plan.version)
    return service
