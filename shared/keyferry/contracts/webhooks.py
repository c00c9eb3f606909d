"""Webhook endpoints of tenants: what is sent to them, and what came of it (Standard Webhooks, version 1).

The secret of an endpoint is made by the program that adds or rotates it, shown by it once, and sealed to the key vault: it never
crosses the bus in clear text. Pure.
"""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StrictBool, model_validator
from pydantic_core import PydanticCustomError

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, TenantId
from keyferry.contracts.key import Base64
from keyferry.contracts.text import (
    Count,
    Explanation,
    GivenUrl,
    Identifier,
    Moment,
    Ordinal,
    Refusing,
    Url,
    ZonedMoment,
)
from keyferry.contracts.usage import LedgerRow

MAX_ENDPOINTS = 20
"""Most webhook endpoints of one tenant."""
MAX_PAGE = 200
"""Most deliveries in one answer."""
MAX_REPLAYED = 10_000
"""Most deliveries that one command repeats."""
MAX_PRICED = 200
"""Most attempts that are asked for at once."""
MAX_OVERLAP_SECONDS = 7 * 24 * 3600
USUAL_OVERLAP_SECONDS = 24 * 3600
SECRET_PREFIX = "whsec_"  # noqa: S105 - the public prefix of secrets, no secret

WebhookEndpointId = Annotated[str, Refusing(64, 5, pattern=r"^whe_[a-z0-9]+$", form="whe_ and a-z 0-9")]
DeliveryTargetId = Annotated[str, Refusing(64, 5, pattern=r"^(?:whe|chn)_[a-z0-9]+$", form="whe_ or chn_ and a-z 0-9")]
"""A webhook endpoint, or a channel."""
DeliveryId = Annotated[str, Refusing(64, 5, pattern=r"^dlv_[a-z0-9]+$", form="dlv_ and a-z 0-9")]
WebhookName = Annotated[str, Refusing(100, no_key=True, visible=True)]
OverlapSeconds = Annotated[int, Field(strict=True, ge=0, le=MAX_OVERLAP_SECONDS)]


class WebhookEventType(StrEnum):
    """What happened. Receivers ignore types that they do not know."""

    USAGE_ATTEMPT_RECORDED = "usage.attempt_recorded"
    """An attempt has ended and is priced; the id of the event is that of the attempt."""
    KEY_CHANGED = "key.changed"
    CREDITS_POSTED = "credits.posted"
    PAYMENT_CHANGED = "payment.changed"
    HEALTH_CHANGED = "health.changed"
    ALERT_CHANGED = "alert.changed"
    WEBHOOK_TEST = "webhook.test"
    """A person had it sent; endpoints get it without having chosen it."""
    TARGET_SWITCHED_OFF = "target.switched_off"
    """A notice to a tenant's owners by mail; no endpoint gets it."""


_UNCHOSEN = frozenset({WebhookEventType.WEBHOOK_TEST, WebhookEventType.TARGET_SWITCHED_OFF})


def _check_types(types: list[WebhookEventType]) -> list[WebhookEventType]:
    if unchosen := _UNCHOSEN.intersection(types):
        raise PydanticCustomError("event_types", f"nobody chooses {', '.join(sorted(unchosen))}: leave it out")
    return sorted(set(types))


EventTypes = Annotated[
    list[WebhookEventType], Field(min_length=1, max_length=len(WebhookEventType)), AfterValidator(_check_types)
]
"""Types of events, each once, in alphabetical order."""


class WebhookTerms(Message):
    """Where events are sent, and which."""

    tenant: TenantId
    name: WebhookName
    url: GivenUrl
    """The address: https on a public host, or in a network that the operator allows (KEYFERRY_EGRESS_ALLOW)."""
    event_types: EventTypes
    enabled: StrictBool = True


class SaveWebhookEndpoint(WebhookTerms, Command):
    """Add an endpoint with its sealed secret, or replace all terms of one. Enabling one lets deliveries go on at once."""

    endpoint_id: WebhookEndpointId | None = None
    """The endpoint to replace, whose secret stays; null adds one."""
    sealed: Base64 | None = None
    """The secret of a new endpoint, sealed to the vault's intake key."""
    expected_revision: Ordinal | None = None
    """Refuse unless this is the revision that is saved. Null does not look."""
    actor: Actor = "operator"
    """Who does it, for the audit."""

    @model_validator(mode="after")
    def _require_secret(self) -> "SaveWebhookEndpoint":
        if (self.endpoint_id is None) != (self.sealed is not None):
            raise PydanticCustomError("sealed", "a new endpoint needs a sealed secret, and only a new one takes one")
        return self


class WebhookEndpoint(WebhookTerms):
    """An endpoint as it is stored, and how it does. Its secret is in the key vault."""

    url: Url
    endpoint_id: WebhookEndpointId
    secret_id: Identifier
    """The integration secret that signs its events."""
    previous_secret_until: Moment | None = None
    """Until when events are also signed with the secret before the last rotation; null if they are not."""
    revision: Ordinal
    """Grows with each change."""
    created_at: Moment
    waiting: Count = 0
    """Deliveries that are to be made, or tried again."""
    last_delivered_at: Moment | None = None
    failing_since: Moment | None = None
    """Since when no delivery succeeded; null while it works."""
    last_error: Explanation | None = None
    switched_off_at: Moment | None = None
    """When it was switched off because it failed for three days, or answered 410; null if it was not."""


