"""Where deliveries go, and how each kind is sent: webhook endpoints, e-mail, chats, and a tenant's owners."""

from collections.abc import Sequence
from datetime import datetime

import orjson

from keyferry.contracts.alert_events import AlertChanged
from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.integration_secrets import IntegrationKind
from keyferry.contracts.notification_channels import ChannelKind, NotificationChannel
from keyferry.contracts.webhooks import WebhookEndpoint
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.integration_secrets import IntegrationSecrets, NoSuchSecret
from services.notifier.channels.address_rules import receiving
from services.notifier.channels.quiet_hours import quiet_until
from services.notifier.channels.store import ChannelStore
from services.notifier.channels.texts import (
    alert_chat,
    alert_mail,
    digest_chat,
    digest_mail,
    switched_off_mail,
)
from services.notifier.delivery.http_post import HttpPoster
from services.notifier.delivery.item import OWNERS, ClaimedDelivery
from services.notifier.delivery.notice import SwitchedOff
from services.notifier.delivery.outcome import DeliveryOutcome, failed
from services.notifier.delivery.sender import DeliveryTarget
from services.notifier.mail.message import Mail
from services.notifier.mail.smtp import Mailer
from services.notifier.people import People
from services.notifier.webhooks.endpoint_store import WebhookEndpointStore
from services.notifier.webhooks.signature import UnusableSecret, headers_of

_NOBODY = "none of the addresses of this channel is confirmed or that of an active member"
_NO_OWNERS = "the tenant has no active owner with an e-mail address"
_UNREADABLE = "this build cannot read what waits here"


class EndpointTarget:
    """A webhook endpoint."""

    def __init__(self, endpoint: WebhookEndpoint, poster: HttpPoster, secrets: IntegrationSecrets) -> None:
        self._endpoint = endpoint
        self._poster = poster
        self._secrets = secrets

    def quiet_until(self, now: datetime) -> datetime | None:
        """Return None: programs do not sleep."""
        return None

    async def send(self, delivery: ClaimedDelivery, now: datetime) -> DeliveryOutcome:
        """Post one event with its signatures, made anew for each attempt as its timestamp is."""
        return await self.post(delivery.event_id, delivery.payload.encode(), now)

    async def send_digest(self, deliveries: Sequence[ClaimedDelivery], now: datetime) -> DeliveryOutcome:
        """Fail: nothing is held back from an endpoint."""
        return failed(_UNREADABLE, 0)

    async def post(self, event_id: str, body: bytes, now: datetime) -> DeliveryOutcome:
        """Post a body."""
        endpoint = self._endpoint
        try:
            versions = await self._secrets.get(endpoint.tenant, IntegrationKind.WEBHOOK_SECRET, endpoint.secret_id)
            signed = headers_of(event_id, now, body, versions.all)
        except (NoSuchSecret, UnusableSecret, BusError, Refused) as error:
            return failed(f"it was not sent, since it cannot be signed: {error}", 0)
        return await self._poster.post(endpoint.url, {"content-type": "application/json"} | signed, body)


