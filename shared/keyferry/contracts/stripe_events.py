"""The events of Stripe as they are received, and the daily comparison with it. Pure."""

from datetime import date
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, TenantId
from keyferry.contracts.payments import MAX_PAGE, StripeId
from keyferry.contracts.text import Count, Explanation, Moment, Refusing, Reported

MAX_WEBHOOK_BYTES = 256 * 1024
"""Of one webhook's body; Stripe's events are far smaller."""
MAX_DIFFERENCES = 500
"""Of one report; what is beyond them is counted."""


class ReceiveWebhook(Message):
    """Take in one webhook of Stripe exactly as it arrived. It names no tenant: its signature shows whose it is."""

    signature: Annotated[str, Refusing(2000, 0, pattern=r"^[\x20-\x7e]*$", form="printable ASCII")]
    """The header `Stripe-Signature`; empty if there was none."""
    body: Annotated[str, Refusing(MAX_WEBHOOK_BYTES * 2, 0, pattern=r"^[A-Za-z0-9+/=]*$", form="base64")]
    """The body's bytes in base64."""


class EventState(StrEnum):
    """What became of an event."""

    PENDING = "pending"
    """It is stored; its effect follows."""
    DONE = "done"
    IGNORED = "ignored"
    """It is about nothing that belongs to this installation, or of a type without an effect."""
    PARKED = "parked"
    """Its effect is not certain: an operator has to look at it, and may replay it."""


class WebhookReceived(Message):
    """The event is stored, so Stripe may forget it."""

    event_id: StripeId
    repeated: bool
    state: EventState


class ListStripeEvents(Command):
    """Request events as they were received, newest first."""

    state: EventState | None = None
    after: Annotated[str, Refusing(300)] | None = None
    limit: int = Field(default=50, ge=1, le=MAX_PAGE)


class StripeEvent(Message):
    """A received event. Its content is not kept: what it is about is read from Stripe when it is processed."""

    event_id: StripeId
    type: Reported
    object_id: StripeId | None = None
    payment_id: StripeId | None = None
    livemode: bool
    created_at: Moment
    received_at: Moment
    deliveries: Count
    """How often it was delivered."""
    state: EventState
    attempts: Count = 0
    """How often its processing failed in a row."""
    next_attempt_at: Moment | None = None
    detail: Explanation | None = None
    """What it did, or why it did not."""


class StripeEvents(Message):
    """A page of events, and how many there are in each state."""

    events: list[StripeEvent] = Field(max_length=MAX_PAGE)
    counts: dict[EventState, Count]
    next: Annotated[str, Refusing(300)] | None = None


class ReplayStripeEvents(Command):
    """Process events again: by their ids, or all that are parked."""

    event_ids: list[StripeId] = Field(default_factory=list, max_length=MAX_PAGE)
    all_parked: bool = False
    actor: Actor = "operator"


class ReplayedEvents(Message):
    """How many events are processed again."""

    replayed: Count


class DifferenceKind(StrEnum):
    """How the two sides differ about one payment."""

    MISSING_HERE = "missing_here"
    """Stripe has it, the ledger did not."""
    MISSING_AT_STRIPE = "missing_at_stripe"
    """The ledger has it, Stripe does not know it."""
    AMOUNT = "amount"
    """Both have it with different amounts."""
    PARKED = "parked"
    """It was paid and not credited."""


class StripeDifference(Message):
    """One difference."""

    kind: DifferenceKind
    subject: StripeId
    """The payment, refund or dispute."""
    payment_id: StripeId | None = None
    tenant: TenantId | None = None
    expected_micro_usd: Count = 0
    """Credits according to Stripe."""
    recorded_micro_usd: Count = 0
    settled: bool
    """Whether the comparison itself has put it right, exactly as the missing event would have done."""
    detail: Explanation


class StripeReconciliation(Message):
    """The report of one day (UTC)."""

    day: date
    run_at: Moment
    complete: bool
    """Whether both sides could be read to the end."""
    payments_at_stripe: Count
    payments_recorded: Count
    differences: list[StripeDifference] = Field(max_length=MAX_DIFFERENCES)
    more_differences: Count = 0
    detail: Explanation | None = None
    """Why it is not complete."""


class RunStripeReconciliation(Command):
    """Compare a day (UTC) with Stripe now; null for yesterday."""

    day: date | None = None
    actor: Actor = "operator"


class ListStripeReconciliations(Command):
    """Request the reports of the last days, newest first."""

    limit: int = Field(default=30, ge=1, le=MAX_PAGE)


class StripeReconciliations(Message):
    """Reports, newest first."""

    reports: list[StripeReconciliation] = Field(max_length=MAX_PAGE)