class ListWebhookEndpoints(Command):
    """Request the webhook endpoints of a tenant, or one of them."""

    tenant: TenantId
    endpoint_id: WebhookEndpointId | None = None
    """Null for all."""


class WebhookEndpoints(Message):
    """The webhook endpoints of a tenant, in the order in which they were added."""

    tenant: TenantId
    endpoints: list[WebhookEndpoint]


class RemoveWebhookEndpoint(Command):
    """Remove an endpoint, its log and its secret: what waits to be sent to it is dropped."""

    tenant: TenantId
    endpoint_id: WebhookEndpointId
    actor: Actor = "operator"
    """Who does it, for the audit."""


class WebhookEndpointRemoved(Message):
    """The endpoint that was removed, and how many deliveries were dropped with it."""

    endpoint: WebhookEndpoint
    dropped: Count


class RotateWebhookSecret(Command):
    """Replace the secret of an endpoint; while the overlap lasts, events are signed with both."""

    tenant: TenantId
    endpoint_id: WebhookEndpointId
    sealed: Base64
    overlap_seconds: OverlapSeconds = USUAL_OVERLAP_SECONDS
    actor: Actor = "operator"
    """Who does it, for the audit."""


class TestWebhookEndpoint(Command):
    """Send an event of the type `webhook.test` now, and return what the endpoint answered."""

    __test__ = False

    tenant: TenantId
    endpoint_id: WebhookEndpointId
    actor: Actor = "operator"
    """Who does it, for the audit."""


class DeliveryState(StrEnum):
    """How far a delivery is."""

    PENDING = "pending"
    """It is sent now, or tried again at `next_attempt_at`."""
    DELIVERED = "delivered"
    """The target took it: an endpoint with a status from 200 to 299."""
    HELD = "held"
    """Quiet hours hold it back until `next_attempt_at`."""
    FAILED = "failed"
    """It was tried for three days in vain; it can be replayed."""


class NotificationDelivery(Message):
    """One event on its way to one webhook endpoint, or by one channel."""

    delivery_id: DeliveryId
    target_id: DeliveryTargetId
    event_id: Identifier
    """The header `webhook-id`, the same for each attempt and replay."""
    event_type: WebhookEventType
    state: DeliveryState
    attempts: Count
    created_at: Moment
    next_attempt_at: Moment | None = None
    """Null once it is delivered or has failed."""
    last_attempt_at: Moment | None = None
    status: Annotated[int, Field(ge=0, le=999)] | None = None
    """The status of HTTP or SMTP of the last answer; null if there was none."""
    latency_ms: Count | None = None
    """From the connection to the end of the last answer."""
    answer: Explanation | None = None
    """The beginning of the last answer, cleaned, or why there was none."""
    replay_of: DeliveryId | None = None
    """The delivery that it repeats."""


class ListDeliveries(Command):
    """Request a page of the log of an endpoint or a channel, newest first."""

    tenant: TenantId
    target_id: DeliveryTargetId
    state: DeliveryState | None = None
    event_type: WebhookEventType | None = None
    since: ZonedMoment | None = None
    """UTC without a zone."""
    until: ZonedMoment | None = None
    """Exclusive; UTC without a zone."""
    before: DeliveryId | None = None
    """Only those that were made before this one: the last of the page before."""
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 50


class Deliveries(Message):
    """A page of the log, newest first."""

    target_id: DeliveryTargetId
    deliveries: list[NotificationDelivery]
    more: bool
    """Whether older ones follow."""


class ReplayDeliveries(Command):
    """Send events again that are in the log: one delivery, or all that were made in a span of time."""

    tenant: TenantId
    target_id: DeliveryTargetId
    delivery_id: DeliveryId | None = None
    since: ZonedMoment | None = None
    """UTC without a zone."""
    until: ZonedMoment | None = None
    """Exclusive; UTC without a zone."""
    failed_only: StrictBool = True
    """Of a span, whether only failed deliveries are repeated."""
    actor: Actor = "operator"
    """Who does it, for the audit."""

    @model_validator(mode="after")
    def _require_one_choice(self) -> "ReplayDeliveries":
        span = self.since is not None and self.until is not None
        if (self.delivery_id is None) != span or (self.since is None) != (self.until is None):
            raise PydanticCustomError("replay", "give either `delivery_id`, or both `since` and `until`")
        return self


class ReplayedDeliveries(Message):
    """How many deliveries were made anew."""

    target_id: DeliveryTargetId
    replayed: Count


class GetPricedAttempts(Message):
    """Request attempts of a tenant by their ids."""

    tenant: TenantId
    attempt_ids: Annotated[list[Identifier], Field(min_length=1, max_length=MAX_PRICED)]


class PricedAttempts(Message):
    """Those that are recorded, in any order."""

    rows: Annotated[list[LedgerRow], Field(max_length=MAX_PRICED)]


class WebhookEvent(Message):
    """The body of a webhook: its type, when it happened, and what its type says."""

    type: WebhookEventType
    timestamp: Moment
    data: dict[str, Any]
    """The message that the guide describes for the type."""
