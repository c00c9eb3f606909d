"""Assembles the router."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from keyferry.contracts.addresses import AddressPolicy
from keyferry.contracts.credit import CreditLease, LeaseCredit, ReturnCredit
from keyferry.contracts.erasure_management import TENANT_ERASE_ROUTER
from keyferry.contracts.ledger_management import CREDIT_LEASE, CREDIT_RETURN
from keyferry.contracts.route import EndpointProbe, ProbeEndpoint
from keyferry.contracts.routing_management import (
    CATALOG_VIEW,
    PREFERENCES_VIEW,
    PRICES_VIEW,
    PROVIDERS_VIEW,
    ROUTING_RULES_VIEW,
)
from keyferry.contracts.topology import (
    ENDPOINT_PROBE,
    ENDPOINTS_VIEW,
    REQUEST_DECIDED,
    Role,
)
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.publishing import BatchPublisher
from keyferry.runtime.database.erasure import TenantEraser
from keyferry.runtime.database.erasure_handler import BEYOND_ITS_SCOPE, ErasureHandler
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.process.settings import load
from keyferry.runtime.tiers import load_tiers
from keyferry.tiers.file import Tiers
from services.router.catalog.handlers import CatalogHandlers
from services.router.catalog.store import PostgresCatalogStore
from services.router.credit.attempt_budgets import AttemptBudgets
from services.router.credit.needs import SpendingRules
from services.router.credit.request_credit import RequestCredit
from services.router.credit.reserver import CreditReserver
from services.router.credit.wallet import CreditWallet
from services.router.database import OUTBOX, SCHEMA, Publication, RouterDatabase
from services.router.endpoints.store import PostgresEndpointStore
from services.router.handlers import ManagementHandlers, ProbeAddress, Publish, RequestHandlers
from services.router.limits.bus_counters import BusCounters
from services.router.limits.counter import Spawn
from services.router.limits.limiter import RequestLimiter
from services.router.limits.window_clock import WindowClock
from services.router.metrics import register_gauges
from services.router.power.comparing import ComparisonEnvironment, ComparisonHandlers
from services.router.power.estimates import EstimateRates
from services.router.power.handlers import EstimateHandlers, PreviewHandlers
from services.router.preferences.handlers import PreferenceHandlers
from services.router.preferences.store import PostgresPreferenceStore
from services.router.recommendations.handlers import RecommendationEnvironment, RecommendationHandlers
from services.router.reference_handlers import ReferenceQuestions
from services.router.routing_data import RoutingData
from services.router.rules.management import RuleHandlers, RulesEnvironment
from services.router.rules.store import PostgresRuleStore
from services.router.settings import RouterSettings
from services.router.tenant_data import TENANT_TABLES

_DECISION_LINGER_SECONDS = 0.02
_FLUSH_SECONDS = 5.0
_LEASE_SECONDS = 0.8
"""A request that waits longer comes too late for a worker."""
_WITHOUT_CREDIT = (
    "the usage ledger grants no credit, so requests that are paid in credits are refused: `keyferry doctor` shows whether it and"
    " PostgreSQL run"
)
_PROBE_SECONDS = 12.0
"""A worker takes at most ten."""


def create_app(settings: RouterSettings | None = None, wall_clock: Callable[[], float] = time.time) -> Service:
    """Assemble a router from `settings`, or from the environment. Raises SettingsError and InvalidCatalog.

    `wall_clock` returns Unix seconds; the windows of limits are named by it.
    """
    settings = settings or load(RouterSettings)
    service = Service(Role.ROUTER, settings)
    bus = service.bus
    tiers = load_tiers(settings.tier_file)
    data = RoutingData(bus, settings, tiers)
    publication = _manage(bus, data, settings)
    decisions = BatchPublisher(
        lambda: bus.jetstream,
        REQUEST_DECIDED.format(service=bus.user),
        producer=bus.user,
        linger_seconds=_DECISION_LINGER_SECONDS,
        capacity=settings.decision_capacity,
    )
    counters = BusCounters(bus)
    limiter = _limiter(counters, bus.spawn, tiers, settings, wall_clock)
    reserver = _reserver(bus, wall_clock)
    service.degraded = lambda: _degraded(counters, reserver, settings)
    for part in (limiter, reserver):
        service.opens(part.start)
        service.drains(part.stop)
    credit = RequestCredit(_spending_rules(data, settings, reserver), reserver)
    _request_handlers(service, data, limiter, credit, decisions).register(bus)

    async def start_decisions() -> None:
        decisions.start()

    service.opens(start_decisions, decisions.stop)
    service.opens(publication.open, publication.close)
    service.needs("publication of what is managed (PostgreSQL and NATS)", publication.is_current)
    data.register(service)
    service.drains(lambda: decisions.flush(_FLUSH_SECONDS))
    register_gauges(service.metrics, lambda: decisions.dropped)
    service.facts = lambda: {
        "tenants": str(len(data.tenants)),
        "endpoints": str(len(data.endpoints)),
        "provider_keys": str(len(data.keys)),
        "rule_sets": str(len(data.rules)),
        "models": str(len(data.catalog)),
        "prices": data.prices.version,
        "operator_prices": str(len(data.prices)),
        "targets_unhealthy": str(len(data.health)),
        "decisions_dropped": str(decisions.dropped),
    }
    return service


def _manage(bus: Bus, data: RoutingData, settings: RouterSettings) -> Publication:
    """Register the handlers of management requests, and return what publishes the changes that they make."""
    database = RouterDatabase.of(settings)
    policy = AddressPolicy(settings.egress_allow)
    endpoints = PostgresEndpointStore(database)
    rules = PostgresRuleStore(database)
    changes = PostgresCatalogStore(database)
    preferences = PostgresPreferenceStore(database)
    ManagementHandlers(endpoints, data.of, policy, _prober(bus)).register(bus)
    PreferenceHandlers(preferences, data.of).register(bus)
    PreviewHandlers(data.of, data.learned_of, data.power_tables.quality).register(bus)
    EstimateHandlers(data.of, _estimate_rates(data, settings)).register(bus)
    rule_handlers = _rule_handlers(bus, data, rules)
    rule_handlers.register(bus)
    _recommendation_handlers(bus, data, settings, rule_handlers).register(bus)
    _comparison_handlers(bus, data, settings).register(bus)
    ReferenceQuestions(data.of, data.knows_models, data.managed.providers).register(bus)
    eraser = TenantEraser(database.engine, SCHEMA, TENANT_TABLES, OUTBOX)
    bus.respond(
        TENANT_ERASE_ROUTER,
        ErasureHandler(eraser.erase, lambda: database.committed()).erase,
        all_tenants=BEYOND_ITS_SCOPE,
    )
    CatalogHandlers(changes, data.managed.bundled, data.listed, policy, data.find_uses).register(bus)
    return Publication(
        bus,
        database,
        (ENDPOINTS_VIEW, PREFERENCES_VIEW, ROUTING_RULES_VIEW, CATALOG_VIEW, PROVIDERS_VIEW, PRICES_VIEW),
        (endpoints.view_contents, preferences.view_contents, rules.view_contents, changes.view_contents),
    )


def _estimate_rates(data: RoutingData, settings: RouterSettings) -> Callable[[], EstimateRates]:
    def rates() -> EstimateRates:
        now = datetime.now(UTC)
        return EstimateRates(
            settings.billing_plan, lambda provider, model: data.managed.list_prices.tariff(provider, model, now)
        )

    return rates


def _rule_handlers(bus: Bus, data: RoutingData, store: PostgresRuleStore) -> RuleHandlers:
    return RuleHandlers(
        RulesEnvironment(
            store=store,
            index=data.rule_index,
            context_of=data.of,
            tenants=lambda: {tenant for tenant, _ in data.tenants},
            ask=bus.ask,
            cost=data.cost,
            clock=partial(datetime.now, UTC),
        )
    )


def _comparison_handlers(bus: Bus, data: RoutingData, settings: RouterSettings) -> ComparisonHandlers:
    return ComparisonHandlers(
        ComparisonEnvironment(
            context_of=data.of,
            layers_of=data.saved_layers,
            rates_of=_estimate_rates(data, settings),
            quality=data.power_tables.quality,
            ask=bus.ask,
            clock=partial(datetime.now, UTC),
            router=bus.user,
        )
    )


def _recommendation_handlers(
    bus: Bus, data: RoutingData, settings: RouterSettings, rules: RuleHandlers
) -> RecommendationHandlers:
    return RecommendationHandlers(
        RecommendationEnvironment(
            context_of=data.of,
            rates_of=_estimate_rates(data, settings),
            quality=data.power_tables.quality,
            ask=bus.ask,
            clock=partial(datetime.now, UTC),
            rules_of=rules.get,
            save_draft=rules.save_draft,
        )
    )


def _uncounted(settings: RouterSettings) -> str:
    """Return what an operator has to know while the counters do not answer."""
    effect = "requests with limits are refused" if settings.limits_fail_closed else "no limit is enforced"
    return f"the counters of limits (stream LIMITS) do not answer, so {effect}: see the health of the NATS server"


def _limiter(
    counters: BusCounters, spawn: Spawn, tiers: Tiers, settings: RouterSettings, wall_clock: Callable[[], float]
) -> RequestLimiter:
    clock = WindowClock()

    def now_ms() -> int:
        return clock.advance(int(wall_clock() * 1000), time.monotonic_ns() // 1_000_000)

    return RequestLimiter(tiers, now_ms, counters.add, spawn, fail_closed=settings.limits_fail_closed)


def _degraded(counters: BusCounters, reserver: CreditReserver, settings: RouterSettings) -> list[str]:
    """Return what an operator has to know of this router."""
    uncounted = [] if counters.available else [_uncounted(settings)]
    return uncounted if reserver.available else [*uncounted, _WITHOUT_CREDIT]


def _reserver(bus: Bus, wall_clock: Callable[[], float]) -> CreditReserver:
    async def lease(question: LeaseCredit) -> CreditLease:
        answer_by = int((wall_clock() + _LEASE_SECONDS) * 1000)
        question = question.model_copy(update={"answer_by_unix_ms": answer_by})
        return await bus.ask(CREDIT_LEASE, question, timeout_seconds=_LEASE_SECONDS, router=bus.user)

    async def give_back(given: ReturnCredit) -> object:
        return await bus.ask(CREDIT_RETURN, given, timeout_seconds=_LEASE_SECONDS, router=bus.user)

    return CreditReserver(CreditWallet(bus.instance_id), lease, give_back, lambda: int(wall_clock() * 1000))


def _spending_rules(data: RoutingData, settings: RouterSettings, reserver: CreditReserver) -> SpendingRules:
    def longest_answer(provider: str, model: str) -> int | None:
        found = data.catalog.find_model(provider, model)
        return None if found is None else found.max_output_tokens

    return SpendingRules(
        plan=settings.billing_plan,
        credits_required=settings.credits == "required",
        tariff=lambda provider, model, now, tier: data.managed.list_prices.tariff(provider, model, now, tier),
        longest_answer=longest_answer,
        budgets=AttemptBudgets(data.budget_index, data.catalog_id).find,
        shortage=reserver.shortage_of,
        has_budgets=lambda tenant: bool(data.budget_index.of(tenant)),
    )


def _request_handlers(
    service: Service, data: RoutingData, limiter: RequestLimiter, credit: RequestCredit, decisions: BatchPublisher
) -> RequestHandlers:
    bus = service.bus
    return RequestHandlers(
        router=bus.user,
        context_of=data.of,
        fallback=data.fallback,
        limiter=limiter,
        credit=credit,
        cancel_probe=data.cancel_probe,
        publish=_publisher(bus),
        spawn=bus.spawn,
        decisions=decisions,
        telemetry=service.telemetry,
    )


def _prober(bus: Bus) -> ProbeAddress:
    async def probe(command: ProbeEndpoint) -> EndpointProbe:
        return await bus.ask(ENDPOINT_PROBE, command, timeout_seconds=_PROBE_SECONDS)

    return probe


def _publisher(bus: Bus) -> Publish:
    async def publish(subject: str, data: bytes, reply: str) -> None:
        await bus.client.publish(subject, data, reply=reply)

    return publish
