"""Routes for channels by which people are notified."""

from typing import Annotated

from fastapi import Query

from keyferry.contracts.notification_channels import (
    AddressConfirmation,
    ChannelId,
    ChannelRemoved,
    ConfirmAddress,
    DeliveryTest,
    ListChannels,
    NotificationChannel,
    NotificationChannels,
    RemoveChannel,
    SaveChannel,
    SendConfirmation,
    TestChannel,
)
from keyferry.contracts.notification_management import (
    CHANNEL_ADDRESS_ASK,
    CHANNEL_ADDRESS_CONFIRM,
    CHANNEL_LIST,
    CHANNEL_REMOVE,
    CHANNEL_SAVE,
    CHANNEL_TEST,
    DELIVERY_LIST,
    DELIVERY_REPLAY,
)
from keyferry.contracts.webhooks import Deliveries, ListDeliveries, ReplayDeliveries, ReplayedDeliveries
from services.console.access import RouteSpec
from services.console.notification_bodies import (
    AddressBody,
    ChannelBody,
    ConfirmationBody,
    DeliveryQuery,
    NewChannelBody,
    ReplayDeliveriesBody,
)
from services.console.service_client import SEND_SECONDS, ServiceClient
from services.console.tenant_context import CurrentTenant


class ChannelRoutes:
    """The routes under `/notification-channels`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        base, one = "/notification-channels", "/notification-channels/{channel_id}"
        return (
            RouteSpec("GET", base, "list_channels", self.list_),
            RouteSpec("POST", base, "add_channel", self.add, status=201),
            RouteSpec("POST", f"{base}/send-code", "send_channel_code", self.send_code),
            RouteSpec("POST", f"{base}/confirm-address", "confirm_channel_address", self.confirm),
            RouteSpec("GET", one, "get_channel", self.get),
            RouteSpec("PUT", one, "change_channel", self.change),
            RouteSpec("DELETE", one, "remove_channel", self.remove),
            RouteSpec("POST", f"{one}/test", "test_channel", self.test),
            RouteSpec("GET", f"{one}/deliveries", "list_channel_deliveries", self.deliveries),
            RouteSpec("POST", f"{one}/replay", "replay_channel_deliveries", self.replay),
        )

    async def list_(self, context: CurrentTenant) -> NotificationChannels:
        """List a tenant's channels and how they do, in the order in which they were added."""
        return await self._services.read(CHANNEL_LIST, ListChannels(tenant=context.tenant))

    async def add(self, context: CurrentTenant, body: NewChannelBody) -> NotificationChannel:
        """Add a channel. Each address that is no member's receives a code, and nothing else until that is entered."""
        terms = body.model_dump(mode="json", exclude_none=True)
        command = SaveChannel.model_validate({"tenant": context.tenant, "actor": context.actor, **terms})
        return await self._services.change(CHANNEL_SAVE, command)

    async def get(self, context: CurrentTenant, channel_id: ChannelId) -> NotificationChannel:
        """Return one channel and how it does."""
        found = await self._services.read(CHANNEL_LIST, ListChannels(tenant=context.tenant, channel_id=channel_id))
        return found.channels[0]

    async def change(self, context: CurrentTenant, channel_id: ChannelId, body: ChannelBody) -> NotificationChannel:
        """Replace the terms of a channel, but for its kind.

        With `revision` nothing is saved (409) if somebody else has changed it since that revision was read.
        """
        terms = body.model_dump(mode="json", exclude={"revision"}, exclude_none=True)
        revision = {"channel_id": channel_id, "expected_revision": body.revision}
        command = SaveChannel.model_validate({"tenant": context.tenant, "actor": context.actor, **terms, **revision})
        return await self._services.change(CHANNEL_SAVE, command)

    async def remove(self, context: CurrentTenant, channel_id: ChannelId) -> ChannelRemoved:
        """Remove a channel; what waits to be sent by it is dropped."""
        command = RemoveChannel(tenant=context.tenant, channel_id=channel_id, actor=context.actor)
        return await self._services.change(CHANNEL_REMOVE, command)

    async def test(self, context: CurrentTenant, channel_id: ChannelId) -> DeliveryTest:
        """Send a test by a channel now, and return what was answered."""
        command = TestChannel(tenant=context.tenant, channel_id=channel_id, actor=context.actor)
        return await self._services.change(CHANNEL_TEST, command, timeout_seconds=SEND_SECONDS)

    async def send_code(self, context: CurrentTenant, body: AddressBody) -> AddressConfirmation:
        """Send a new code to an address of a channel that is not confirmed, at most one an hour."""
        command = SendConfirmation(tenant=context.tenant, address=body.address, actor=context.actor)
        return await self._services.change(CHANNEL_ADDRESS_ASK, command, timeout_seconds=SEND_SECONDS)

    async def confirm(self, context: CurrentTenant, body: ConfirmationBody) -> AddressConfirmation:
        """Confirm an address by the code that was sent to it."""
        command = ConfirmAddress(tenant=context.tenant, address=body.address, code=body.code, actor=context.actor)
        return await self._services.change(CHANNEL_ADDRESS_CONFIRM, command)

    async def deliveries(
        self, context: CurrentTenant, channel_id: ChannelId, query: Annotated[DeliveryQuery, Query()]
    ) -> Deliveries:
        """Return a page of the log of a channel, newest first."""
        command = ListDeliveries.model_validate(
            {"tenant": context.tenant, "target_id": channel_id, **query.model_dump()}
        )
        return await self._services.read(DELIVERY_LIST, command)

    async def replay(
        self, context: CurrentTenant, channel_id: ChannelId, body: ReplayDeliveriesBody
    ) -> ReplayedDeliveries:
        """Send notifications of the log of a channel again."""
        command = ReplayDeliveries.model_validate(
            {"tenant": context.tenant, "target_id": channel_id, "actor": context.actor, **body.model_dump()}
        )
        return await self._services.change(DELIVERY_REPLAY, command)
