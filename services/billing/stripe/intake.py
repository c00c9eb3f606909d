"""Takes webhooks of Stripe in: verified, and stored before they are acknowledged."""

import base64
import binascii
import logging
from collections.abc import Callable
from datetime import datetime

from keyferry.contracts.integration_secrets import IntegrationKind
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.stripe_events import MAX_WEBHOOK_BYTES, EventState, ReceiveWebhook, WebhookReceived
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.integration_secrets import NoSuchSecret
from services.billing.stripe.client import SecretReader, StripeGateway, StripeNotConfigured
from services.billing.stripe.event_store import StripeEventStore
from services.billing.stripe.failure_alerts import StripeAlerts
from services.billing.stripe.received_event import ReceivedEvent, UnreadableEvent, read_event
from services.billing.stripe.signature import UnverifiedWebhook, verify

_log = logging.getLogger(__name__)

SIGNATURES = "webhook-signatures"
"""What fails or succeeds in a row, for the alert."""


class WebhookIntake:
    """Takes webhooks in. `handles` returns why an event has no effect, or None; `stored` is called after each."""

    def __init__(
        self,
        secrets: SecretReader,
        gateway: StripeGateway,
        store: StripeEventStore,
        alerts: StripeAlerts,
        handles: Callable[[ReceivedEvent], str | None],
        clock: Callable[[], datetime],
        stored: Callable[[], None],
    ) -> None:
        self._secrets = secrets
        self._gateway = gateway
        self._store = store
        self._alerts = alerts
        self._handles = handles
        self._clock = clock
        self._stored = stored

    async def receive(self, command: ReceiveWebhook) -> WebhookReceived:
        """Verify and store one webhook. Raises Refused, BusError and DatabaseUnavailable; then Stripe sends it again."""
        body = _body_of(command.body)
        try:
            event = await self._verified(body, command.signature)
        except (UnverifiedWebhook, UnreadableEvent) as error:
            _log.warning("a webhook was refused: %s", error)
            await self._alerts.failed(SIGNATURES, str(error))
            raise Refused(ErrorCode.INVALID, str(error)) from None
        await self._require_own(event)
        await self._alerts.succeeded(SIGNATURES)
        reason = self._handles(event)
        wanted = EventState.PENDING if reason is None else EventState.IGNORED
        state, repeated = await self._store.receive(event, wanted, reason, self._clock())
        self._stored()
        return WebhookReceived(event_id=event.event_id, repeated=repeated, state=state)

    async def _verified(self, body: bytes, signature: str) -> ReceivedEvent:
        try:
            secrets = await self._secrets.get(PLATFORM_TENANT, IntegrationKind.STRIPE_WEBHOOK_SECRET)
        except NoSuchSecret:
            message = (
                "this installation has no secret of Stripe's webhooks (kind stripe_webhook_secret), so none is taken"
            )
            raise Refused(ErrorCode.UNAVAILABLE, message) from None
        verify(body, signature, secrets.all, self._clock())
        return read_event(body)

    async def _require_own(self, event: ReceivedEvent) -> None:
        if event.account is not None:
            message = f"the event is about the connected account {event.account}, not about this installation's own"
            raise Refused(ErrorCode.INVALID, message)
        try:
            is_live = await self._gateway.is_live()
        except StripeNotConfigured as error:
            raise Refused(ErrorCode.UNAVAILABLE, str(error)) from None
        if event.livemode != is_live:
            modes = ("live", "test") if event.livemode else ("test", "live")
            message = f"the event is of {modes[0]} mode, and the key of this installation of {modes[1]} mode"
            raise Refused(ErrorCode.INVALID, message)


def _body_of(encoded: str) -> bytes:
    try:
        body = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise Refused(ErrorCode.INVALID, "the body is not in base64") from None
    if len(body) > MAX_WEBHOOK_BYTES:
        raise Refused(ErrorCode.INVALID, f"the body is larger than {MAX_WEBHOOK_BYTES} bytes")
    return body
