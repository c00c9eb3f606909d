"""Request bodies, query parameters and answers about channels, webhook endpoints and scheduled reports. Pure."""

from typing import Annotated

from pydantic import ConfigDict, Field, PlainSerializer, PlainValidator, Strict, StrictBool, WithJsonSchema

from keyferry.contracts.analytics import Dimension
from keyferry.contracts.ids import Operation
from keyferry.contracts.integration_secrets import SecretId
from keyferry.contracts.membership import EmailAddress
from keyferry.contracts.notification_channels import (
    ChannelId,
    ChannelKind,
    ChannelName,
    ConfirmationCode,
    QuietHours,
    Recipients,
    TimeOfDay,
)
from keyferry.contracts.secret import Secret
from keyferry.contracts.text import GivenUrl
from keyferry.contracts.usage_mail import ReportFrequency, ReportName
from keyferry.contracts.webhooks import (
    MAX_PAGE,
    USUAL_OVERLAP_SECONDS,
    DeliveryId,
    DeliveryState,
    EventTypes,
    OverlapSeconds,
    WebhookEndpoint,
    WebhookEndpointId,
    WebhookEventType,
    WebhookName,
)
from keyferry.contracts.zone import ZoneName
from services.console.bodies import IN_DIGITS, Body, MomentInUtc, QueryParameters, Revision
from services.console.views import keep_secret


class NewChannelBody(Body):
    """All terms of a channel."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "on call", "kind": "email", "recipients": ["ops@example.com"]}]}
    )

    name: ChannelName
    kind: ChannelKind
    recipients: Recipients | None = None
    """Of an e-mail channel. Addresses that are no member's receive a code first."""
    secret_id: SecretId | None = None
    """Of a Slack channel: the integration secret with the address of its incoming webhook."""
    endpoint_id: WebhookEndpointId | None = None
    """Of a webhook channel."""
    quiet_hours: QuietHours | None = None
    """When nothing is sent but critical alerts."""
    usual: StrictBool = True
    """Whether it gets the alerts of rules that name no channel."""
    enabled: StrictBool = True


class ChannelBody(NewChannelBody):
    """All terms of a channel that replace those that are saved, but its kind."""

    revision: Revision | None = None
    """The revision that these replace, as it was read. Null replaces whatever is there."""


class AddressBody(Body):
    """An address of a channel."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"address": "ops@example.com"}]})

    address: EmailAddress


class ConfirmationBody(AddressBody):
    """The code that was sent to an address."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"address": "ops@example.com", "code": "12345678"}]})

    code: ConfirmationCode


class NewWebhookBody(Body):
    """All terms of a webhook endpoint."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "billing", "url": "https://example.com/keyferry", "event_types": ["usage.attempt_recorded"]}
            ]
        }
    )

    name: WebhookName
    url: GivenUrl
    """https on a public host, or in a network that the operator allows."""
    event_types: EventTypes
    enabled: StrictBool = True


class WebhookBody(NewWebhookBody):
    """All terms of a webhook endpoint that replace those that are saved. Enabling it lets what waits go on at once."""

    revision: Revision | None = None
    """The revision that these replace, as it was read. Null replaces whatever is there."""


class RotateWebhookBody(Body):
    """How long events are signed with the old secret as well."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap_seconds": 3600}]})

    overlap_seconds: OverlapSeconds = USUAL_OVERLAP_SECONDS


class CreatedWebhook(WebhookEndpoint):
    """A webhook endpoint with its new secret, which is shown only in this response."""

    secret: Annotated[
        Secret,
        PlainValidator(keep_secret),
        PlainSerializer(Secret.reveal, return_type=str, when_used="json"),
        WithJsonSchema({"type": "string", "readOnly": True, "examples": ["whsec_…"]}),
    ]
    """Save it now: it is not shown again and cannot be recovered, only rotated."""


class DeliveryQuery(QueryParameters):
    """A page of the log of deliveries, newest first."""

    state: DeliveryState | None = None
    event_type: WebhookEventType | None = None
    since: MomentInUtc | None = None
    """Inclusive; UTC without a zone."""
    until: MomentInUtc | None = None
    """Exclusive; UTC without a zone."""
    before: DeliveryId | None = None
    """The last delivery of the page before."""
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE), IN_DIGITS] = 50


class ReplayDeliveriesBody(Body):
    """One delivery, or a span of time."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"since": "2026-11-29T00:00:00Z", "until": "2026-11-30T00:00:00Z"},
                {"delivery_id": "dlv_0123"},
            ]
        }
    )

    delivery_id: DeliveryId | None = None
    since: MomentInUtc | None = None
    """Inclusive; UTC without a zone."""
    until: MomentInUtc | None = None
    """Exclusive; UTC without a zone."""
    failed_only: StrictBool = True
    """Of a span, whether only failed deliveries are repeated."""


class NewReportBody(Body):
    """All terms of a scheduled report."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "costs", "frequency": "monthly", "day": 1, "by": "team", "channel_id": "chn_0123"}]
        }
    )

    name: ReportName
    frequency: ReportFrequency
    weekday: Annotated[int, Strict(), Field(ge=1, le=7)] = 1
    """Of a weekly report: from Monday (1) to Sunday (7)."""
    day: Annotated[int, Strict(), Field(ge=1, le=31)] = 1
    """Of a monthly report; in a month that has no such day, the last one."""
    at: TimeOfDay = "07:00"
    time_zone: ZoneName | None = None
    """Null for the tenant's time zone."""
    by: Dimension = Dimension.MODEL
    tag: Operation | None = None
    """The name of the tag if `by` is `tag`."""
    channel_id: ChannelId
    """The e-mail channel that it is sent by."""
    enabled: StrictBool = True


class ReportBody(NewReportBody):
    """All terms of a scheduled report that replace those that are saved."""

    revision: Revision | None = None
    """The revision that these replace, as it was read. Null replaces whatever is there."""
