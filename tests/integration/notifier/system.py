"""The notifier's parts around a real database, without the bus: any number of senders, and intakes."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, cast

from keyferry.contracts import ids
from keyferry.contracts.alert_events import AlertChanged
from keyferry.contracts.membership import Member
from keyferry.contracts.notification_channels import NotificationChannel, SaveChannel
from keyferry.contracts.webhooks import SaveWebhookEndpoint, WebhookEndpoint
from keyferry.runtime.database.service_database import ServiceDatabase
from keyferry.runtime.integration_secrets import IntegrationSecrets
from keyferry.runtime.upstream.client import UpstreamClient
from keyferry.runtime.upstream.guard import Lookup, system_lookup
from services.notifier.channels.store import ChannelStore
from services.notifier.delivery.http_post import HttpPoster
from services.notifier.delivery.queue import DeliveryQueue
from services.notifier.delivery.sender import DeliverySender
from services.notifier.delivery.targets import Targets
from services.notifier.intake.alerts import AlertIntake
from services.notifier.mail.smtp import Mailer
from services.notifier.people import People
from services.notifier.settings import NotifierSettings, SmtpSecurity
from services.notifier.webhooks.endpoint_store import WebhookEndpointStore
from tests.integration.notifier.receiver import KnownSecrets

LOOPBACK = (IPv4Network("127.0.0.0/8"),)
NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class KnownEntries:
    """Stands for a view: has what a test put into it."""

    def __init__(self) -> None:
        self.entries: dict[str, Any] = {}
        self.listeners: list[Any] = []

    def on_owner_change(self, listener: Any) -> None:
        self.listeners.append(listener)

    def get(self, key: str) -> Any:
        return self.entries.get(key)


class TestClock:
    """The time of a test, in UTC."""

    __test__ = False

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **span: float) -> None:
        """Let time pass."""
        self.now += timedelta(**span)


class NotifierUnderTest:
    """Stores, intakes and senders over one database."""

    def __init__(
        self,
        database: ServiceDatabase,
        url_file: Path,
        *,
        smtp_port: int | None = None,
        smtp_tls: SmtpSecurity = SmtpSecurity.OFF,
        lookup: Lookup = system_lookup,
        allow: tuple[IPv4Network, ...] = LOOPBACK,
        post_seconds: float = 2.0,
    ) -> None:
        self.database = database
        self.clock = TestClock()
        self.secrets = KnownSecrets()
        self.members = KnownEntries()
        self.tenants = KnownEntries()
        self.people = People(cast(Any, self.members), cast(Any, self.tenants))
        settings = NotifierSettings(
            nats_url="nats://unused",
            database_url_file=url_file,
            smtp_host=None if smtp_port is None else "127.0.0.1",
            smtp_port=smtp_port,
            smtp_tls=smtp_tls,
            smtp_from="keyferry@example.com",
        )
        self.client = UpstreamClient(allow=allow, lookup=lookup)
        secrets = cast(IntegrationSecrets, self.secrets)
        self.mailer = Mailer(settings, secrets)
        self.poster = HttpPoster(self.client, within_seconds=post_seconds)
        self.channels = ChannelStore(database, self.people)
        self.endpoints = WebhookEndpointStore(database)
        self.targets = Targets(
            self.channels,
            self.endpoints,
            self.people,
            self.mailer,
            self.poster,
            secrets,
        )
        self.queue = DeliveryQueue(database)
        self.intake = AlertIntake(database, lambda: None, self.clock)

    def be_members(self, tenant: str, *members: Member) -> None:
        """Let these people be a tenant's members."""
        for listener in self.members.listeners:
            listener(tenant, members)

    @asynccontextmanager
    async def sending(self, count: int = 1) -> AsyncIterator[Sequence[DeliverySender]]:
        """Let so many senders run, as of so many processes."""
        senders = [DeliverySender(self.queue, self.targets, self.clock) for _ in range(count)]
        for sender in senders:
            sender.start()
        try:
            yield senders
        finally:
            for sender in senders:
                await sender.stop()

    async def add_endpoint(
        self, url: str, tenant: str = "acme", types: Sequence[str] = ("alert.changed",)
    ) -> WebhookEndpoint:
        """Add an endpoint with a known secret."""
        command = SaveWebhookEndpoint.model_validate(
            {"tenant": tenant, "name": "hook", "url": url, "event_types": list(types), "sealed": "c2VhbGVk"}
        )
        secret_id = f"isec_{ids.new(ids.DELIVERY).partition('_')[2]}"
        self.secrets.put(secret_id, SECRET)
        return await self.endpoints.add(command, ids.new(ids.WEBHOOK_ENDPOINT), secret_id, self.clock())

    async def add_channel(self, tenant: str = "acme", **terms: object) -> NotificationChannel:
        """Add a channel: e-mail to ops@example.com unless `terms` say something else."""
        usual = {"tenant": tenant, "name": "on call", "kind": "email", "recipients": ["ops@example.com"]}
        return await self.channels.save(SaveChannel.model_validate(usual | terms), self.clock())

    async def close(self) -> None:
        """Close connections."""
        await self.client.close()


def alert(sequence: int = 1, **changes: object) -> AlertChanged:
    """Return a change of an alert."""
    usual = {
        "tenant": "acme",
        "rule_id": "alr_0123",
        "rule_name": "spend",
        "alert_id": "alt_0123",
        "sequence": sequence,
        "state": "fired",
        "severity": "warning",
        "metric": "spend",
        "subject": "",
        "since": NOW,
        "at": NOW,
        "title": f"change {sequence}",
        "text": "spending is high",
    }
    return AlertChanged.model_validate(usual | changes)
