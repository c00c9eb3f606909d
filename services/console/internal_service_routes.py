"""Routes for internal services, a tenant's own programs on the bus."""

from typing import Annotated

from fastapi import Path as InPath
from fastapi import Query, Request, Response

from keyferry.contracts.ids import NAME_PATTERN
from keyferry.contracts.internal_services import (
    INTERNAL_SERVICE_CREATE,
    INTERNAL_SERVICE_LIST,
    INTERNAL_SERVICE_REVOKE,
    CreateInternalService,
    InternalService,
    ListInternalServices,
    RevokeInternalService,
)
from services.console.access import RouteSpec
from services.console.internal_service_bodies import CreateInternalServiceBody, InternalServiceQuery
from services.console.service_client import ServiceClient
from services.console.tenant_context import CurrentTenant
from services.console.views import InternalServicePage, paginate

NamedService = Annotated[
    str, InPath(pattern=NAME_PATTERN, max_length=63, description="An internal service's name, as the list shows it")
]


class InternalServiceRoutes:
    """The routes under `/internal-services`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        base, one = "/internal-services", "/internal-services/{name}"
        return (
            RouteSpec("GET", base, "list_internal_services", self.list_),
            RouteSpec("POST", base, "create_internal_service", self.create, status=201),
            RouteSpec("DELETE", one, "revoke_internal_service", self.revoke),
        )

    async def list_(
        self, context: CurrentTenant, query: Annotated[InternalServiceQuery, Query()]
    ) -> InternalServicePage:
        """List a tenant's internal services by name, and those of one name oldest first."""
        command = ListInternalServices(tenant=context.tenant, revoked=query.revoked)
        found = await self._services.read(INTERNAL_SERVICE_LIST, command)
        data, following = paginate(found.services, lambda service: service.nkey_public, query.limit, query.after)
        return InternalServicePage(data=data, next=following)

    async def create(
        self, context: CurrentTenant, body: CreateInternalServiceBody, request: Request, response: Response
    ) -> InternalService:
        """Register an internal service by its public keys. NATS accepts it within three seconds, as a rule."""
        command = CreateInternalService(tenant=context.tenant, actor=context.actor, **body.model_dump())
        created = await self._services.change(INTERNAL_SERVICE_CREATE, command)
        response.headers["location"] = f"{request.url.path}/{created.name}"
        return created

    async def revoke(self, context: CurrentTenant, name: NamedService) -> InternalService:
        """Revoke an internal service. Its connections close within three seconds, as a rule. Revoking again changes nothing."""
        command = RevokeInternalService(tenant=context.tenant, name=name, actor=context.actor)
        return await self._services.change(INTERNAL_SERVICE_REVOKE, command)
