"""Credits for people: what a tenant has, what happened to it, and what an operator does about it.

A thousand credits are one US dollar; a credit with three places is a whole number of micro-dollars, so nothing is rounded. Pure.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer
from pydantic_core import PydanticCustomError

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, Reference, TenantId
from keyferry.contracts.money import Usd, plain
from keyferry.contracts.text import Count, Identifier, Moment, Refusing

MICRO_USD_PER_CREDIT = 1000
CREDIT_PLACES = 3
MAX_CREDITS = 10**12
"""Of one grant: a thousand million dollars."""
MAX_HISTORY_PAGE = 200
_LONGEST_NUMBER = 40
"""Characters; longer texts are not read as a number."""
_MAX_EXPONENT = 18
"""Far more than any balance; Python's decimals have 28 digits."""


def _parse_credits(value: object) -> Decimal:
    form = f'this must be a number of credits with at most {CREDIT_PLACES} places, as text, such as "5000" or "12.5"'
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise PydanticCustomError("credits", form)
    if isinstance(value, str) and len(value) > _LONGEST_NUMBER:
        raise PydanticCustomError("credits", form)
    try:
        amount = Decimal(value)
    except ArithmeticError:
        raise PydanticCustomError("credits", form) from None
    if not amount.is_finite() or abs(amount.adjusted()) > _MAX_EXPONENT:
        raise PydanticCustomError("credits", form)
    if amount != round(amount, CREDIT_PLACES):
        raise PydanticCustomError("credits", form)
    return round(amount, CREDIT_PLACES)


def _require_positive(amount: Decimal) -> Decimal:
    if not 0 < amount <= MAX_CREDITS:
        raise PydanticCustomError("credits", f"this must be more than 0 and at most {MAX_CREDITS} credits")
    return amount


def _require_some(amount: Decimal) -> Decimal:
    if not 0 < abs(amount) <= MAX_CREDITS:
        raise PydanticCustomError("credits", f"this must not be 0, and at most {MAX_CREDITS} credits either way")
    return amount


def _require_threshold(amount: Decimal) -> Decimal:
    if not 0 <= amount <= MAX_CREDITS:
        raise PydanticCustomError("credits", f"this must be 0 to {MAX_CREDITS} credits")
    return amount


Credits = Annotated[Decimal, BeforeValidator(_parse_credits), PlainSerializer(plain, return_type=str, when_used="json")]
"""An exact amount of credits: a Decimal in Python, a decimal string on the wire."""
GrantedCredits = Annotated[Credits, AfterValidator(_require_positive)]
AdjustedCredits = Annotated[Credits, AfterValidator(_require_some)]
Threshold = Annotated[Credits, AfterValidator(_require_threshold)]
IdempotencyKey = Annotated[
    str, Refusing(100, pattern=r"^[A-Za-z0-9_.:-]+$", form="A-Z a-z 0-9 _ . : and -", no_key=True)
]
"""The caller's name for one change: repeating the change with it has no effect."""
Reason = Annotated[str, Refusing(300, no_key=True, visible=True)]


def to_micro_usd(amount: Decimal) -> int:
    """Return an amount of credits in micro-dollars."""
    return int(amount * MICRO_USD_PER_CREDIT)


def from_micro_usd(amount: int) -> Decimal:
    """Return an amount of micro-dollars in credits."""
    return Decimal(amount) / MICRO_USD_PER_CREDIT


class GrantCredits(Command):
    """Give a tenant credits. A repeated grant with the same key has no effect."""

    tenant: TenantId
    credits: GrantedCredits
    idempotency_key: IdempotencyKey
    reason: Reason
    source: Reference | None = None
    """The system that the grant comes from, such as a payment provider; null for a person's decision."""
    source_id: Identifier | None = None
    """Its id there. Of the grants with one source and id only the first has an effect."""
    actor: Actor = "operator"


class AdjustCredits(Command):
    """Correct a tenant's credits up or down; what is not available cannot be taken away."""

    tenant: TenantId
    credits: AdjustedCredits
    idempotency_key: IdempotencyKey
    reason: Reason
    actor: Actor = "operator"


class SetCreditThreshold(Command):
    """Choose below which balance a tenant's credits count as low; null for the default."""

    tenant: TenantId
    credits: Threshold | None = None
    actor: Actor = "operator"


class GetCredits(Command):
    """Request what a tenant has."""

    tenant: TenantId


class CreditState(StrEnum):
    """What a tenant's credits allow."""

    NONE = "none"
    """It never had any."""
    OK = "ok"
    LOW = "low"
    """At or below its threshold."""
    EMPTY = "empty"
    """Nothing is available: requests that need credits are refused."""


class CreditBalance(Message):
    """What a tenant has, in credits."""

    tenant: TenantId
    balance: Credits
    """What it was given and has not spent: `available` and `held` together."""
    available: Credits
    held: Credits
    """Set aside for requests that run or just ran; what they do not use becomes available again."""
    balance_usd: Usd
    state: CreditState
    low_below: Credits
    """The threshold of the state `low`."""
    spent_7_days: Credits
    """In the last seven days and today (UTC)."""
    owed: Credits = Decimal(0)
    """What refunds and disputes could not take back since it was spent; credits that come pay it first."""
    days_left: Count | None = None
    """How long the balance lasts at the rate of the last seven days; null if less than a day of spending is known."""
    as_of: Moment


class CreditsChanged(Message):
    """What a grant or an adjustment has done."""

    entry_id: Identifier
    repeated: bool
    """It had been made before, and has had no effect now."""
    credits: CreditBalance


class CreditEntryKind(StrEnum):
    """What changed a balance."""

    GRANT = "grant"
    ADJUSTMENT = "adjustment"
    USAGE = "usage"
    """The requests of one day (UTC)."""
    CORRECTION = "correction"
    """Requests were charged by a wrong price before."""
    PURCHASE = "purchase"
    REFUND = "refund"
    DISPUTE = "dispute"
    """The customer's bank took the money back."""
    DISPUTE_WON = "dispute_won"
    FAILED_REFUND = "failed_refund"
    """The money of a refund came back, so the credits do."""
    DEBT = "debt"
    """A refund or a dispute could not take back what was spent: it is owed. The balance is as it was."""
    DEBT_PAYMENT = "debt_payment"
    """Credits paid what was owed."""
    FORFEIT = "forfeit"
    """The tenant was deleted."""


class ListCreditHistory(Command):
    """Request what happened to a tenant's credits, newest first."""

    tenant: TenantId
    after: Annotated[str, Refusing(300)] | None = None
    """The `next` of the page before."""
    limit: int = Field(default=50, ge=1, le=MAX_HISTORY_PAGE)


class CreditEntry(Message):
    """A change of a tenant's balance."""

    entry_id: Identifier
    kind: CreditEntryKind
    credits: Credits
    """Negative if the balance became smaller."""
    balance: Credits
    """After it."""
    owed: Credits | None = None
    """By how much it changed what is owed; null if it did not."""
    at: Moment
    """For the usage of a day: when the last request of the day was charged."""
    reason: Reason | None = None
    actor: Actor | None = None
    source: Reference | None = None
    source_id: Identifier | None = None


class CreditHistory(Message):
    """A page of changes."""

    tenant: TenantId
    entries: list[CreditEntry]
    next: Annotated[str, Refusing(300)] | None = None
    """What to pass as `after` for the following page; null on the last."""
