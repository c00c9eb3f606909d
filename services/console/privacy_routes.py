"""Routes for what is stored of a tenant's prompts and answers."""

from keyferry.contracts.tenancy import GetTenant, Tenant, UpdateTenant
from keyferry.contracts.topology import TENANT_GET, TENANT_UPDATE
from services.console.access import RouteSpec
from services.console.service_client import ServiceClient
from services.console.tenant_bodies import PrivacyBody, PrivacyView
from services.console.tenant_context import CurrentTenant


class PrivacyRoutes:
    """The routes `/privacy`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        return (
            RouteSpec("GET", "/privacy", "get_privacy", self.get),
            RouteSpec("PUT", "/privacy", "set_privacy", self.set),
        )

    async def get(self, context: CurrentTenant) -> PrivacyView:
        """Return what is stored of prompts and answers, and for how long."""
        return _view(await self._services.read(TENANT_GET, GetTenant(tenant=context.tenant)))

    async def set(self, context: CurrentTenant, body: PrivacyBody) -> PrivacyView:
        """Choose what is stored of prompts and answers of later requests.

        What is stored already keeps its end: with `off` nothing is added, and the rest goes when its time is over.
        """
        command = UpdateTenant(
            tenant=context.tenant, actor=context.actor, content=body.content, content_days=body.retention_days
        )
        return _view(await self._services.change(TENANT_UPDATE, command))


def _view(tenant: Tenant) -> PrivacyView:
    return PrivacyView(content=tenant.content, retention_days=tenant.content_days)
