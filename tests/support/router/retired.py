"""Requests and contexts for plans with a given catalog, in which everything has a price."""

from decimal import Decimal
from typing import Any

from keyferry.contracts.key import KeyFacts
from keyferry.contracts.route import ModelPrices
from keyferry.contracts.tenancy import KeyPolicy, Tenant, Tier
from services.router.catalog.lookup import Catalog
from services.router.planning.context import RouteRequest, RoutingContext
from tests.support.router.catalog_edits import NOW

_PRICE = ModelPrices(input_usd=Decimal(1), output_usd=Decimal(1), price_version="v1")


def asking(name: str, **changes: Any) -> RouteRequest:
    """Return a request of the tenant `acme`."""
    return RouteRequest("acme", name, **changes)


def context_with(catalog: Catalog, *keys: KeyFacts) -> RoutingContext:
    """Return the context of a tenant of the highest tier, with these keys of its own and of the platform."""
    own: dict[str, list[KeyFacts]] = {}
    platform: dict[str, list[KeyFacts]] = {}
    for key in keys:
        (platform if key.tenant == "platform" else own).setdefault(key.provider, []).append(key)
    tenant = Tenant(tenant="acme", name="Acme", tier=Tier.ENTERPRISE, key_policy=KeyPolicy.OWN_THEN_PLATFORM)
    return RoutingContext(
        tenant, (), NOW, catalog=catalog, own_keys=own, platform_keys=platform, prices=lambda provider, model: _PRICE
    )