class ChannelTarget:
    """An e-mail or chat channel."""

    def __init__(
        self,
        channel: NotificationChannel,
        time_zone: str,
        mailer: Mailer,
        poster: HttpPoster,
        secrets: IntegrationSecrets,
    ) -> None:
        self._channel = channel
        self._time_zone = time_zone
        self._mailer = mailer
        self._poster = poster
        self._secrets = secrets

    def quiet_until(self, now: datetime) -> datetime | None:
        """Return the end of the channel's quiet hours if it is in them."""
        return quiet_until(self._channel.quiet_hours, self._time_zone, now)

    async def send(self, delivery: ClaimedDelivery, now: datetime) -> DeliveryOutcome:
        """Send one alert."""
        try:
            change = AlertChanged.decode(delivery.payload.encode())
        except MalformedMessage:
            return failed(_UNREADABLE, 0)
        return await self.send_message(alert_mail(change), alert_chat(change))

    async def send_digest(self, deliveries: Sequence[ClaimedDelivery], now: datetime) -> DeliveryOutcome:
        """Send as one what quiet hours held back."""
        try:
            changes = [AlertChanged.decode(delivery.payload.encode()) for delivery in deliveries]
        except MalformedMessage:
            return failed(_UNREADABLE, 0)
        changes.sort(key=lambda change: change.at)
        return await self.send_message(digest_mail(changes), digest_chat(changes))

    async def send_message(self, mail: Mail, chat: str) -> DeliveryOutcome:
        """Send the mail or the chat message, whichever the channel is for."""
        if self._channel.kind is ChannelKind.EMAIL:
            recipients = receiving(self._channel.recipient_states)
            return await self._mailer.send(mail, recipients) if recipients else failed(_NOBODY, 0)
        try:
            kind = IntegrationKind.SLACK_WEBHOOK_URL
            url = (await self._secrets.get(self._channel.tenant, kind, self._channel.secret_id)).current
        except (NoSuchSecret, BusError, Refused) as error:
            return failed(f"the address of the chat cannot be read: {error}", 0)
        body = orjson.dumps({"text": chat})
        return await self._poster.post(url.reveal(), {"content-type": "application/json"}, body)


class OwnersTarget:
    """The owners of a tenant, for messages about its channels, and for alerts while it has no channel."""

    def __init__(self, tenant: str, people: People, mailer: Mailer) -> None:
        self._tenant = tenant
        self._people = people
        self._mailer = mailer

    def quiet_until(self, now: datetime) -> datetime | None:
        """Return None: what is for the owners is not held back."""
        return None

    async def send(self, delivery: ClaimedDelivery, now: datetime) -> DeliveryOutcome:
        """Mail a notice or an alert."""
        try:
            mail = self._mail_of(delivery)
        except MalformedMessage:
            return failed(_UNREADABLE, 0)
        owners = self._people.owner_addresses(self._tenant)
        return await self._mailer.send(mail, owners) if owners else failed(_NO_OWNERS, 0)

    async def send_digest(self, deliveries: Sequence[ClaimedDelivery], now: datetime) -> DeliveryOutcome:
        """Fail: nothing is held back from owners."""
        return failed(_UNREADABLE, 0)

    def _mail_of(self, delivery: ClaimedDelivery) -> Mail:
        payload = delivery.payload.encode()
        if delivery.event_type == "target.switched_off":
            notice = SwitchedOff.decode(payload)
            return switched_off_mail(self._tenant, notice.target_id, notice.name, notice.reason, delivery.event_id)
        return alert_mail(AlertChanged.decode(payload))


class Targets:
    """Finds targets as they are configured now."""

    def __init__(
        self,
        channels: ChannelStore,
        endpoints: WebhookEndpointStore,
        people: People,
        mailer: Mailer,
        poster: HttpPoster,
        secrets: IntegrationSecrets,
    ) -> None:
        self._channels = channels
        self._endpoints = endpoints
        self._people = people
        self._mailer = mailer
        self._poster = poster
        self._secrets = secrets

    async def find(self, target_id: str) -> DeliveryTarget | None:
        """Return a target; None if it is gone. Raises DatabaseUnavailable."""
        if target_id.startswith(OWNERS):
            return OwnersTarget(target_id.removeprefix(OWNERS), self._people, self._mailer)
        if target_id.startswith("whe_"):
            endpoint = await self._endpoints.find(target_id)
            return None if endpoint is None else self.of_endpoint(endpoint)
        channel = await self._channels.find(target_id)
        return None if channel is None else self.of_channel(channel)

    def of_endpoint(self, endpoint: WebhookEndpoint) -> EndpointTarget:
        """Return an endpoint as a target."""
        return EndpointTarget(endpoint, self._poster, self._secrets)

    def of_channel(self, channel: NotificationChannel) -> ChannelTarget:
        """Return an e-mail or chat channel as a target."""
        zone = self._people.time_zone(channel.tenant)
        return ChannelTarget(channel, zone, self._mailer, self._poster, self._secrets)
