"""Routing contexts for tests of fallback."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from keyferry.contracts.key import KeyFacts
from keyferry.contracts.route import Endpoint
from keyferry.contracts.tenancy import KeyPolicy, Tenant, Tier
from services.router.planning.context import RoutingContext
from services.router.planning.provider_keys import KeyIndex
from services.router.preferences.effective import EffectivePreferences
from tests.support.router.keys_and_prices import catalog, list_price
from tests.support.router.simulated_requests import EPOCH

ACME = Tenant(tenant="acme", name="Acme", tier=Tier.ENTERPRISE)


def endpoints(*names: str, models: Sequence[str] = ("m",)) -> list[Endpoint]:
    return [
        Endpoint(tenant="acme", name=name, base_url=f"https://{name}.example/v1", models=list(models)) for name in names
    ]


def with_endpoints(given: Sequence[Endpoint], **preferences: Any) -> RoutingContext:
    return _preferring(RoutingContext(ACME, given, EPOCH, catalog=catalog()), preferences)


def with_keys(*keys: KeyFacts, policy: KeyPolicy | None = None, **preferences: Any) -> RoutingContext:
    index = KeyIndex()
    index.rebuild(keys)
    context = RoutingContext(
        ACME.model_copy(update={"key_policy": policy}),
        (),
        EPOCH,
        catalog=catalog(),
        own_keys=index.of("acme"),
        platform_keys=index.of("platform"),
        prices=list_price,
    )
    return _preferring(context, preferences)


def _preferring(context: RoutingContext, preferences: dict[str, Any]) -> RoutingContext:
    effective = replace(EffectivePreferences(), **preferences)
    return replace(context, preferences=lambda request: effective)
