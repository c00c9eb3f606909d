"""Arguments and result of planning: the route request, the routing context, and the plan. Pure."""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from keyferry.contracts.chat import FailedAttempt, OwnKeys
from keyferry.contracts.failure import Failure
from keyferry.contracts.fallback import FallbackReason
from keyferry.contracts.features import PowerLevel, RequestFeatures
from keyferry.contracts.health import Health, LatencySummary, Target
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.residency import Residency
from keyferry.contracts.route import AppliedPreference, Candidate, ConsideredModel, Endpoint, ModelPrices
from keyferry.contracts.rules import AppliedRule
from keyferry.contracts.tenancy import Tenant
from keyferry.contracts.usage import RequestKind
from keyferry.tiers.byok import ByokSwitch
from keyferry.tiers.file import Tiers
from services.router.catalog.lookup import Catalog, ResolvedModel, split_name
from services.router.fallback.facts import FallbackFacts
from services.router.power.table import EMPTY_TABLE, PowerTable
from services.router.preferences.effective import NO_PREFERENCES, EffectivePreferences
from services.router.rules.matching import TenantRules

Keys = Mapping[str, Sequence[KeyFacts]]
"""One owner's provider keys by provider, lower priority numbers first."""


_NO_FEATURES = RequestFeatures()


@dataclass(frozen=True, slots=True)
class RouteRequest:
    """What a request asks for."""

    tenant: str
    model: str
    allowed_models: Sequence[str] | None = None
    """Models that the client token may use; None for all."""
    failed_attempts: Sequence[FailedAttempt] = ()
    """Earlier attempts of this request, all of which failed."""
    kind: RequestKind = RequestKind.CHAT
    prefer_own_keys: OwnKeys | None = None
    request_id: str = ""
    """Seed of the random order of equal keys, so that one request is always planned alike."""
    client_token_id: str | None = None
    team: str | None = None
    member: str | None = None
    operation: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    power_level: PowerLevel | None = None
    features: RequestFeatures = _NO_FEATURES
    conversation: str | None = None
    """Seed of weighted choices, so that a conversation stays with one model; None takes the request id."""
    deadline_ms: int | None = None
    """What is left of the request's time; None where nothing can be waited for."""


class _AllKeys:
    """Contains the id of every key."""

    def __contains__(self, key_id: object) -> bool:
        return key_id is not None


ALL_KEYS: Container[str | None] = _AllKeys()


def _healthy(target: Target) -> Health | None:
    return None


def _no_probe(target: Target) -> bool:
    return False


def _no_latency(target: Target) -> LatencySummary | None:
    return None


def _no_preferences(request: RouteRequest) -> EffectivePreferences:
    return NO_PREFERENCES


def _no_table(request: RouteRequest, context: "RoutingContext") -> PowerTable:
    return EMPTY_TABLE


def _no_price(provider: str, model: str) -> ModelPrices | None:
    return None


@dataclass(frozen=True, slots=True)
class RoutingContext:
    """What the router knows about the tenant at this moment."""

    tenant: Tenant | None
    endpoints: Sequence[Endpoint]
    now: datetime
    health: Callable[[Target], Health | None] = _healthy
    """Returns the health of a target; None if nothing is wrong."""
    paused_keys: Container[str | None] = ALL_KEYS
    """The ids of keys for which `health` may return something: all others need no look-up."""
    may_probe: Callable[[Target], bool] = _no_probe
    """Returns whether a half-open target may be probed now."""
    latency: Callable[[Target], LatencySummary | None] = _no_latency
    """Returns how fast a target has answered within the last minutes; None if nothing is known.

    `health_filter.target_of` makes the target of a candidate.
    """
    catalog: Catalog = field(default_factory=lambda: Catalog(()))
    own_keys: Keys = field(default_factory=dict)
    platform_keys: Keys = field(default_factory=dict)
    own_servers: Mapping[str, str] = field(default_factory=dict)
    """The names of the servers that the tenant's own keys are for, with the provider of each."""
    prices: Callable[[str, str], ModelPrices | None] = _no_price
    """Returns the current list prices of a provider's model, by the provider's name for it; None if unknown."""
    preferences: Callable[[RouteRequest], EffectivePreferences] = _no_preferences
    """Returns the preferences in force for a request, resolved over its client token, member, team and tenant."""
    power_table: Callable[[RouteRequest, "RoutingContext"], PowerTable] = _no_table
    """Returns the models among which a power level chooses for this request."""
    tiers: Tiers | None = None
    """What each tier includes; None includes everything."""
    byok: ByokSwitch = field(default_factory=ByokSwitch)
    """Whether tenants' own keys are used."""
    rules: TenantRules | None = None
    """The published routing rules of the tenant and of the platform; None without any."""
    fallback: FallbackFacts = field(default_factory=FallbackFacts)
    unreadable: str | None = None
    """Why nothing may be sent for the tenant, although it exists: something that limits its requests cannot be read."""

    def with_preferences_of(self, request: RouteRequest) -> "RoutingContext":
        """Return this context with the preferences of one request in force for all."""
        found = self.preferences(request)
        return replace(self, preferences=lambda _: found)

    def resolve(self, name: str) -> ResolvedModel:
        """Resolve the model name of a caller: the tenant's own servers come before the catalog and the providers."""
        if self.own_servers:
            server, rest = split_name(name)
            if rest and (provider := self.own_servers.get(server)) is not None:
                return replace(self.catalog.resolve(f"{provider}/{rest}"), name=name, server=server)
        return self.catalog.resolve(name)


@dataclass(frozen=True, slots=True)
class Plan:
    """Candidates and the order in which to try them, or a refusal."""

    candidates: list[Candidate]
    order: list[int]
    refusal: Failure | None
    endpoints: dict[int, Endpoint]
    """The endpoint of a candidate by the candidate's index, if it has one."""
    keys: dict[int, KeyFacts]
    """The provider key of a candidate by the candidate's index, if it has one."""
    models: Sequence[ConsideredModel] = ()
    """The models that were considered, best first."""
    power_level: PowerLevel | None = None
    """The level that was applied; None where the request names a model."""
    rule: AppliedRule | None = None
    """The routing rule that chose the models, if one matched."""
    applied: Sequence[AppliedPreference] = ()
    """The preferences that mattered, with their origins."""
    residencies: Mapping[int, Residency] = field(default_factory=dict)
    """Where a candidate may be and would be processed by the candidate's index, if anything limits that."""
    preferences: EffectivePreferences = NO_PREFERENCES
    fallback_reason: FallbackReason | None = None
    """Why the first of the order is not the first choice; None if it is."""
    probed: Target | None = None
    """The half-open target that the request probes, if it does."""
