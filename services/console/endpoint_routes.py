"""Routes for a tenant's own OpenAI-compatible servers without a stored key."""

from typing import Annotated

from fastapi import Path as InPath
from fastapi import Query

from keyferry.contracts.ids import EndpointName
from keyferry.contracts.route import Endpoint, ListEndpoints, RemoveEndpoint, SavedEndpoint, SaveEndpoint
from keyferry.contracts.topology import ENDPOINT_LIST, ENDPOINT_REMOVE, ENDPOINT_SAVE
from services.console.access import RouteSpec
from services.console.bodies import Paging
from services.console.problem import not_found
from services.console.service_client import PROBE_SECONDS, ServiceClient
from services.console.tenant_bodies import SaveEndpointBody
from services.console.tenant_context import CurrentTenant, TenantContext
from services.console.views import EndpointPage, paginate

NamedEndpoint = Annotated[EndpointName, InPath(description="The endpoint's name: the first part of `NAME/MODEL`")]


class EndpointRoutes:
    """The routes under `/endpoints`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        base, one = "/endpoints", "/endpoints/{name}"
        return (
            RouteSpec("GET", base, "list_endpoints", self.list_),
            RouteSpec("GET", one, "get_endpoint", self.get),
            RouteSpec("PUT", one, "save_endpoint", self.save),
            RouteSpec("DELETE", one, "remove_endpoint", self.remove),
        )

    async def list_(self, context: CurrentTenant, query: Annotated[Paging, Query()]) -> EndpointPage:
        """List a tenant's endpoints, in the order in which they are used."""
        found = await self._list(context)
        data, following = paginate(found, lambda endpoint: endpoint.name, query.limit, query.after)
        return EndpointPage(data=data, next=following)

    async def get(self, context: CurrentTenant, name: NamedEndpoint) -> Endpoint:
        """Return one endpoint."""
        for endpoint in await self._list(context):
            if endpoint.name == name:
                return endpoint
        raise not_found("the tenant has no endpoint of that name; the list shows them")

    async def save(self, context: CurrentTenant, name: NamedEndpoint, body: SaveEndpointBody) -> SavedEndpoint:
        """Add an endpoint, or replace the one of that name. All its models can be called as `NAME/MODEL`.

        Unless `probe` or `enabled` is false, its address is tried first; nothing is saved if calls to it would fail.
        """
        command = SaveEndpoint.model_validate(
            {"tenant": context.tenant, "actor": context.actor, "name": name, **body.model_dump()}
        )
        return await self._services.change(ENDPOINT_SAVE, command, timeout_seconds=PROBE_SECONDS)

    async def remove(self, context: CurrentTenant, name: NamedEndpoint) -> Endpoint:
        """Remove an endpoint, and return what it was."""
        return await self._services.change(
            ENDPOINT_REMOVE, RemoveEndpoint(tenant=context.tenant, name=name, actor=context.actor)
        )

    async def _list(self, context: TenantContext) -> list[Endpoint]:
        return (await self._services.read(ENDPOINT_LIST, ListEndpoints(tenant=context.tenant))).endpoints
