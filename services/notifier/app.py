"""Assembles the notifier."""

from datetime import UTC, datetime
from functools import partial

from keyferry.contracts.addresses import AddressPolicy
from keyferry.contracts.alert_management import ALERT_CHANGED
from keyferry.contracts.ledger_management import ANALYTICS_BREAKDOWN
from keyferry.contracts.membership_management import MEMBERS_VIEW
from keyferry.contracts.payment_management import CREDIT_POSTED, PAYMENT_CHANGED
from keyferry.contracts.topology import ATTEMPT_FINISHED, HEALTH_CHANGED, KEY_CHANGED, TENANTS_VIEW, Role
from keyferry.runtime.database.service_database import ServiceDatabase
from keyferry.runtime.integration_secrets import IntegrationSecrets
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.process.settings import load
from keyferry.runtime.upstream.client import ResponseLimits, UpstreamClient
from keyferry.runtime.views import KvView
from services.notifier.channels.address_store import AddressStore
from services.notifier.channels.handlers import ChannelHandlers
from services.notifier.channels.store import ChannelStore
from services.notifier.delivery.http_post import HttpPoster
from services.notifier.delivery.log_store import DeliveryLog
from services.notifier.delivery.queue import DeliveryQueue
from services.notifier.delivery.sender import DeliverySender
from services.notifier.delivery.targets import Targets
from services.notifier.handlers import NotifierHandlers
from services.notifier.intake.alerts import AlertIntake
from services.notifier.intake.attempts import AttemptIntake
from services.notifier.intake.changes import ChangeIntake
from services.notifier.mail.smtp import Mailer
from services.notifier.people import People
from services.notifier.reports.handlers import ReportHandlers
from services.notifier.reports.runner import ReportRunner
from services.notifier.reports.store import ReportStore
from services.notifier.schema import NOTIFIER_SCHEMA
from services.notifier.settings import NotifierSettings
from services.notifier.webhooks.endpoint_store import WebhookEndpointStore
from services.notifier.webhooks.handlers import WebhookHandlers
from services.notifier.webhooks.secret_removal import SecretRemoval

_ANSWER_BYTES = 1024 * 1024
"""Of an answer to a webhook, of which only the beginning is read anyway."""
_LEDGER_SECONDS = 20.0
"""A breakdown of a month may take some seconds."""


class NotifierParts:
    """What a process is made of."""

    def __init__(self, service: Service, settings: NotifierSettings) -> None:
        bus = service.bus
        clock = partial(datetime.now, UTC)
        self.database = ServiceDatabase.of(settings, NOTIFIER_SCHEMA)
        self.views = KvView(bus, MEMBERS_VIEW), KvView(bus, TENANTS_VIEW)
        self.people = People(*self.views)
        secrets = IntegrationSecrets(bus)
        self.client = UpstreamClient(
            allow=settings.egress_allow,
            limits=ResponseLimits(json_bytes=_ANSWER_BYTES, stream_bytes=_ANSWER_BYTES),
        )
        poster = HttpPoster(self.client)
        self.mailer = Mailer(settings, secrets)
        self.channels = ChannelStore(self.database, self.people)
        self.endpoints = WebhookEndpointStore(self.database)
        self.targets = Targets(self.channels, self.endpoints, self.people, self.mailer, poster, secrets)
        self.sender = DeliverySender(DeliveryQueue(self.database), self.targets, clock)
        self.secret_removal = SecretRemoval(self.database, bus)
        committed = self.sender.wake
        self.alerts = AlertIntake(self.database, committed, clock)
        self.changes = ChangeIntake(self.database, committed, clock)
        self.attempts = AttemptIntake(bus, self.database, committed, clock)
        self.webhook_handlers = WebhookHandlers(
            bus,
            self.endpoints,
            DeliveryLog(self.database),
            self.targets,
            self.people,
            AddressPolicy(settings.egress_allow),
            self._committed,
            clock,
        )
        self.channel_handlers = ChannelHandlers(
            self.channels,
            AddressStore(self.database),
            self.people,
            self.targets,
            self.mailer,
            self.webhook_handlers,
            committed,
            clock,
        )

        reports = ReportStore(self.database, self.people)
        break_down = partial(bus.ask, ANALYTICS_BREAKDOWN, timeout_seconds=_LEDGER_SECONDS)
        self.reports = ReportRunner(reports, self.channels, self.people, self.mailer, break_down, clock)
        self.report_handlers = ReportHandlers(reports, self.reports, clock)

    def _committed(self) -> None:
        self.sender.wake()
        self.secret_removal.wake()

    async def start_sending(self) -> None:
        """Begin to send what is in the queue."""
        self.sender.start()


def create_app(settings: NotifierSettings | None = None) -> Service:
    """Assemble a notifier from `settings`, or from the environment. Raises SettingsError."""
    settings = settings or load(NotifierSettings)
    service = Service(Role.NOTIFIER, settings)
    bus = service.bus
    parts = NotifierParts(service, settings)
    NotifierHandlers(parts.database).register(bus)
    parts.channel_handlers.register(bus)
    parts.webhook_handlers.register()
    parts.report_handlers.register(bus)
    bus.pull(ALERT_CHANGED, parts.alerts.on_alerts)
    # What earlier builds stored of payments and credits in the stream of the first two comes through its consumer as well.
    bus.pull(KEY_CHANGED, parts.changes.on_changes, HEALTH_CHANGED)
    bus.pull(PAYMENT_CHANGED, parts.changes.on_changes, CREDIT_POSTED)
    bus.pull(ATTEMPT_FINISHED, parts.attempts.on_attempts)
    service.opens(partial(parts.database.open, bus), parts.database.close)
    for view in parts.views:
        service.opens(view.start, view.stop)
        service.needs_view(view)
    service.closes(parts.client.close)
    service.opens(parts.start_sending, parts.sender.stop)
    for part in (parts.alerts, parts.attempts, parts.secret_removal, parts.reports):
        service.opens(part.start, part.stop)
    service.needs("PostgreSQL, and the published events", parts.database.is_publishing)
    service.facts = lambda: {"serving": str(parts.sender.workers)}
    return service
