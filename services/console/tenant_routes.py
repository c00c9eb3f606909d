"""Routes for tenants, which the operator manages."""

from typing import Annotated

from fastapi import Query, Request, Response

from keyferry.contracts.tenancy import CreateTenant, GetTenant, ListTenants, Tenant, UpdateTenant
from keyferry.contracts.topology import TENANT_CREATE, TENANT_GET, TENANT_LIST, TENANT_UPDATE
from services.console.access import RouteSpec
from services.console.bodies import Paging
from services.console.service_client import ServiceClient
from services.console.tenant_bodies import CreateTenantBody, UpdateTenantBody
from services.console.tenant_context import CurrentTenant
from services.console.views import TenantPage, paginate


class TenantRoutes:
    """The routes `/ops/tenants`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def operator_specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes, which only an operator may call."""
        return (
            RouteSpec("GET", "/tenants", "list_tenants", self.list_),
            RouteSpec("POST", "/tenants", "create_tenant", self.create, status=201),
            RouteSpec("GET", "/tenants/{tenant}", "get_tenant", self.get),
            RouteSpec("PATCH", "/tenants/{tenant}", "update_tenant", self.update),
        )

    async def list_(self, context: CurrentTenant, query: Annotated[Paging, Query()]) -> TenantPage:
        """List all tenants, ordered by id; the platform's own is among them."""
        found = await self._services.read(TENANT_LIST, ListTenants())
        data, following = paginate(found.tenants, lambda tenant: tenant.tenant, query.limit, query.after)
        return TenantPage(data=data, next=following)

    async def create(
        self, context: CurrentTenant, body: CreateTenantBody, request: Request, response: Response
    ) -> Tenant:
        """Create a tenant."""
        name, actor = body.name or body.tenant, context.actor
        command = CreateTenant(tenant=body.tenant, name=name, tier=body.tier, limits=body.limits, actor=actor)
        created = await self._services.change(TENANT_CREATE, command)
        response.headers["location"] = f"{request.url.path}/{created.tenant}"
        return created

    async def get(self, context: CurrentTenant) -> Tenant:
        """Return one tenant."""
        return await self._services.read(TENANT_GET, GetTenant(tenant=context.tenant))

    async def update(self, context: CurrentTenant, body: UpdateTenantBody) -> Tenant:
        """Change a tenant's name, tier, limits or policies, or suspend it; omitted fields stay as they are."""
        command = UpdateTenant.model_validate({"tenant": context.tenant, "actor": context.actor, **body.changes()})
        return await self._services.change(TENANT_UPDATE, command)
