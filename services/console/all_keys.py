"""The provider keys of every tenant, page by page: for the operator, when somebody leaves or a provider has an incident."""

from typing import Annotated

from fastapi import Query

from keyferry.contracts.key import Actor, ListKeys, ProviderKey
from keyferry.contracts.tenancy import ListTenants
from keyferry.contracts.topology import KEY_LIST, TENANT_LIST
from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem
from services.console.access import RouteSpec
from services.console.bodies import AllKeysPaging
from services.console.service_client import ServiceClient
from services.console.tenant_context import CurrentTenant
from services.console.views import ProviderKeyPage

_TENANTS_PER_PAGE = 100
"""Each is one request to the vault; a page ends early after as many without enough keys."""


class AllKeysRoutes:
    """The route `/ops/provider-keys`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def operator_specs(self) -> tuple[RouteSpec, ...]:
        """Return the route, which only an operator may call."""
        return (RouteSpec("GET", "/provider-keys", "list_all_provider_keys", self.list_),)

    async def list_(self, context: CurrentTenant, query: Annotated[AllKeysPaging, Query()]) -> ProviderKeyPage:
        """List the provider keys of every tenant, masked, by tenant and in the order in which they are used.

        A page may have fewer keys than `limit`, even none, and a `next`.
        """
        first, _, last_id = (query.after or "").partition(".")
        tenants = [each.tenant for each in (await self._services.read(TENANT_LIST, ListTenants())).tenants]
        remaining = [tenant for tenant in sorted(tenants) if tenant >= first]
        data: list[ProviderKey] = []
        for tenant in remaining[:_TENANTS_PER_PAGE]:
            keys = await self._list(tenant, query.created_by)
            if tenant == first and last_id:
                keys = _after(keys, last_id)
            data += keys
            if len(data) > query.limit:
                shown = data[: query.limit]
                return ProviderKeyPage(data=shown, next=f"{shown[-1].tenant}.{shown[-1].key_id}")
        more = remaining[_TENANTS_PER_PAGE:]
        return ProviderKeyPage(data=data, next=f"{more[0]}." if more else None)

    async def _list(self, tenant: str, created_by: Actor | None) -> list[ProviderKey]:
        return (await self._services.read(KEY_LIST, ListKeys(tenant=tenant, created_by=created_by))).keys


def _after(keys: list[ProviderKey], key_id: str) -> list[ProviderKey]:
    """Return the keys after the one with this id. Raises HttpProblem 400 if it is gone."""
    for position, key in enumerate(keys):
        if key.key_id == key_id:
            return keys[position + 1 :]
    message = "the list has changed and no longer contains `after`: start from the beginning"
    raise HttpProblem(400, INVALID_REQUEST, "invalid_cursor", message, param="after")
