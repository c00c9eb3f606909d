"""Payments: how credits were bought, taken back and given back, and the events of the payment provider about it.

Amounts of credits are whole micro-dollars, amounts of money whole minor units of their currency. Pure.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from keyferry.contracts.credit_management import CreditBalance, Credits, Reason
from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, Reference, TenantId
from keyferry.contracts.text import Count, Explanation, Identifier, Moment, Refusing, Url

STRIPE = "stripe"
"""The source of payments that Stripe took."""
MAX_PAGE = 500

Currency = Annotated[str, Refusing(3, 3, pattern=r"^[a-z]{3}$", form="three letters a-z")]
"""An ISO 4217 code in lower case, as Stripe writes it."""
StripeId = Annotated[str, Refusing(200, pattern=r"^[A-Za-z0-9_]+$", form="A-Z a-z 0-9 and _")]
"""The id of an object of Stripe, such as `pi_…`, `re_…`, `dp_…` or `evt_…`."""
MinorUnits = Annotated[int, Field(strict=True, ge=0, le=10**15)]
"""An amount of money in the smallest unit that its currency has at Stripe."""
PaidMicroUsd = Annotated[int, Field(strict=True, gt=0, le=10**15)]
"""An amount of credits in micro-dollars."""


class PaymentKind(StrEnum):
    """What happened to a payment; each happens at most once to one object of the payment provider."""

    PURCHASE = "purchase"
    REFUND = "refund"
    DISPUTE = "dispute"
    """The customer's bank took the money back, at least until it decides."""
    DISPUTE_WON = "dispute_won"
    """The bank gave it back: so do we with the credits."""
    CORRECTION = "correction"
    """A refund that was taken back from the credits has failed at the provider, so the credits return."""


TAKES_BACK = frozenset({PaymentKind.REFUND, PaymentKind.DISPUTE})
"""Kinds that make a balance smaller."""


class PaymentReceipt(Message):
    """What was paid, as the payment provider says it."""

    payment_id: StripeId
    """The payment intent that all of it belongs to."""
    amount_minor: MinorUnits
    currency: Currency
    livemode: bool
    charge_id: StripeId | None = None
    purchase_id: Identifier | None = None
    """What the tenant ordered, if it was ordered here."""
    receipt_url: Url | None = None


class RecordPayment(Message):
    """Record what happened to a payment in a tenant's credits, once per source, kind and id."""

    tenant: TenantId
    kind: PaymentKind
    amount_micro_usd: PaidMicroUsd
    source: Reference = STRIPE
    source_id: StripeId
    """Of the payment intent for a purchase, of the refund for a refund and its correction, of the dispute for the others."""
    reason: Reason
    receipt: PaymentReceipt
    at: Moment
    """When it happened at the payment provider."""


class RecordedPayment(Message):
    """What recording a payment has done."""

    tenant: TenantId
    kind: PaymentKind
    source: Reference
    source_id: StripeId
    amount_micro_usd: PaidMicroUsd
    """As it was recorded first."""
    repeated: bool
    """It had been recorded before, and has had no effect now."""
    already_granted: bool = False
    """An operator had granted the credits of this purchase by hand, under the same source and id."""
    taken_micro_usd: Count = 0
    """What was taken out of the credits."""
    owed_micro_usd: Count = 0
    """What could not be taken since it was spent or held: it is owed, and later credits pay it first."""
    credits: CreditBalance


class ListRecordedPayments(Message):
    """Request what was recorded of payments in a span of time, oldest first, for the comparison with the provider."""

    source: Reference = STRIPE
    since: Moment
    until: Moment
    after: Annotated[str, Refusing(300)] | None = None
    """The `next` of the page before."""
    limit: int = Field(default=MAX_PAGE, ge=1, le=MAX_PAGE)


class LedgerPayment(Message):
    """One recorded payment."""

    tenant: TenantId
    kind: PaymentKind
    source_id: StripeId
    amount_micro_usd: PaidMicroUsd
    taken_micro_usd: Count = 0
    owed_micro_usd: Count = 0
    receipt: PaymentReceipt
    at: Moment
    recorded_at: Moment


