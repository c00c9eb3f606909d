"""Channels by which people are notified: e-mail, Slack, and a tenant's own webhook endpoint.

An address that is not that of an active member of the tenant receives nothing but a code until somebody has confirmed it with
that code: otherwise tenants could have this installation send mail to strangers. The platform's own channels need no
confirmation. Pure.
"""

import re
from datetime import time
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, StrictBool, model_validator
from pydantic_core import PydanticCustomError

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, TenantId
from keyferry.contracts.membership import EmailAddress
from keyferry.contracts.text import Count, Explanation, Identifier, Moment, Ordinal, Refusing
from keyferry.contracts.webhooks import WebhookEndpointId
from keyferry.contracts.zone import ZoneName

MAX_CHANNELS = 50
"""Most channels of one tenant."""
MAX_RECIPIENTS = 20
"""Most addresses of one channel."""
CODE_DAYS = 7
"""How long the code in a mail confirms its address."""

ChannelId = Annotated[str, Refusing(64, 5, pattern=r"^chn_[a-z0-9]+$", form="chn_ and a-z 0-9")]
ChannelName = Annotated[str, Refusing(100, no_key=True, visible=True)]
ConfirmationCode = Annotated[str, Refusing(8, 8, pattern=r"^[0-9]{8}$", form="the eight digits of the mail")]
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
TimeOfDay = Annotated[str, Refusing(5, 5, pattern=rf"^{_CLOCK.pattern}$", form="a time of day such as 22:30")]
"""Hours and minutes of some time zone."""


def time_of_day(text: str) -> time:
    """Return a checked `TimeOfDay` as a time without a zone."""
    return time(int(text[:2]), int(text[3:]))


def _require_distinct(addresses: list[str]) -> list[str]:
    return list(dict.fromkeys(addresses))


Recipients = Annotated[
    list[EmailAddress], Field(min_length=1, max_length=MAX_RECIPIENTS), AfterValidator(_require_distinct)
]
"""E-mail addresses, each once."""


class ChannelKind(StrEnum):
    """How a channel reaches people."""

    EMAIL = "email"
    SLACK = "slack"
    WEBHOOK = "webhook"
    """One of the tenant's webhook endpoints, which gets each alert as an event of the type `alert.changed`."""


class QuietHours(Message):
    """A daily span in which nothing is sent but critical alerts. What is held back is sent as one digest at its end."""

    begin: TimeOfDay
    end: TimeOfDay
    """Exclusive. Before `begin`, it is on the next day."""
    time_zone: ZoneName | None = None
    """Null for the tenant's time zone."""

    @model_validator(mode="after")
    def _require_span(self) -> "QuietHours":
        if self.begin == self.end:
            raise PydanticCustomError("quiet_hours", "quiet hours end at another time than they begin")
        return self


class ChannelTerms(Message):
    """What a channel is, and when it may be used."""

    tenant: TenantId
    name: ChannelName
    kind: ChannelKind
    recipients: Recipients | None = None
    """Of an e-mail channel."""
    secret_id: Identifier | None = None
    """Of a Slack channel: the integration secret with the address of its incoming webhook."""
    endpoint_id: WebhookEndpointId | None = None
    """Of a webhook channel."""
    quiet_hours: QuietHours | None = None
    """Of a channel for people; a webhook channel has none."""
    usual: StrictBool = True
    """Whether it gets the alerts of rules that name no channel."""
    enabled: StrictBool = True

    @model_validator(mode="after")
    def _require_target(self) -> "ChannelTerms":
        targets = {
            ChannelKind.EMAIL: self.recipients,
            ChannelKind.SLACK: self.secret_id,
            ChannelKind.WEBHOOK: self.endpoint_id,
        }
        if [kind for kind, target in targets.items() if target is not None] != [self.kind]:
            raise PydanticCustomError(
                "target",
                "give exactly what belongs to the kind: `recipients` for email, `secret_id` for slack, `endpoint_id` for webhook",
            )
        if self.kind is ChannelKind.WEBHOOK and self.quiet_hours is not None:
            raise PydanticCustomError("quiet_hours", "a webhook channel has no quiet hours: programs do not sleep")
        return self


