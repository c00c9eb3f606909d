"""Tenants and requests for choices by power level, on the bundled catalog, prices and qualities of one moment."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from keyferry.contracts.features import RequestFeatures
from keyferry.contracts.health import LatencySummary, Target
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.route import Endpoint
from keyferry.contracts.tenancy import PLATFORM_TENANT, KeyPolicy, Tenant, Tier
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.planning.provider_keys import KeyIndex
from services.router.power.quality import QualityTable, read_quality
from services.router.power.ratings import NOTHING_LEARNED, LearnedQuality
from services.router.power.tables import PowerTables
from services.router.preferences.effective import NO_PREFERENCES, EffectivePreferences
from tests.support.repository.files import ROOT
from tests.support.router.keys_and_prices import at_own_address, catalog, key_facts, list_price, platform_key

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
PLATFORM = ("openai", "anthropic", "gemini", "groq", "mistral", "openrouter")
"""The providers for which the platform has a key, unless a test says otherwise."""


@cache
def quality() -> QualityTable:
    """Return the bundled qualities."""
    return read_quality((ROOT / "services" / "router" / "power" / "quality.toml").read_text(encoding="utf-8"))


def power_context(
    tier: Tier = Tier.ENTERPRISE,
    *,
    platform: Sequence[str] = PLATFORM,
    own: Sequence[str | KeyFacts] = (),
    policy: KeyPolicy | None = KeyPolicy.OWN_THEN_PLATFORM,
    endpoints: Mapping[str, Sequence[str]] | None = None,
    preferences: EffectivePreferences = NO_PREFERENCES,
    latency_ms: Mapping[str, int] | None = None,
    learned: LearnedQuality = NOTHING_LEARNED,
    **changes: Any,
) -> RoutingContext:
    """Return the context of the tenant `acme`. `latency_ms` is by the provider's name for a model."""
    index = KeyIndex()
    keys = [at_own_address(platform_key(provider, f"key_{provider}")) for provider in platform]
    keys += [key if isinstance(key, KeyFacts) else key_facts(key, f"key_own_{key}") for key in own]
    index.rebuild(keys)
    tables = PowerTables(quality())

    def latency(target: Target) -> LatencySummary | None:
        found = (latency_ms or {}).get(target.model)
        if found is None:
            return None
        return LatencySummary(target=target, samples=100, p50_ms=found // 2, p95_ms=found, measured_at=NOW)

    fields: dict[str, Any] = {
        "tenant": Tenant(tenant="acme", name="Acme", tier=tier, key_policy=policy, created_at=NOW),
        "endpoints": [
            Endpoint(tenant="acme", name=name, base_url="http://127.0.0.1:9/v1", models=list(models))
            for name, models in (endpoints or {}).items()
        ],
        "now": NOW,
        "latency": latency,
        "catalog": catalog(),
        "own_keys": index.of("acme"),
        "platform_keys": index.of(PLATFORM_TENANT),
        "own_servers": index.servers_of("acme"),
        "prices": list_price,
        "preferences": lambda request: preferences,
        "power_table": lambda request, context: tables.of(request, context, learned),
    }
    return RoutingContext(**(fields | changes))


def asks(model: str, *, tokens: int = 500, request_id: str = "req_1", **fields: Any) -> RouteRequest:
    """Return a request for a virtual model; fields of features and of the request may be given."""
    of_features = {name: fields.pop(name) for name in list(fields) if name in RequestFeatures.model_fields}
    features = RequestFeatures(input_tokens=tokens, **of_features)
    return RouteRequest("acme", model, features=features, request_id=request_id, **fields)
