"""From a message of the streams CHANGES and PAYMENTS to the events of webhooks. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

from keyferry.contracts.envelope import Message
from keyferry.contracts.health import HealthChange
from keyferry.contracts.key import KeyChanged
from keyferry.contracts.payment_management import CREDIT_POSTED, PAYMENT_CHANGED
from keyferry.contracts.payments import CreditPosted, PaymentChanged
from keyferry.contracts.topology import HEALTH_CHANGED, KEY_CHANGED, AnySubject
from keyferry.contracts.webhooks import WebhookEvent, WebhookEventType
from services.notifier.delivery.item import NewDelivery

CHANGE_SUBJECTS: Mapping[WebhookEventType, AnySubject] = MappingProxyType(
    {
        WebhookEventType.KEY_CHANGED: KEY_CHANGED,
        WebhookEventType.HEALTH_CHANGED: HEALTH_CHANGED,
        WebhookEventType.CREDITS_POSTED: CREDIT_POSTED,
        WebhookEventType.PAYMENT_CHANGED: PAYMENT_CHANGED,
    }
)
"""The subject that each type of event comes from."""
_OF_OTHERS = frozenset({"widely_known", "known_to"})
"""Fields of a change of health that say who else calls a model."""

Change = KeyChanged | HealthChange | CreditPosted | PaymentChanged


def event_type_of(subject: str) -> WebhookEventType | None:
    """Return the type of event that a subject's messages are; None for others."""
    name = subject.split(".")[2:4]
    for event_type, known in CHANGE_SUBJECTS.items():
        if known.template.split(".")[2:4] == name:
            return event_type
    return None


def event_id_of(message: Message, subject: str, sequence: int, stored_at: datetime) -> str:
    """Return an id that is the same each time the message is delivered: its own, or one of where it is in the stream."""
    own = getattr(message, "event_id", None)
    if own is not None:
        return str(own)
    place = f"{subject}\n{sequence}\n{stored_at.isoformat()}"
    return f"chg_{hashlib.sha256(place.encode()).hexdigest()[:32]}"


def deliveries_of_change(
    event_type: WebhookEventType, change: Change, event_id: str, at: datetime, endpoints: Mapping[str, Sequence[str]]
) -> list[NewDelivery]:
    """Return the deliveries of a change, to the endpoints of the tenants that may know of it.

    `endpoints` are the ids of those that chose the type, by tenant.
    """
    if isinstance(change, HealthChange):
        tenants = [tenant for tenant in endpoints if change.may_be_shown_to(tenant)]
    else:
        tenants = [change.tenant] if change.tenant in endpoints else []
    if not tenants:
        return []
    data = change.model_dump(mode="json", exclude_none=True, exclude=set(_OF_OTHERS))
    payload = WebhookEvent(type=event_type, timestamp=at, data=data).model_dump_json()
    return [
        NewDelivery(tenant=tenant, target_id=target_id, event_id=event_id, event_type=event_type.value, payload=payload)
        for tenant in tenants
        for target_id in endpoints[tenant]
    ]
