"""What is read of Stripe's objects: payment intents with their charge, refunds and disputes. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from keyferry.contracts.payments import Currency, MinorUnits, StripeId
from keyferry.contracts.text import Reported, Url

TENANT = "keyferry_tenant"
DEPLOYMENT = "keyferry_deployment"
CREDITS = "keyferry_credits_micro_usd"
PURCHASE = "keyferry_purchase"

_PENDING_REFUNDS = frozenset({"pending", "requires_action", "succeeded"})
_OPEN_DISPUTES = frozenset({"needs_response", "under_review"})


def _id_of(value: object) -> object:
    """Return the id of a field that is an object, an id or null, as the request expanded it or not."""
    return value.get("id") if isinstance(value, Mapping) else value


ObjectId = Annotated[StripeId, BeforeValidator(_id_of)]
Moment = Annotated[int, Field(ge=0, le=253_402_300_000)]
"""Seconds since 1970."""


class UnreadableObject(Exception):
    """Stripe's answer is not what its reference shows; the message names the fields at fault."""


class _StripeModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


M = TypeVar("M", bound=_StripeModel)


class ChargeFacts(_StripeModel):
    """A charge."""

    id: StripeId
    receipt_url: Url | None = None


class IntentFacts(_StripeModel):
    """A payment intent."""

    id: StripeId
    status: Reported
    amount: MinorUnits
    amount_received: MinorUnits = 0
    currency: Currency
    livemode: bool
    created: Moment
    metadata: dict[str, str] = Field(default_factory=dict)
    latest_charge: Any = None

    @property
    def charge(self) -> ChargeFacts | None:
        """The charge that paid it, as far as it was asked for."""
        if isinstance(self.latest_charge, Mapping):
            return ChargeFacts.model_validate(self.latest_charge)
        return None if self.latest_charge is None else ChargeFacts(id=self.latest_charge)

    @property
    def created_at(self) -> datetime:
        """When it was made."""
        return datetime.fromtimestamp(self.created, UTC)


class RefundFacts(_StripeModel):
    """A refund."""

    id: StripeId
    status: Reported
    amount: MinorUnits
    currency: Currency
    created: Moment
    payment_intent: ObjectId | None = None

    @property
    def is_taken(self) -> bool:
        """Whether the money is on its way to the customer, or there."""
        return self.status in _PENDING_REFUNDS


class DisputeFacts(_StripeModel):
    """A dispute."""

    id: StripeId
    status: Reported
    amount: MinorUnits
    currency: Currency
    created: Moment
    payment_intent: ObjectId | None = None

    @property
    def is_taken(self) -> bool:
        """Whether the bank has taken the money at some time: not for a mere inquiry."""
        return self.status in _OPEN_DISPUTES or self.status in ("won", "lost")

    @property
    def is_won(self) -> bool:
        """Whether the bank has given the money back."""
        return self.status == "won"


@dataclass(frozen=True, slots=True)
class PaymentFacts:
    """A payment as Stripe has it now."""

    intent: IntentFacts
    refunds: tuple[RefundFacts, ...] = ()
    disputes: tuple[DisputeFacts, ...] = ()


def read_intent(found: Mapping[str, Any]) -> IntentFacts:
    """Return a payment intent. Raises UnreadableObject."""
    return _read(IntentFacts, found)


def read_refund(found: Mapping[str, Any]) -> RefundFacts:
    """Return a refund. Raises UnreadableObject."""
    return _read(RefundFacts, found)


def read_dispute(found: Mapping[str, Any]) -> DisputeFacts:
    """Return a dispute. Raises UnreadableObject."""
    return _read(DisputeFacts, found)


def _read(model: type[M], found: Mapping[str, Any]) -> M:
    try:
        return model.model_validate(found)
    except ValidationError as error:
        names = ", ".join(sorted({".".join(map(str, each["loc"])) for each in error.errors(include_input=False)}))
        raise UnreadableObject(f"Stripe's {model.__name__} cannot be read: {names}") from None
