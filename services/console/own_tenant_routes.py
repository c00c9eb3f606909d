"""Routes about one's own tenant: what every page shows of it, and what its administrators may change."""

from typing import Any

from keyferry.contracts.preferences import GetPreferences
from keyferry.contracts.routing_management import PREFERENCES_GET
from keyferry.contracts.tenancy import GetTenant, Tenant, UpdateTenant
from keyferry.contracts.topology import TENANT_GET, TENANT_UPDATE
from keyferry.runtime.http.problem import HttpProblem
from services.console.access import RouteSpec
from services.console.service_client import ServiceClient
from services.console.tenant_bodies import OwnTenantBody, TenantView
from services.console.tenant_context import CurrentTenant

_SHOWN = ("mode", "eu_only", "allowed_regions", "power_level")
_PREFERENCES_SECONDS = 1.0
"""What is shown of the tenant itself does not depend on them."""


class OwnTenantRoutes:
    """The routes `/tenant`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        return (
            RouteSpec("GET", "/tenant", "get_own_tenant", self.get),
            RouteSpec("PATCH", "/tenant", "update_own_tenant", self.update),
        )

    async def get(self, context: CurrentTenant) -> TenantView:
        """Return the tenant's name, tier and time zone, and what holds for its requests: mode, regions and power level."""
        found = await self._services.read(TENANT_GET, GetTenant(tenant=context.tenant))
        return await self._view(context.tenant, found)

    async def update(self, context: CurrentTenant, body: OwnTenantBody) -> TenantView:
        """Change the tenant's display name, time zone, or whose keys may pay; omitted fields stay as they are."""
        command = UpdateTenant(tenant=context.tenant, actor=context.actor, **body.model_dump(exclude_unset=True))
        return await self._view(context.tenant, await self._services.change(TENANT_UPDATE, command))

    async def _view(self, tenant: str, found: Tenant) -> TenantView:
        fields = TenantView.model_fields.keys() & Tenant.model_fields.keys()
        return TenantView(**found.model_dump(include=set(fields)), **await self._in_force(tenant))

    async def _in_force(self, tenant: str) -> dict[str, Any]:
        """Return the preferences that are shown; none of them while the router does not answer."""
        question = GetPreferences(tenant=tenant)
        try:
            found = await self._services.read(PREFERENCES_GET, question, timeout_seconds=_PREFERENCES_SECONDS)
        except HttpProblem:
            return dict.fromkeys(_SHOWN)
        return dict.fromkeys(_SHOWN) | {each.name: each.value for each in found.effective if each.name in _SHOWN}
