"""What a router knows of every tenant: its copies of the views, and the catalog, prices and qualities in force."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from keyferry.budgets.matching import BudgetIndex
from keyferry.contracts.health import Health, Target
from keyferry.contracts.ledger_management import BUDGETS_VIEW
from keyferry.contracts.preferences import SavedPreferences
from keyferry.contracts.routing_management import PREFERENCES_VIEW, ROUTING_RULES_VIEW
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.topology import (
    ENDPOINTS_VIEW,
    HEALTH_VIEW,
    LATENCY_VIEW,
    OVERRIDES_VIEW,
    PROVIDER_KEYS_VIEW,
    RATINGS_VIEW,
    TENANTS_VIEW,
)
from keyferry.contracts.usage import TokenUsage
from keyferry.pricing.book import PriceBook
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.prices import load_prices
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.views import KvView
from keyferry.tiers.file import Tiers
from services.router.catalog.lookup import Catalog
from services.router.catalog.managed import ManagedCatalog
from services.router.catalog.reading import read_models
from services.router.endpoints.validation import EndpointIndex
from services.router.fallback.chains import read_chains
from services.router.fallback.memory import FallbackMemory
from services.router.model_uses import find_uses
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.planning.half_open import HalfOpenLimiter
from services.router.planning.overrides import OverrideIndex, forced_health
from services.router.planning.paused_keys import PausedKeys
from services.router.planning.provider_keys import KeyIndex
from services.router.power.quality import read_quality
from services.router.power.ratings import LearnedQuality, RatingIndex
from services.router.power.table import PowerTable
from services.router.power.tables import PowerTables
from services.router.preferences.effective import EffectivePreferences
from services.router.preferences.index import PreferenceIndex
from services.router.rules.matching import RuleIndex
from services.router.settings import RouterSettings
from services.router.unreadable import UnreadableLimits

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
        self._byok = settings.byok()
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
        self.budgets = KvView(bus, BUDGETS_VIEW)
        self.budget_index = BudgetIndex()
        self.budgets.on_owner_change(self.budget_index.replace)
        self._half_open = HalfOpenLimiter()
        self.power_tables = PowerTables(read_quality(_QUALITY_FILE.read_text(encoding="utf-8")))
        self.ratings = KvView(bus, RATINGS_VIEW)
        self._rating_index = RatingIndex(self.catalog_id)
        self.endpoints.on_owner_change(self._endpoint_index.replace)
        self.keys.on_owner_change(self._key_index.replace)
        self.rules.on_owner_change(self.rule_index.replace)
        self.overrides.on_change(lambda: self._override_index.rebuild(entry for _, entry in self.overrides))
        self.ratings.on_owner_change(self._rating_index.replace)
        self.managed.models.on_change(self._rating_index.read_again)
        for_all = (self.preferences, self.rules)
        self._unreadable = UnreadableLimits((self.tenants, self.endpoints, self.keys, self.budgets, *for_all), for_all)
        self._paused_keys = PausedKeys(self.fallback.may_pause)
        self.health.on_entry_change(self._half_open.replace)
        self.health.on_entry_change(self._paused_keys.replace)

    @property
    def catalog(self) -> Catalog:
        """The catalog in force."""
        return self.managed.catalog

    @property
    def prices(self) -> PriceBook:
        """The list prices in force."""
        return self.managed.prices

    def knows_models(self) -> bool:
        """Return whether a model that is not found does not exist: all that says so has arrived, and can be read."""
        views = (self.managed.models, self.managed.providers, self.endpoints, self.keys)
        return all(view.current for view in views) and not self.managed.models.unreadable

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
            byok=self._byok,
            rules=self.rule_index.of(tenant),
            fallback=self.fallback.facts(time.monotonic()),
            preferences=self._preferences_of,
            power_table=self._power_table,
            unreadable=self._unreadable.of(tenant),
        )

    def cancel_probe(self, target: Target) -> None:
        """Have another request probe a half-open target: the one that was to do it is not made."""
        self._half_open.cancel(target.key)

    def learned_of(self, tenant: str) -> LearnedQuality:
        """Return what a tenant's ratings say of models."""
        return self._rating_index.of(tenant)

    def _power_table(self, request: RouteRequest, context: RoutingContext) -> PowerTable:
        learned = self.learned_of(request.tenant)
        version = self.managed.list_prices.version_at(context.now)
        return self.power_tables.of(request, context, learned, version)

    def catalog_id(self, provider: str, model: str) -> str | None:
        """Return the catalog's id of a provider's model; on a tenant's own server its own name is the catalog's."""
        return self.catalog.id_of(provider, model)

    def cost(self, provider: str, model: str, token_usage: TokenUsage) -> Decimal | None:
        """Return what these tokens cost by the list prices as of now; None if that is unknown."""
        found = self.prices.find(provider, model, datetime.now(UTC))
        return None if found is None else found[0].cost(token_usage)

    def _is_model(self, name: str) -> bool:
        return self.catalog.resolve(name).model is not None

    def _preferences_of(self, request: RouteRequest) -> EffectivePreferences:
        return self._preference_index.of(request.tenant, request.team, request.member, request.client_token_id)

    def saved_layers(self, request: RouteRequest) -> Sequence[SavedPreferences]:
        """Return what is saved in the scopes of a request, the broadest first."""
        return self._preference_index.layers(request.tenant, request.team, request.member, request.client_token_id)

    def find_uses(self, is_model: Callable[[str], bool]) -> list[str]:
        """Return which published rules and which preferences name a model, given whether a name means it."""
        return find_uses(is_model, self.rule_index.all_published(), self._preference_index.all_saved())

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
        needed = (*managed, self.tenants, self.endpoints, self.keys, self.preferences, self.rules, self.budgets)
        for view in (*needed, self.health, self.latency, self.overrides, self.ratings):
            service.opens(view.start, view.stop)
        for view in needed:
            service.needs_view(view)
