"""Routes for a tenant's webhook endpoints and the log of what was sent to them."""

from typing import Annotated

from fastapi import Query

from keyferry.contracts.integration_secrets import IntegrationKind
from keyferry.contracts.key import GetIntakeKey
from keyferry.contracts.notification_channels import DeliveryTest
from keyferry.contracts.notification_management import (
    DELIVERY_LIST,
    DELIVERY_REPLAY,
    WEBHOOK_ENDPOINT_LIST,
    WEBHOOK_ENDPOINT_REMOVE,
    WEBHOOK_ENDPOINT_ROTATE,
    WEBHOOK_ENDPOINT_SAVE,
    WEBHOOK_ENDPOINT_TEST,
)
from keyferry.contracts.secret import Secret
from keyferry.contracts.topology import INTAKE_KEY_GET
from keyferry.contracts.webhooks import (
    Deliveries,
    ListDeliveries,
    ListWebhookEndpoints,
    RemoveWebhookEndpoint,
    ReplayDeliveries,
    ReplayedDeliveries,
    RotateWebhookSecret,
    SaveWebhookEndpoint,
    TestWebhookEndpoint,
    WebhookEndpoint,
    WebhookEndpointId,
    WebhookEndpointRemoved,
    WebhookEndpoints,
)
from keyferry.sealing.webhook_secret import mint_webhook_secret
from services.console.access import RouteSpec
from services.console.notification_bodies import (
    CreatedWebhook,
    DeliveryQuery,
    NewWebhookBody,
    ReplayDeliveriesBody,
    RotateWebhookBody,
    WebhookBody,
)
from services.console.sealing import Sealer
from services.console.service_client import SEND_SECONDS, ServiceClient
from services.console.tenant_context import CurrentTenant


class WebhookRoutes:
    """The routes under `/webhooks`."""

    def __init__(self, services: ServiceClient, sealer: Sealer) -> None:
        self._services = services
        self._sealer = sealer

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        base, one = "/webhooks", "/webhooks/{endpoint_id}"
        return (
            RouteSpec("GET", base, "list_webhooks", self.list_),
            RouteSpec("POST", base, "add_webhook", self.add, status=201),
            RouteSpec("GET", one, "get_webhook", self.get),
            RouteSpec("PUT", one, "change_webhook", self.change),
            RouteSpec("DELETE", one, "remove_webhook", self.remove),
            RouteSpec("POST", f"{one}/rotate", "rotate_webhook", self.rotate),
            RouteSpec("POST", f"{one}/test", "test_webhook", self.test),
            RouteSpec("GET", f"{one}/deliveries", "list_webhook_deliveries", self.deliveries),
            RouteSpec("POST", f"{one}/replay", "replay_webhook_deliveries", self.replay),
        )

    async def list_(self, context: CurrentTenant) -> WebhookEndpoints:
        """List a tenant's webhook endpoints and how they do, in the order in which they were added."""
        return await self._services.read(WEBHOOK_ENDPOINT_LIST, ListWebhookEndpoints(tenant=context.tenant))

    async def add(self, context: CurrentTenant, body: NewWebhookBody) -> CreatedWebhook:
        """Add a webhook endpoint. The response contains its secret, which is shown only this once.

        The console generates it and passes it on sealed, so it cannot be read again, only rotated.
        """
        secret = mint_webhook_secret()
        terms = {**body.model_dump(), "sealed": await self._seal(context.tenant, secret)}
        command = SaveWebhookEndpoint.model_validate({"tenant": context.tenant, "actor": context.actor, **terms})
        return _with_secret(await self._services.change(WEBHOOK_ENDPOINT_SAVE, command), secret)

    async def get(self, context: CurrentTenant, endpoint_id: WebhookEndpointId) -> WebhookEndpoint:
        """Return one webhook endpoint and how it does."""
        query = ListWebhookEndpoints(tenant=context.tenant, endpoint_id=endpoint_id)
        return (await self._services.read(WEBHOOK_ENDPOINT_LIST, query)).endpoints[0]

    async def change(
        self, context: CurrentTenant, endpoint_id: WebhookEndpointId, body: WebhookBody
    ) -> WebhookEndpoint:
        """Replace the terms of an endpoint. With `revision` nothing is saved (409) if somebody else changed it.

        Enabling an endpoint that was switched off lets what waits for it go on at once.
        """
        terms = body.model_dump(exclude={"revision"}) | {"expected_revision": body.revision}
        command = SaveWebhookEndpoint.model_validate(
            {"tenant": context.tenant, "actor": context.actor, "endpoint_id": endpoint_id, **terms}
        )
        return await self._services.change(WEBHOOK_ENDPOINT_SAVE, command)

    async def remove(self, context: CurrentTenant, endpoint_id: WebhookEndpointId) -> WebhookEndpointRemoved:
        """Remove an endpoint, its log and its secret; what waits to be sent to it is dropped."""
        command = RemoveWebhookEndpoint(tenant=context.tenant, endpoint_id=endpoint_id, actor=context.actor)
        return await self._services.change(WEBHOOK_ENDPOINT_REMOVE, command)

    async def rotate(
        self, context: CurrentTenant, endpoint_id: WebhookEndpointId, body: RotateWebhookBody
    ) -> CreatedWebhook:
        """Give an endpoint a new secret. The response contains it, which is shown only this once.

        Until the overlap ends events have a signature by each of the two.
        """
        secret = mint_webhook_secret()
        command = RotateWebhookSecret(
            tenant=context.tenant,
            endpoint_id=endpoint_id,
            sealed=await self._seal(context.tenant, secret),
            overlap_seconds=body.overlap_seconds,
            actor=context.actor,
        )
        return _with_secret(await self._services.change(WEBHOOK_ENDPOINT_ROTATE, command), secret)

    async def test(self, context: CurrentTenant, endpoint_id: WebhookEndpointId) -> DeliveryTest:
        """Send an event of the type `webhook.test` now, and return what the endpoint answered."""
        command = TestWebhookEndpoint(tenant=context.tenant, endpoint_id=endpoint_id, actor=context.actor)
        return await self._services.change(WEBHOOK_ENDPOINT_TEST, command, timeout_seconds=SEND_SECONDS)

    async def deliveries(
        self, context: CurrentTenant, endpoint_id: WebhookEndpointId, query: Annotated[DeliveryQuery, Query()]
    ) -> Deliveries:
        """Return a page of the log of an endpoint, newest first."""
        command = ListDeliveries.model_validate(
            {"tenant": context.tenant, "target_id": endpoint_id, **query.model_dump()}
        )
        return await self._services.read(DELIVERY_LIST, command)

    async def replay(
        self, context: CurrentTenant, endpoint_id: WebhookEndpointId, body: ReplayDeliveriesBody
    ) -> ReplayedDeliveries:
        """Send events of the log again: one delivery, or those of a span. Their ids are the same as before."""
        command = ReplayDeliveries.model_validate(
            {"tenant": context.tenant, "target_id": endpoint_id, "actor": context.actor, **body.model_dump()}
        )
        return await self._services.change(DELIVERY_REPLAY, command)

    async def _seal(self, tenant: str, secret: Secret) -> str:
        intake = await self._services.read(INTAKE_KEY_GET, GetIntakeKey())
        return self._sealer.seal_integration(intake, tenant, IntegrationKind.WEBHOOK_SECRET, secret)


def _with_secret(endpoint: WebhookEndpoint, secret: Secret) -> CreatedWebhook:
    return CreatedWebhook.model_validate({**endpoint.model_dump(), "secret": secret})