class LedgerPayments(Message):
    """A page of recorded payments."""

    payments: list[LedgerPayment] = Field(max_length=MAX_PAGE)
    next: Annotated[str, Refusing(300)] | None = None


class PaymentState(StrEnum):
    """Where a payment stands."""

    PAID = "paid"
    PARTLY_REFUNDED = "partly_refunded"
    REFUNDED = "refunded"
    DISPUTED = "disputed"
    DISPUTE_LOST = "dispute_lost"
    PARKED = "parked"
    """Paid, and not credited: an operator looks at it."""


class Payment(Message):
    """A payment of a tenant."""

    payment_id: StripeId
    tenant: TenantId
    purchase_id: Identifier | None = None
    credits: Credits
    """Bought with it."""
    taken_back: Credits
    """Of them, by refunds and disputes."""
    amount_minor: MinorUnits
    refunded_minor: MinorUnits
    currency: Currency
    amount: Annotated[str, Refusing(60)]
    """For people: `10.00 USD`."""
    state: PaymentState
    detail: Explanation | None = None
    receipt_url: Url | None = None
    """Stripe's page of the receipt, which it shows for a limited time."""
    livemode: bool
    paid_at: Moment


class ListPayments(Command):
    """Request a tenant's payments, newest first."""

    tenant: TenantId
    after: Annotated[str, Refusing(300)] | None = None
    limit: int = Field(default=50, ge=1, le=MAX_PAGE)


class Payments(Message):
    """A page of payments."""

    tenant: TenantId
    payments: list[Payment] = Field(max_length=MAX_PAGE)
    next: Annotated[str, Refusing(300)] | None = None


class CheckMissingCredits(Command):
    """Compare a tenant's payments with Stripe now, and credit what is owed."""

    tenant: TenantId
    actor: Actor = "operator"


class MissingCredits(Message):
    """What the comparison found and did."""

    tenant: TenantId
    checked: Count
    """Payments that Stripe has of the tenant in the last 90 days."""
    credited: Credits
    """Added now, since it was missing."""
    taken_back: Credits
    """Taken back now, for refunds and disputes that had not arrived."""
    parked: list[Explanation] = Field(default_factory=list, max_length=MAX_PAGE)
    """Payments that an operator has to look at, and why."""
    still_open: Count = 0
    """Payments that the customer has begun and not finished."""


class PaymentChange(StrEnum):
    """What an event about a payment says."""

    SETTLED = "settled"
    REFUNDED = "refunded"
    REFUND_FAILED = "refund_failed"
    DISPUTED = "disputed"
    DISPUTE_WON = "dispute_won"
    DISPUTE_LOST = "dispute_lost"
    PARKED = "parked"
    TOP_UP_FAILED = "top_up_failed"
    TOP_UP_PAUSED = "top_up_paused"


class PaymentChanged(Message):
    """Something happened to a payment of a tenant."""

    event_id: Identifier
    tenant: TenantId
    change: PaymentChange
    payment_id: StripeId | None = None
    source_id: StripeId | None = None
    """The refund or dispute that it is about."""
    purchase_id: Identifier | None = None
    credits: Credits
    amount_minor: MinorUnits
    currency: Currency
    detail: Explanation | None = None
    at: Moment


class CreditPosted(Message):
    """A tenant's credits were changed by something else than requests."""

    event_id: Identifier
    """Of the entry in the history of credits."""
    tenant: TenantId
    kind: Annotated[str, Refusing(40, pattern=r"^[a-z_]+$", form="a-z and _")]
    """That of the entry in the history of credits."""
    credits: Credits
    """Negative if the balance became smaller."""
    balance: Credits
    owed: Credits
    """What refunds and disputes could not take back; later credits pay it first."""
    source: Reference | None = None
    source_id: Identifier | None = None
    at: Moment
