"""Read-only routes: providers, models and tiers."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query

from keyferry.contracts.health import Health, ListHealth
from keyferry.contracts.key import ListKeys
from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.route import ListEndpoints
from keyferry.contracts.tiers import GetTiers, TierTable
from keyferry.contracts.topology import (
    ENDPOINT_LIST,
    HEALTH_LIST,
    KEY_LIST,
    MODEL_LIST,
    TIER_LIST,
)
from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem
from services.console.access import RouteSpec
from services.console.bodies import ModelFilters, Paging
from services.console.provider_views import ProviderPage, list_providers
from services.console.service_client import ServiceClient
from services.console.tenant_context import CurrentTenant
from services.console.views import ModelPage, paginate

_ECHO = "echo"
"""The built-in provider, which has no keys."""
_HEALTH_SECONDS = 1.0
"""The list of providers does not depend on it."""


class ReadingRoutes:
    """Routes that change nothing."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        return (
            RouteSpec("GET", "/providers", "list_providers", self.providers),
            RouteSpec("GET", "/models", "list_models", self.models),
            RouteSpec("GET", "/tiers", "list_tiers", self.tiers),
        )

    async def providers(self, context: CurrentTenant, query: Annotated[Paging, Query()]) -> ProviderPage:
        """List the providers whose keys can be stored: what a key looks like, where to get one, and how it answers now."""
        found = list_providers(await self._health_of(context.tenant), datetime.now(UTC))
        data, following = paginate(found, lambda provider: provider.name, query.limit, query.after)
        return ProviderPage(data=data, next=following)

    async def _health_of(self, tenant: str) -> list[Health]:
        """Return the health of what a tenant's requests can reach; nothing while the health monitor is away."""
        question = ListHealth(tenant=tenant)
        try:
            return (await self._services.read(HEALTH_LIST, question, timeout_seconds=_HEALTH_SECONDS)).targets
        except HttpProblem:
            return []

    async def models(self, context: CurrentTenant, query: Annotated[ModelFilters, Query()]) -> ModelPage:
        """List the models that a tenant can call now."""
        command = query.to_query(context.tenant)
        found = await self._services.read(MODEL_LIST, command)
        if command.provider is not None and not found.models:
            await self._require_source(context.tenant, command.provider)
        data, following = paginate(found.models, lambda model: model.id, query.limit, query.after)
        return ModelPage(data=data, next=following)

    async def tiers(self, context: CurrentTenant) -> TierTable:
        """List what each tier includes: limits, provider keys and features; the lowest tier first."""
        return await self._services.read(TIER_LIST, GetTiers())

    async def _require_source(self, tenant: str, name: str) -> None:
        """Raise HttpProblem 422 if `name` is neither a provider nor an endpoint or a key's server of the tenant."""
        endpoints = (await self._services.read(ENDPOINT_LIST, ListEndpoints(tenant=tenant))).endpoints
        keys = (await self._services.read(KEY_LIST, ListKeys(tenant=tenant))).keys
        names = [
            _ECHO,
            *PROVIDERS,
            *(one.name for one in endpoints),
            *(key.name for key in keys if key.name is not None),
        ]
        if name not in names:
            message = f"the tenant has no provider or endpoint of that name; there are {', '.join(names)}"
            raise HttpProblem(422, INVALID_REQUEST, "invalid_value", message, param="filter")