class SaveChannel(ChannelTerms, Command):
    """Add a channel, or replace all terms of one but its kind. Saving one that was switched off switches it on again."""

    channel_id: ChannelId | None = None
    """The channel to replace; null adds one."""
    expected_revision: Ordinal | None = None
    """Refuse unless this is the revision that is saved. Null does not look."""
    actor: Actor = "operator"
    """Who does it, for the audit."""


class RecipientState(StrEnum):
    """Why an address receives notifications, or why it does not."""

    MEMBER = "member"
    CONFIRMED = "confirmed"
    UNCONFIRMED = "unconfirmed"
    """It receives nothing until the code that was sent to it is entered."""
    PLATFORM = "platform"
    """The operator's own choice."""


class ChannelRecipient(Message):
    """An address of an e-mail channel, and whether it receives anything."""

    address: EmailAddress
    state: RecipientState


class NotificationChannel(ChannelTerms):
    """A channel as it is stored, and how it does."""

    channel_id: ChannelId
    revision: Ordinal
    """Grows with each change."""
    created_at: Moment
    recipient_states: list[ChannelRecipient] = Field(default_factory=list)
    waiting: Count = 0
    """Notifications that are to be sent, those that are held back included."""
    held: Count = 0
    """Those that quiet hours hold back."""
    last_delivered_at: Moment | None = None
    failing_since: Moment | None = None
    """Since when nothing could be delivered; null while it works."""
    last_error: Explanation | None = None
    switched_off_at: Moment | None = None
    """When it was switched off because it failed for too long, or its target is gone; null if it was not."""


class ListChannels(Command):
    """Request the channels of a tenant, or one of them."""

    tenant: TenantId
    channel_id: ChannelId | None = None
    """Null for all."""


class NotificationChannels(Message):
    """The channels of a tenant, in the order in which they were added."""

    tenant: TenantId
    channels: list[NotificationChannel]


class RemoveChannel(Command):
    """Remove a channel: what waits to be sent by it is dropped."""

    tenant: TenantId
    channel_id: ChannelId
    actor: Actor = "operator"
    """Who does it, for the audit."""


class ChannelRemoved(Message):
    """The channel that was removed, and how many notifications were dropped with it."""

    channel: NotificationChannel
    dropped: Count


class TestChannel(Command):
    """Send a test by a channel now, whatever its quiet hours, and return what was answered."""

    __test__ = False

    tenant: TenantId
    channel_id: ChannelId
    actor: Actor = "operator"
    """Who does it, for the audit."""


class DeliveryTest(Message):
    """What came of one test, by a channel or to a webhook endpoint."""

    delivered: bool
    status: Annotated[int, Field(ge=0, le=999)] | None = None
    """The status of HTTP or SMTP that was answered; null if nothing was."""
    latency_ms: Count
    answer: Explanation
    """The beginning of what was answered, cleaned, or why there was no answer."""


class SendConfirmation(Command):
    """Send a new code to an address of a channel that is not confirmed. At most one an hour goes to an address."""

    tenant: TenantId
    address: EmailAddress
    actor: Actor = "operator"
    """Who does it, for the audit."""


class ConfirmAddress(Command):
    """Confirm an address by the code that was sent to it: from then on the tenant's channels may use it."""

    tenant: TenantId
    address: EmailAddress
    code: ConfirmationCode
    actor: Actor = "operator"
    """Who does it, for the audit."""


class AddressConfirmation(Message):
    """The state of an address of a tenant's channels."""

    tenant: TenantId
    recipient: ChannelRecipient
    code_expires_at: Moment | None = None
    """Until when the code that was sent last confirms it; null if none does."""
