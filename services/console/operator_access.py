"""Operators' access to tenants: recorded in the tenant's audit log before anything is read."""

from fastapi import Request

from keyferry.contracts.access_management import ACCESS_RECORD, RecordAccess
from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.tenancy import PLATFORM_TENANT
from services.console.access import OPERATOR_PREFIX, OWN_PREFIX
from services.console.command_access import COMMANDS, RECORDED_ROUTES
from services.console.service_client import ServiceClient
from services.console.tenant_context import TenantContext


class OperatorAccess:
    """Records what operators read of tenants. Without a record nothing is read."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    async def record_route(self, context: TenantContext, request: Request) -> None:
        """Record a request to a route about a tenant. Raises HttpProblem 503 if it cannot be recorded.

        Changes that are stored are in the tenant's audit log by themselves; a test of a channel or a report that is sent is not.
        """
        path: str = request.scope["route"].path.removeprefix(OPERATOR_PREFIX)
        if request.method == "GET" or (request.method, OWN_PREFIX + path) in RECORDED_ROUTES:
            await self._record(context, context.tenant, _resource_of(path), request)

    async def record_command(self, context: TenantContext, tenant: str, name: str, request: Request) -> None:
        """Record a command about a tenant. Raises HttpProblem 503 if it cannot be recorded."""
        rule = COMMANDS[name]
        if not rule.recorded:
            return
        path = rule.route[1].removeprefix(OWN_PREFIX) if rule.route else f"/{name.partition('.')[0]}"
        await self._record(context, tenant, _resource_of(path), request)

    async def _record(self, context: TenantContext, tenant: str, resource: str, request: Request) -> None:
        if context.role is not AccessRole.OPERATOR or tenant == PLATFORM_TENANT:
            return
        source = request.client.host if request.client else None
        access = RecordAccess(tenant=tenant, actor=context.actor, resource=resource, source=source)
        await self._services.read(ACCESS_RECORD, access)


def _resource_of(path: str) -> str:
    """Return the first part of a path below a prefix."""
    return path.split("/")[1]
