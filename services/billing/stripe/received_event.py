"""What is kept of an event of Stripe: its type, and the ids of what it is about. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from keyferry.contracts.payments import StripeId
from keyferry.contracts.text import Refusing
from services.billing.stripe.objects import Moment


class UnreadableEvent(Exception):
    """The body is no event of Stripe."""


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """An event. What it says of its object is not kept: by the time of processing it may be outdated."""

    event_id: str
    type: str
    object_type: str
    object_id: str | None
    payment_id: str | None
    """The payment intent that the object belongs to."""
    livemode: bool
    account: str | None
    """The connected account that it is about; None for our own."""
    created_at: datetime


class _EventObject(BaseModel):
    model_config = ConfigDict(extra="ignore")

    id: StripeId | None = None
    object: Annotated[str, Refusing(100)] = ""
    payment_intent: Any = None


class _EventData(BaseModel):
    model_config = ConfigDict(extra="ignore")

    object: _EventObject


class _EventBody(BaseModel):
    model_config = ConfigDict(extra="ignore")

    id: StripeId
    object: Annotated[str, Refusing(100, pattern="^event$", form="event")]
    type: Annotated[str, Refusing(100, pattern=r"^[a-z0-9_.]+$", form="a-z 0-9 _ and .")]
    livemode: Annotated[bool, Field(strict=True)]
    account: StripeId | None = None
    created: Moment
    data: _EventData


def read_event(body: bytes) -> ReceivedEvent:
    """Return the event of a verified body. Raises UnreadableEvent."""
    try:
        event = _EventBody.model_validate_json(body)
    except ValidationError as error:
        names = sorted({".".join(map(str, each["loc"])) or "the body" for each in error.errors(include_input=False)})
        raise UnreadableEvent(f"the body is no event of Stripe: {', '.join(names)[:200]}") from None
    subject = event.data.object
    return ReceivedEvent(
        event_id=event.id,
        type=event.type,
        object_type=subject.object,
        object_id=subject.id,
        payment_id=_payment_of(subject),
        livemode=event.livemode,
        account=event.account,
        created_at=datetime.fromtimestamp(event.created, UTC),
    )


def _payment_of(subject: _EventObject) -> str | None:
    if subject.object == "payment_intent":
        return subject.id
    found = subject.payment_intent
    named = found.get("id") if isinstance(found, Mapping) else found
    return (
        named if isinstance(named, str) and named.startswith("pi_") and named.isascii() and len(named) <= 200 else None
    )
