"""Handlers of channels. All raise Refused."""

import logging
from collections.abc import Callable
from datetime import datetime

from keyferry.contracts import ids
from keyferry.contracts.notification_channels import (
    AddressConfirmation,
    ChannelKind,
    ChannelRecipient,
    ChannelRemoved,
    ConfirmAddress,
    DeliveryTest,
    ListChannels,
    NotificationChannel,
    NotificationChannels,
    RecipientState,
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
)
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.runtime.bus.connection import Bus
from services.notifier.channels.address_store import AddressStore
from services.notifier.channels.store import ChannelStore, new_addresses
from services.notifier.channels.texts import channel_test_mail, confirmation_mail
from services.notifier.delivery.outcome import shown_test
from services.notifier.delivery.targets import Targets
from services.notifier.mail.smtp import Mailer
from services.notifier.people import People
from services.notifier.rejection import NotifierRefusal, refuse_failures
from services.notifier.webhooks.handlers import WebhookHandlers

_log = logging.getLogger(__name__)


class ChannelHandlers:
    """Answers requests about channels. `committed` is called after a change that lets deliveries go on."""

    def __init__(
        self,
        store: ChannelStore,
        addresses: AddressStore,
        people: People,
        targets: Targets,
        mailer: Mailer,
        webhooks: WebhookHandlers,
        committed: Callable[[], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._addresses = addresses
        self._people = people
        self._targets = targets
        self._mailer = mailer
        self._webhooks = webhooks
        self._committed = committed
        self._clock = clock

    def register(self, bus: Bus) -> None:
        """Subscribe to the requests. Call before the bus is started."""
        bus.respond(CHANNEL_SAVE, self.save)
        bus.respond(CHANNEL_LIST, self.list_)
        bus.respond(CHANNEL_REMOVE, self.remove)
        bus.respond(CHANNEL_TEST, self.test)
        bus.respond(CHANNEL_ADDRESS_ASK, self.send_code)
        bus.respond(CHANNEL_ADDRESS_CONFIRM, self.confirm)

    async def save(self, command: SaveChannel) -> NotificationChannel:
        """Add or replace a channel; send a code to each address that was not in use and is no member's."""
        with refuse_failures():
            self._require_tenant(command.tenant)
            before = None
            if command.channel_id is not None:
                before = await self._store.get(command.tenant, command.channel_id)
            saved = await self._store.save(command, self._clock())
            self._committed()
            known = set() if before is None else set(before.recipients or ())
            for address in new_addresses(saved):
                if address not in known:
                    await self._try_to_send_code(command.tenant, address, command.actor)
            return saved

    async def list_(self, command: ListChannels) -> NotificationChannels:
        """Return a tenant's channels, or one of them."""
        with refuse_failures():
            if command.channel_id is None:
                found = await self._store.list(command.tenant)
            else:
                found = [await self._store.get(command.tenant, command.channel_id)]
            return NotificationChannels(tenant=command.tenant, channels=found)

    async def remove(self, command: RemoveChannel) -> ChannelRemoved:
        """Remove a channel."""
        with refuse_failures():
            channel, dropped = await self._store.remove(command.tenant, command.channel_id, command.actor)
            return ChannelRemoved(channel=channel, dropped=dropped)

    async def test(self, command: TestChannel) -> DeliveryTest:
        """Send a test now, and return what was answered."""
        with refuse_failures():
            channel = await self._store.get(command.tenant, command.channel_id)
            if channel.kind is ChannelKind.WEBHOOK:
                return await self._webhooks.send_test(command.tenant, str(channel.endpoint_id))
            mail = channel_test_mail(command.tenant, channel.name, self._clock(), f"test.{ids.new(ids.DELIVERY)}")
            return shown_test(
                await self._targets.of_channel(channel).send_message(mail, f"{mail.subject}\n{mail.text}")
            )

    async def send_code(self, command: SendConfirmation) -> AddressConfirmation:
        """Send a new code to an address that some channel of the tenant has."""
        with refuse_failures():
            channels = await self._store.list(command.tenant)
            waiting = {address for channel in channels for address in new_addresses(channel)}
            if command.address not in waiting:
                raise NotifierRefusal(f"no channel of {command.tenant} has {command.address} as an unconfirmed address")
            code, expires_at = await self._addresses.new_code(
                command.tenant, command.address, command.actor, self._clock()
            )
            outcome = await self._mailer.send(
                confirmation_mail(command.tenant, command.address, code), [command.address]
            )
            if not outcome.delivered:
                raise NotifierRefusal(f"the code could not be sent: {outcome.answer}")
            recipient = ChannelRecipient(address=command.address, state=RecipientState.UNCONFIRMED)
            return AddressConfirmation(tenant=command.tenant, recipient=recipient, code_expires_at=expires_at)

    async def confirm(self, command: ConfirmAddress) -> AddressConfirmation:
        """Confirm an address by its code."""
        with refuse_failures():
            await self._addresses.confirm(command.tenant, command.address, command.code, command.actor, self._clock())
            self._committed()
            recipient = ChannelRecipient(address=command.address, state=RecipientState.CONFIRMED)
            return AddressConfirmation(tenant=command.tenant, recipient=recipient)

    def _require_tenant(self, tenant: str) -> None:
        if tenant != PLATFORM_TENANT and not self._people.is_active(tenant):
            raise NotifierRefusal(f"there is no tenant {tenant}, or it is deleted")

    async def _try_to_send_code(self, tenant: str, address: str, actor: str) -> None:
        """Send a code; what fails is seen in the channel's state, and can be asked for again."""
        try:
            code, _ = await self._addresses.new_code(tenant, address, actor, self._clock())
        except NotifierRefusal as error:
            _log.info("no code was sent", extra={"tenant": tenant, "reason": str(error)})
            return
        outcome = await self._mailer.send(confirmation_mail(tenant, address, code), [address])
        if not outcome.delivered:
            _log.warning("a code could not be sent", extra={"tenant": tenant, "reason": outcome.answer})
