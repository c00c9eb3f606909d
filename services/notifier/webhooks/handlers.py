"""Handlers of webhook endpoints and of the log of deliveries. All raise Refused."""

from collections.abc import Callable
from datetime import datetime

from keyferry.contracts import ids
from keyferry.contracts.addresses import AddressPolicy, check_reachable
from keyferry.contracts.integration_management import WEBHOOK_SECRET_ROTATE, WEBHOOK_SECRET_SAVE
from keyferry.contracts.integration_secrets import IntegrationKind, RotateIntegrationSecret, SaveIntegrationSecret
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
from keyferry.contracts.origin import ForbiddenUrl
from keyferry.contracts.service import ErrorCode
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
    WebhookEndpointRemoved,
    WebhookEndpoints,
    WebhookEvent,
    WebhookEventType,
)
from keyferry.runtime.bus.connection import Bus
from services.notifier.delivery.log_store import DeliveryLog
from services.notifier.delivery.outcome import shown_test
from services.notifier.delivery.targets import Targets
from services.notifier.people import People
from services.notifier.rejection import NotifierRefusal, refuse_failures
from services.notifier.webhooks.endpoint_store import WebhookEndpointStore

_VAULT_SECONDS = 5.0


class WebhookHandlers:
    """Answers requests about webhook endpoints. `committed` is called after a change that lets deliveries go on."""

    def __init__(
        self,
        bus: Bus,
        store: WebhookEndpointStore,
        log: DeliveryLog,
        targets: Targets,
        people: People,
        policy: AddressPolicy,
        committed: Callable[[], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._bus = bus
        self._store = store
        self._log = log
        self._targets = targets
        self._people = people
        self._policy = policy
        self._committed = committed
        self._clock = clock

    def register(self) -> None:
        """Subscribe to the requests. Call before the bus is started."""
        self._bus.respond(WEBHOOK_ENDPOINT_SAVE, self.save)
        self._bus.respond(WEBHOOK_ENDPOINT_LIST, self.list_)
        self._bus.respond(WEBHOOK_ENDPOINT_REMOVE, self.remove)
        self._bus.respond(WEBHOOK_ENDPOINT_ROTATE, self.rotate)
        self._bus.respond(WEBHOOK_ENDPOINT_TEST, self.test)
        self._bus.respond(DELIVERY_LIST, self.list_deliveries)
        self._bus.respond(DELIVERY_REPLAY, self.replay)

    async def save(self, command: SaveWebhookEndpoint) -> WebhookEndpoint:
        """Add or replace an endpoint."""
        with refuse_failures():
            self._check_url(command.url)
            if command.endpoint_id is not None:
                saved = await self._store.change(command, command.endpoint_id, self._clock())
            else:
                saved = await self._add(command)
            self._committed()
            return saved

    async def _add(self, command: SaveWebhookEndpoint) -> WebhookEndpoint:
        """Store the secret first: an endpoint without one could sign nothing."""
        if not self._people.is_active(command.tenant):
            raise NotifierRefusal(f"there is no tenant {command.tenant}, or it is deleted", ErrorCode.NOT_FOUND)
        await self._store.require_space(command.tenant)
        endpoint_id = ids.new(ids.WEBHOOK_ENDPOINT)
        secret = SaveIntegrationSecret(
            tenant=command.tenant,
            kind=IntegrationKind.WEBHOOK_SECRET,
            name=endpoint_id,
            sealed=str(command.sealed),
            actor=command.actor,
        )
        saved = await self._bus.ask(WEBHOOK_SECRET_SAVE, secret, timeout_seconds=_VAULT_SECONDS)
        try:
            return await self._store.add(command, endpoint_id, saved.secret_id, self._clock())
        except NotifierRefusal:
            await self._store.remove_secret_later(command.tenant, saved.secret_id)
            raise

    async def list_(self, command: ListWebhookEndpoints) -> WebhookEndpoints:
        """Return a tenant's endpoints, or one of them."""
        with refuse_failures():
            if command.endpoint_id is None:
                found = await self._store.list(command.tenant)
            else:
                found = [await self._store.get(command.tenant, command.endpoint_id)]
            return WebhookEndpoints(tenant=command.tenant, endpoints=found)

    async def remove(self, command: RemoveWebhookEndpoint) -> WebhookEndpointRemoved:
        """Remove an endpoint."""
        with refuse_failures():
            endpoint, dropped = await self._store.remove(command.tenant, command.endpoint_id, command.actor)
            self._committed()
            return WebhookEndpointRemoved(endpoint=endpoint, dropped=dropped)

    async def rotate(self, command: RotateWebhookSecret) -> WebhookEndpoint:
        """Replace the secret of an endpoint. If the answer is lost, the vault has the new one: rotate again."""
        with refuse_failures():
            endpoint = await self._store.get(command.tenant, command.endpoint_id)
            rotation = RotateIntegrationSecret(
                tenant=command.tenant,
                secret_id=endpoint.secret_id,
                sealed=command.sealed,
                overlap_seconds=command.overlap_seconds,
                actor=command.actor,
            )
            rotated = await self._bus.ask(WEBHOOK_SECRET_ROTATE, rotation, timeout_seconds=_VAULT_SECONDS)
            return await self._store.record_rotation(
                command.tenant, command.endpoint_id, rotated.previous_until, command.actor
            )

    async def test(self, command: TestWebhookEndpoint) -> DeliveryTest:
        """Send a test event now, and return what the endpoint answered."""
        with refuse_failures():
            return await self.send_test(command.tenant, command.endpoint_id)

    async def send_test(self, tenant: str, endpoint_id: str) -> DeliveryTest:
        """Send a test event to an endpoint. Raises NotifierRefusal and DatabaseUnavailable."""
        endpoint = await self._store.get(tenant, endpoint_id)
        now = self._clock()
        event = WebhookEvent(
            type=WebhookEventType.WEBHOOK_TEST, timestamp=now, data={"tenant": tenant, "endpoint_id": endpoint_id}
        )
        event_id = f"test_{ids.new(ids.DELIVERY)}"
        target = self._targets.of_endpoint(endpoint)
        return shown_test(await target.post(event_id, event.model_dump_json().encode(), now))

    async def list_deliveries(self, command: ListDeliveries) -> Deliveries:
        """Return a page of the log of an endpoint or a channel."""
        with refuse_failures():
            return await self._log.list(command)

    async def replay(self, command: ReplayDeliveries) -> ReplayedDeliveries:
        """Send events of the log again."""
        with refuse_failures():
            count = await self._log.replay(command, self._clock())
            self._committed()
            return ReplayedDeliveries(target_id=command.target_id, replayed=count)

    def _check_url(self, url: str) -> None:
        try:
            check_reachable(url, self._policy)
        except ForbiddenUrl as error:
            raise NotifierRefusal(
                f"nothing was saved: the URL cannot be called: {error.reason}", ErrorCode.INVALID
            ) from None
