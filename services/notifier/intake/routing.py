"""Which targets a change of an alert goes to. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keyferry.contracts.alert_events import AlertChanged
from keyferry.contracts.alert_rules import AlertSeverity
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.webhooks import WebhookEvent, WebhookEventType
from services.notifier.delivery.item import NewDelivery, owners_of


@dataclass(frozen=True, slots=True)
class KnownChannel:
    """A channel, as far as routing needs it."""

    channel_id: str
    enabled: bool
    usual: bool
    endpoint_id: str | None = None
    """Of a webhook channel: alerts go straight to the endpoint."""


def channels_for(chosen: Sequence[str] | None, known: Mapping[str, KnownChannel]) -> list[KnownChannel] | None:
    """Return the enabled channels for an alert; None if the tenant has no channel at all.

    A rule that names channels of which none is left is treated like one that names none, so that nobody misses its alerts.
    """
    if chosen is not None and not chosen:
        return []
    named = [known[channel_id] for channel_id in chosen or () if channel_id in known]
    if not named:
        if not known:
            return None
        named = [channel for channel in known.values() if channel.usual]
    return [channel for channel in named if channel.enabled]


def deliveries_of(
    change: AlertChanged, known: Mapping[str, KnownChannel], subscribed_endpoints: Sequence[str]
) -> list[NewDelivery]:
    """Return the deliveries of a change of an alert, one for each target: its tenant's owners if there is no other.

    `known` are the tenant's channels by id, `subscribed_endpoints` its enabled endpoints that chose `alert.changed`.
    """
    channels = channels_for(change.channels, known)
    targets: dict[str, bool] = dict.fromkeys(subscribed_endpoints, True)
    if channels is None and not subscribed_endpoints and change.tenant != PLATFORM_TENANT:
        targets[owners_of(change.tenant)] = False
    for channel in channels or ():
        targets[channel.endpoint_id or channel.channel_id] = channel.endpoint_id is not None
    body = WebhookEvent(
        type=WebhookEventType.ALERT_CHANGED, timestamp=change.at, data=change.model_dump(mode="json", exclude_none=True)
    ).model_dump_json()
    return [
        NewDelivery(
            tenant=change.tenant,
            target_id=target_id,
            event_id=change.message_id,
            event_type=WebhookEventType.ALERT_CHANGED,
            payload=body if is_endpoint else change.model_dump_json(exclude_none=True),
            order_key=change.rule_id,
            sequence=change.sequence,
            critical=change.severity is AlertSeverity.CRITICAL,
        )
        for target_id, is_endpoint in targets.items()
    ]
