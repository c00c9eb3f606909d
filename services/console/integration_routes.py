"""Routes for integration secrets: each sends a request to the vault, and no response contains a secret."""

from dataclasses import replace
from typing import Annotated

from fastapi import Query, Request, Response

from keyferry.contracts.integration_management import (
    INTEGRATION_SECRET_LIST,
    INTEGRATION_SECRET_REMOVE,
    INTEGRATION_SECRET_ROTATE,
    INTEGRATION_SECRET_SAVE,
)
from keyferry.contracts.integration_secrets import (
    IntegrationKind,
    IntegrationSecret,
    IntegrationSecretList,
    IntegrationSecretRemoved,
    ListIntegrationSecrets,
    RemoveIntegrationSecret,
    RotateIntegrationSecret,
    SaveIntegrationSecret,
    SecretId,
)
from keyferry.contracts.key import GetIntakeKey
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.topology import INTAKE_KEY_GET
from services.console.access import RouteSpec
from services.console.integration_bodies import (
    AddIntegrationBody,
    CarriedSecret,
    IntegrationListQuery,
    RotateIntegrationBody,
)
from services.console.sealing import Sealer
from services.console.service_client import ServiceClient
from services.console.tenant_context import CurrentTenant, TenantContext


class IntegrationRoutes:
    """The routes under `/integrations`."""

    def __init__(self, services: ServiceClient, sealer: Sealer) -> None:
        self._services = services
        self._sealer = sealer

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        base, one = "/integrations", "/integrations/{secret_id}"
        return (
            RouteSpec("GET", base, "list_integrations", self.list_),
            RouteSpec("POST", base, "add_integration", self.add, status=201),
            RouteSpec("GET", one, "get_integration", self.get),
            RouteSpec("DELETE", one, "remove_integration", self.remove),
            RouteSpec("POST", f"{one}/rotate", "rotate_integration", self.rotate),
        )

    def operator_specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes about the platform's own secrets, which only an operator may call."""
        base, one = "/integrations", "/integrations/{secret_id}"
        return (
            RouteSpec("GET", base, "list_platform_integrations", self.list_of_platform),
            RouteSpec("POST", base, "add_platform_integration", self.add_to_platform, status=201),
            RouteSpec("DELETE", one, "remove_platform_integration", self.remove_from_platform),
            RouteSpec("POST", f"{one}/rotate", "rotate_platform_integration", self.rotate_of_platform),
        )

    async def list_(
        self, context: CurrentTenant, query: Annotated[IntegrationListQuery, Query()]
    ) -> IntegrationSecretList:
        """List a tenant's integration secrets, masked, in the order in which they were added."""
        return await self._services.read(
            INTEGRATION_SECRET_LIST, ListIntegrationSecrets(tenant=context.tenant, kind=query.kind)
        )

    async def add(
        self, context: CurrentTenant, body: AddIntegrationBody, request: Request, response: Response
    ) -> IntegrationSecret:
        """Store an integration secret. Give it as `sealed`, or as `secret` in clear text."""
        command = SaveIntegrationSecret(
            tenant=context.tenant,
            actor=context.actor,
            kind=body.kind,
            name=body.name,
            sealed=await self._sealed(context, body.kind, body),
        )
        added = await self._services.change(INTEGRATION_SECRET_SAVE, command)
        response.headers["location"] = f"{request.url.path}/{added.secret_id}"
        return added

    async def get(self, context: CurrentTenant, secret_id: SecretId) -> IntegrationSecret:
        """Return one integration secret, masked."""
        query = ListIntegrationSecrets(tenant=context.tenant, secret_id=secret_id)
        return (await self._services.read(INTEGRATION_SECRET_LIST, query)).secrets[0]

    async def rotate(
        self, context: CurrentTenant, secret_id: SecretId, body: RotateIntegrationBody
    ) -> IntegrationSecret:
        """Replace an integration secret. The previous version stays valid for the overlap, and is then destroyed."""
        stored = await self.get(context, secret_id)
        command = RotateIntegrationSecret(
            tenant=context.tenant,
            actor=context.actor,
            secret_id=secret_id,
            sealed=await self._sealed(context, stored.kind, body),
            overlap_seconds=body.overlap_seconds,
        )
        return await self._services.change(INTEGRATION_SECRET_ROTATE, command)

    async def remove(self, context: CurrentTenant, secret_id: SecretId) -> IntegrationSecretRemoved:
        """Destroy an integration secret with all its versions. This cannot be undone."""
        command = RemoveIntegrationSecret(tenant=context.tenant, actor=context.actor, secret_id=secret_id)
        return await self._services.change(INTEGRATION_SECRET_REMOVE, command)

    async def list_of_platform(
        self, context: CurrentTenant, query: Annotated[IntegrationListQuery, Query()]
    ) -> IntegrationSecretList:
        """List the platform's integration secrets, masked."""
        return await self.list_(_of_platform(context), query)

    async def add_to_platform(
        self, context: CurrentTenant, body: AddIntegrationBody, request: Request, response: Response
    ) -> IntegrationSecret:
        """Store an integration secret of the platform: for Stripe, Lago, the mail server, or what tenants may have as well."""
        return await self.add(_of_platform(context), body, request, response)

    async def rotate_of_platform(
        self, context: CurrentTenant, secret_id: SecretId, body: RotateIntegrationBody
    ) -> IntegrationSecret:
        """Replace an integration secret of the platform, with overlap."""
        return await self.rotate(_of_platform(context), secret_id, body)

    async def remove_from_platform(self, context: CurrentTenant, secret_id: SecretId) -> IntegrationSecretRemoved:
        """Destroy an integration secret of the platform."""
        return await self.remove(_of_platform(context), secret_id)

    async def _sealed(self, context: TenantContext, kind: IntegrationKind, body: CarriedSecret) -> str:
        if body.sealed is not None:
            return body.sealed
        assert body.secret is not None, "a body has exactly one of the two"
        intake = await self._services.read(INTAKE_KEY_GET, GetIntakeKey())
        return self._sealer.seal_integration(intake, context.tenant, kind, body.secret)


def _of_platform(context: TenantContext) -> TenantContext:
    return replace(context, tenant=PLATFORM_TENANT)
