"""Assembles the router."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path

from keyferry.contracts.addresses import AddressPolicy
from keyferry.contracts.health import Health, Target
from keyferry.contracts.providers import NAMED_BY_TENANT
from keyferry.contracts.route import EndpointProbe, ProbeEndpoint
from keyferry.contracts.routing_management import (
    CATALOG_VIEW,
    PREFERENCES_VIEW,
    PRICES_VIEW,
    PROVIDERS_VIEW,
    ROUTING_RULES_VIEW,
)
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.topology import (
    ENDPOINT_PROBE,
    ENDPOINTS_VIEW,
    HEALTH_VIEW,
    LATENCY_VIEW,
    OVERRIDES_VIEW,
    PROVIDER_KEYS_VIEW,
    RATINGS_VIEW,
    REQUEST_DECIDED,
    TENANTS_VIEW,
    Role,
)
from keyferry.contracts.usage import TokenUsage
from keyferry.pricing.book import PriceBook
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.publishing import BatchPublisher
from keyferry.runtime.prices import load_prices
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.process.settings import load
from keyferry.runtime.tiers import load_tiers
from keyferry.runtime.views import KvView
from keyferry.tiers.file import Tiers
from services.router.catalog.handlers import CatalogHandlers
from services.router.catalog.lookup import Catalog
from services.router.catalog.managed import ManagedCatalog
from services.router.catalog.reading import read_models
from services.router.catalog.store import PostgresCatalogStore
from services.router.database import Publication, RouterDatabase
from services.router.endpoints.store import PostgresEndpointStore
from services.router.endpoints.validation import EndpointIndex
from services.router.fallback.chains import read_chains
from services.router.fallback.memory import FallbackMemory
from services.router.handlers import ManagementHandlers, ProbeAddress, Publish, RequestHandlers
from services.router.limits.bus_counters import BusCounters
from services.router.limits.limiter import RequestLimiter
from services.router.limits.window_clock import WindowClock
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.planning.half_open import HalfOpenLimiter
from services.router.planning.overrides import OverrideIndex, forced_health
from services.router.planning.paused_keys import PausedKeys
from services.router.planning.provider_keys import KeyIndex
from services.router.power.handlers import PreviewHandlers
from services.router.power.quality import read_quality
from services.router.power.ratings import LearnedQuality, RatingIndex
from services.router.power.table import PowerTable
from services.router.power.tables import PowerTables
from services.router.preferences.effective import EffectivePreferences
from services.router.preferences.handlers import PreferenceHandlers
from services.router.preferences.index import PreferenceIndex
from services.router.preferences.store import PostgresPreferenceStore
from services.router.rules.management import RuleHandlers, RulesEnvironment
from services.router.rules.matching import RuleIndex
from services.router.rules.store import PostgresRuleStore
from services.router.settings import RouterSettings

_DECISION_LINGER_SECONDS = 0.02
_FLUSH_SECONDS = 5.0
_PROBE_SECONDS = 12.0
"""A worker takes at most ten."""
_CHAINS_FILE = Path(__file__).parent / "fallback" / "chains.toml"
_CATALOG_DIR = Path(__file__).parent / "catalog" / "models"
_QUALITY_FILE = Path(__file__).parent / "power" / "quality.toml"


class RoutingData:
    """What the router knows about every tenant: its copies of the views, and the catalog and prices in force."""

    def __init__(self, bus: Bus, settings: RouterSettings, tiers: Tiers) -> None:
        """Load catalog, chains, qualities and prices.

        Raises InvalidCatalog, InvalidChains, InvalidQuality, and SettingsError for unreadable prices.
        """
        files = {path.name: path.read_text(encoding="utf-8") for path in _CATALOG_DIR.glob("*.toml")}
        self.listed = load_prices(settings.price_file)
        self._tiers = tiers
        self.managed = ManagedCatalog(bus, read_models(files), self.listed)
        self.fallback = FallbackMemory(
            read_chains(_CHAINS_FILE.read_text(encoding="utf-8"), self._is_model),
            max_retries=settings.max_retries,
            longest_wait_ms=int(settings.longest_wait_seconds * 1000),
        )
        self.tenants = KvView(bus, TENANTS_VIEW)
        self.endpoints = KvView(bus, ENDPOINTS_VIEW)
        self.keys = KvView(bus, PROVIDER_KEYS_VIEW)
        self.health = KvView(bus, HEALTH_VIEW)
        self.preferences = KvView(bus, PREFERENCES_VIEW)
        self._preference_index = PreferenceIndex()
        self.preferences.on_owner_change(self._preference_index.replace)
        self._endpoint_index = EndpointIndex()
        self._key_index = KeyIndex()
        self.latency = KvView(bus, LATENCY_VIEW)
        self.overrides = KvView(bus, OVERRIDES_VIEW)
        self._override_index = OverrideIndex()
        self.rules = KvView(bus, ROUTING_RULES_VIEW)
        self.rule_index = RuleIndex()
        self._half_open = HalfOpenLimiter()
        self.power_tables = PowerTables(read_quality(_QUALITY_FILE.read_text(encoding="utf-8")))
        self.ratings = KvView(bus, RATINGS_VIEW)
        self._rating_index = RatingIndex()
        self.endpoints.on_owner_change(self._endpoint_index.replace)
        self.keys.on_owner_change(self._key_index.replace)
        self.rules.on_owner_change(self.rule_index.replace)
        self.overrides.on_change(lambda: self._override_index.rebuild(entry for _, entry in self.overrides))
        self.ratings.on_change(
            lambda: self._rating_index.rebuild((entry for _, entry in self.ratings), self._catalog_id)
        )
        self._paused_keys = PausedKeys(self.fallback.may_pause)
        self.health.on_change(lambda: self._half_open.retain({key for key, _ in self.health}))
        self.health.on_change(lambda: self._paused_keys.rebuild(entry for _, entry in self.health))

    @property
    def catalog(self) -> Catalog:
        """The catalog in force."""
        return self.managed.catalog

    @property
    def prices(self) -> PriceBook:
        """The list prices in force."""
        return self.managed.prices

    def of(self, tenant: str) -> RoutingContext:
        """Return the routing context of a tenant as of now."""
        now = datetime.now(UTC)
        return RoutingContext(
            # Until it is known what limits a tenant's requests, there is no such tenant.
            self.tenants.get(tenant) if self.preferences.ready else None,
            self._endpoint_index.of(tenant),
            now,
            health=lambda target: self._health_of(target, now),
            paused_keys=self._paused_keys,
            may_probe=lambda target: self._half_open.try_acquire(target.key, now),
            latency=lambda target: self.latency.get(target.key),
            catalog=self.catalog,
            own_keys=self._key_index.of(tenant),
            platform_keys=self._key_index.of(PLATFORM_TENANT),
            own_servers=self._key_index.servers_of(tenant),
            prices=lambda provider, model: self.managed.list_prices.of(provider, model, now),
            tiers=self._tiers,
            rules=self.rule_index.of(tenant),
            fallback=self.fallback.facts(time.monotonic()),
            preferences=self._preferences_of,
            power_table=self._power_table,
        )

    def learned_of(self, tenant: str) -> LearnedQuality:
        """Return what a tenant's ratings say of models."""
        return self._rating_index.of(tenant)

    def _power_table(self, request: RouteRequest, context: RoutingContext) -> PowerTable:
        learned = self.learned_of(request.tenant)
        version = self.managed.list_prices.version_at(context.now)
        return self.power_tables.of(request, context, learned, version)

    def _catalog_id(self, provider: str, model: str) -> str | None:
        """Return the catalog's id of a provider's model; on a tenant's own server its own name is the catalog's."""
        found = self.catalog.find_model(provider, model)
        if found is None and provider in NAMED_BY_TENANT:
            found = self.catalog.resolve(model).model
        return None if found is None else found.id

    def cost(self, provider: str, model: str, token_usage: TokenUsage) -> Decimal | None:
        """Return what these tokens cost by the list prices as of now; None if that is unknown."""
        found = self.prices.find(provider, model, datetime.now(UTC))
        return None if found is None else found[0].cost(token_usage)

    def _is_model(self, name: str) -> bool:
        return self.catalog.resolve(name).model is not None

    def _preferences_of(self, request: RouteRequest) -> EffectivePreferences:
        return self._preference_index.of(request.tenant, request.team, request.member, request.client_token_id)

    def _health_of(self, target: Target, now: datetime) -> Health | None:
        override = self._override_index.of(target, now)
        if override is not None:
            return forced_health(target, override)
        return self.fallback.health(target, self.health.get(target.key), now)

    def register(self, service: Service) -> None:
        """Follow the views while the service runs. It is ready without those of the health monitor and of ratings.

        All targets then count as healthy, and nothing is known of their latency and of ratings.
        """
        managed = (self.managed.providers, self.managed.models, self.managed.entries)
        needed = (*managed, self.tenants, self.endpoints, self.keys, self.preferences, self.rules)
        for view in (*needed, self.health, self.latency, self.overrides, self.ratings):
            service.opens(view.start, view.stop)
        for view in needed:
            service.needs_view(view)


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
        REQUEST_DECIDED.format(router=bus.user),
        producer=bus.user,
        linger_seconds=_DECISION_LINGER_SECONDS,
        capacity=settings.decision_capacity,
    )
    limiter = _limiter(bus, tiers, settings, wall_clock)
    service.opens(limiter.start)
    service.drains(limiter.stop)
    _request_handlers(service, data, limiter, decisions).register(bus)

    async def start_decisions() -> None:
        decisions.start()

    service.opens(start_decisions, decisions.stop)
    service.opens(publication.open, publication.close)
    service.needs("publication of what is managed (PostgreSQL and NATS)", publication.is_current)
    data.register(service)
    service.drains(lambda: decisions.flush(_FLUSH_SECONDS))
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
    _rule_handlers(bus, data, rules).register(bus)
    CatalogHandlers(changes, data.managed.bundled, data.listed, policy).register(bus)
    return Publication(
        bus,
        database,
        (ENDPOINTS_VIEW, PREFERENCES_VIEW, ROUTING_RULES_VIEW, CATALOG_VIEW, PROVIDERS_VIEW, PRICES_VIEW),
        (endpoints.view_contents, preferences.view_contents, rules.view_contents, changes.view_contents),
    )


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


def _limiter(bus: Bus, tiers: Tiers, settings: RouterSettings, wall_clock: Callable[[], float]) -> RequestLimiter:
    clock = WindowClock()

    def now_ms() -> int:
        return clock.advance(int(wall_clock() * 1000), time.monotonic_ns() // 1_000_000)

    return RequestLimiter(tiers, now_ms, BusCounters(bus).add, bus.spawn, fail_closed=settings.limits_fail_closed)


def _request_handlers(
    service: Service, data: RoutingData, limiter: RequestLimiter, decisions: BatchPublisher
) -> RequestHandlers:
    bus = service.bus
    return RequestHandlers(
        router=bus.user,
        context_of=data.of,
        fallback=data.fallback,
        limiter=limiter,
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
