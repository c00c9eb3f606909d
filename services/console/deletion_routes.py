"""Routes for deleting a tenant, by its owner or by an operator, and for the report."""

from keyferry.contracts.erasure import DeleteTenant, GetDeletion, TenantDeletion
from keyferry.contracts.erasure_management import TENANT_DELETE, TENANT_DELETION_GET
from services.console.access import RouteSpec
from services.console.service_client import ServiceClient
from services.console.tenant_bodies import DeleteTenantBody
from services.console.tenant_context import CurrentTenant


class DeletionRoutes:
    """The routes `/tenant/delete` and `/tenant/deletion`, and an operator's `DELETE /ops/tenants/{tenant}`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes about one tenant."""
        return (
            RouteSpec("POST", "/tenant/delete", "delete_tenant", self.delete, status=202),
            RouteSpec("GET", "/tenant/deletion", "get_tenant_deletion", self.report),
        )

    def operator_specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes about the installation."""
        return (RouteSpec("DELETE", "/tenants/{tenant}", "remove_tenant", self.delete, status=202),)

    async def delete(self, context: CurrentTenant, body: DeleteTenantBody) -> TenantDeletion:
        """Delete a tenant for good: it is suspended at once, then its data is removed and its provider keys are destroyed.

        The answer is the report as of now; what is kept, and why, is in it.
        """
        command = DeleteTenant(tenant=context.tenant, confirm=body.confirm, actor=context.actor)
        return await self._services.change(TENANT_DELETE, command)

    async def report(self, context: CurrentTenant) -> TenantDeletion:
        """Return what a deletion has removed by now, and what is kept."""
        return await self._services.read(TENANT_DELETION_GET, GetDeletion(tenant=context.tenant))
