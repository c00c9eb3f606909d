"""Routes for the health of providers and endpoints, outages, and operators' overrides of circuits."""

from typing import Annotated

from fastapi import Query

from keyferry.contracts.health import (
    ForceHealth,
    Health,
    ListHealth,
    ListOutages,
    Outages,
    Override,
    ReleaseHealth,
)
from keyferry.contracts.topology import HEALTH_FORCE, HEALTH_LIST, HEALTH_RELEASE, OUTAGE_LIST
from services.console.access import RouteSpec
from services.console.health_bodies import ForceBody, HealthPage, HealthQuery, OutageQuery, ReleaseBody, TargetHealth
from services.console.service_client import SUMMARY_SECONDS, ServiceClient
from services.console.tenant_context import CurrentTenant
from services.console.views import paginate


class HealthRoutes:
    """The routes `/health/...`: of a tenant's own view, and of the whole installation."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes about a tenant."""
        return (
            RouteSpec("GET", "/health/providers", "list_health", self.providers),
            RouteSpec("GET", "/health/outages", "list_outages", self.outages),
        )

    def operator_specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes about the installation, which only an operator may call."""
        return (
            RouteSpec("GET", "/health/providers", "list_all_health", self.all_providers),
            RouteSpec("GET", "/health/outages", "list_all_outages", self.all_outages),
            RouteSpec("POST", "/health/force", "force_health", self.force),
            RouteSpec("POST", "/health/release", "release_health", self.release),
        )

    async def providers(self, context: CurrentTenant, query: Annotated[HealthQuery, Query()]) -> HealthPage:
        """List the health of the models at providers and endpoints that a tenant's requests can reach, with their latency."""
        return await self._page(context.tenant, query)

    async def all_providers(self, context: CurrentTenant, query: Annotated[HealthQuery, Query()]) -> HealthPage:
        """List the health of every model at every provider and endpoint, and of single keys that were asked to pause."""
        return await self._page(None, query)

    async def outages(self, context: CurrentTenant, query: Annotated[OutageQuery, Query()]) -> Outages:
        """List the outages of what a tenant's requests can reach, newest first, and what they did to its own requests."""
        return await self._outages(context.tenant, query)

    async def all_outages(self, context: CurrentTenant, query: Annotated[OutageQuery, Query()]) -> Outages:
        """List the outages of all providers and endpoints, newest first, and what they did to requests of all tenants."""
        return await self._outages(None, query)

    async def force(self, context: CurrentTenant, body: ForceBody) -> Override:
        """Force circuits open or closed for a time, whatever attempts show. The audit log has it before it takes effect."""
        command = ForceHealth(**body.model_dump(), actor=context.actor)
        return await self._services.change(HEALTH_FORCE, command)

    async def release(self, context: CurrentTenant, body: ReleaseBody) -> Override:
        """End an override before its time, and return it."""
        command = ReleaseHealth(**body.model_dump(), actor=context.actor)
        return await self._services.change(HEALTH_RELEASE, command)

    async def _page(self, tenant: str | None, query: HealthQuery) -> HealthPage:
        found = await self._services.read(HEALTH_LIST, ListHealth(tenant=tenant))
        chosen = [health for health in found.targets if query.provider in (None, health.target.provider)]
        data, following = paginate(chosen, _cursor, query.limit, query.after)
        overrides = [each for each in found.overrides if query.provider in (None, each.provider)]
        return HealthPage(data=[TargetHealth.of(health) for health in data], overrides=overrides, next=following)

    async def _outages(self, tenant: str | None, query: OutageQuery) -> Outages:
        command = ListOutages(tenant=tenant, since=query.since, until=query.until, limit=query.limit)
        return await self._services.read(OUTAGE_LIST, command, timeout_seconds=SUMMARY_SECONDS)


def _cursor(health: Health) -> str:
    return health.target.key
