"""Buying credits: packages, payments through Stripe's Checkout, and automatic top-ups.

Prices are whole cents of US dollars, as Stripe takes them; credits have no places here. Pure.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, Strict, StrictBool, model_validator
from pydantic_core import PydanticCustomError

from keyferry.contracts.credit_management import Credits, IdempotencyKey, Threshold
from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, TenantId
from keyferry.contracts.money import Usd
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.text import Count, Explanation, Identifier, Line, Moment, Ordinal, Refusing, Reported, Url

CENTS_PER_USD = 100
CURRENCY = "usd"
MAX_AMOUNT_CENTS = 99_999_999
"""Stripe's largest amount of one payment: 999,999.99 dollars."""
MAX_CEILING_CENTS = 10**12
MAX_PURCHASES = 100
"""Most purchases that one answer lists."""


def in_cents(amount: Decimal) -> int:
    """Return dollars in cents. Raises ValueError if it is no whole number of them."""
    cents = amount * CENTS_PER_USD
    if cents != cents.to_integral_value():
        raise ValueError("an amount in dollars has at most two decimal places")
    return int(cents)


def from_cents(cents: int) -> Decimal:
    """Return cents in dollars."""
    return Decimal(cents) / CENTS_PER_USD


def _check_between(largest: int) -> AfterValidator:
    def check(amount: Decimal) -> Decimal:
        try:
            cents = in_cents(amount)
        except ValueError as error:
            raise PydanticCustomError("price", f"{error}") from None
        if not 1 <= cents <= largest:
            raise PydanticCustomError("price", f"this must be 0.01 to {from_cents(largest):f} dollars")
        return from_cents(cents)

    return AfterValidator(check)


PriceUsd = Annotated[Usd, _check_between(MAX_AMOUNT_CENTS)]
"""What one payment takes, in dollars, as text."""
CeilingUsd = Annotated[Usd, _check_between(MAX_CEILING_CENTS)]
PackageId = Annotated[str, Refusing(64, pattern=r"^[a-z0-9-]+$", form="a-z 0-9 and -", no_key=True)]
"""The name of a package: `usd-10`."""
PurchaseId = Annotated[str, Refusing(64, 5, pattern=r"^pur_[a-z0-9]+$", form="pur_ and a-z 0-9")]
ReturnPath = Annotated[
    str,
    Refusing(
        300,
        pattern=r"^/(?:[A-Za-z0-9_.~-]+(?:/[A-Za-z0-9_.~-]+)*/?)?(?:\?[A-Za-z0-9_.~=&%-]*)?$",
        form="a path of the console without a host, such as /t/acme/credits",
        no_key=True,
    ),
]
"""Where on the console the browser goes after the payment. Never an address of another host."""


class Package(Message):
    """Credits that are sold together."""

    package: PackageId
    price_usd: Usd
    credits: Credits
    usd_per_1000_credits: Usd
    """What 1000 credits of it cost, rounded to a hundredth of a cent. At the price list they are a dollar."""
    saving_percent: Count
    """Below the price of as many credits without a package, rounded down."""


class CustomAmount(Message):
    """The bounds of a payment of any other amount, which buys 1000 credits a dollar."""

    from_usd: Usd
    to_usd: Usd


class ListPackages(Command):
    """Request what can be bought."""

    tenant: TenantId


class Packages(Message):
    """What can be bought."""

    configured: bool
    """Whether this installation takes payments: it has a key of Stripe. If not, `detail` says what to do."""
    detail: Explanation | None = None
    version: Identifier
    """Of the billing file."""
    currency: Identifier = CURRENCY
    packages: list[Package]
    custom: CustomAmount | None = None
    """Null where only packages are sold."""


class SyncPackages(Command):
    """Compare the packages with the products and prices at Stripe and make them equal, or only report the differences."""

    dry_run: StrictBool = False
    actor: Actor = "operator"


class SyncAction(StrEnum):
    """What a sync does with a price."""

    UNCHANGED = "unchanged"
    CREATED = "created"
    """It is in the billing file and was not at Stripe."""
    ACTIVATED = "activated"
    """It was at Stripe, and switched off."""
    ARCHIVED = "archived"
    """It was at Stripe, and is in the billing file no more. Prices cannot be deleted there."""
    DIFFERENT = "different"
    """Somebody has changed it at Stripe: sales of it are refused until a person decides. Nothing is overwritten."""


class SyncedPrice(Message):
    """One price, and what the sync did."""

    lookup_key: Reported
    """Its name at Stripe, which has the amount and the credits, so that another amount is another price."""
    action: SyncAction
    price_id: Reported | None = None
    product_id: Reported | None = None
    detail: Explanation | None = None


class PackageSync(Message):
    """The report of a sync, of both sides."""

    dry_run: bool
    version: Identifier
    livemode: bool | None = None
    """Whether this is Stripe's live mode; null if it has not said."""
    prices: list[SyncedPrice]
    at: Moment


class PurchaseKind(StrEnum):
    """How a payment came about."""

    CHECKOUT = "checkout"
    """A person paid on Stripe's page."""
    TOP_UP = "top_up"
    """The installation charged the saved payment method, because credits were low."""


class PurchaseState(StrEnum):
    """How far a purchase is. The last four are final."""

    OPENING = "opening"
    """It is recorded, and Stripe has not answered yet. Nothing is paid."""
    OPEN = "open"
    """Stripe waits for the payment."""
    PROCESSING = "processing"
    """The payment is on its way: some methods take days."""
    PAID = "paid"
    """Stripe has the money; the credits are being added."""
    CREDITED = "credited"
    EXPIRED = "expired"
    """Nobody paid in time."""
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL_STATES = frozenset({PurchaseState.CREDITED, PurchaseState.EXPIRED, PurchaseState.FAILED, PurchaseState.CANCELLED})


class Purchase(Message):
    """A purchase of credits."""

    purchase: PurchaseId
    tenant: TenantId
    kind: PurchaseKind
    package: PackageId | None = None
    """Null for any other amount."""
    price_usd: Usd
    currency: Identifier = CURRENCY
    credits: Credits
    state: PurchaseState
    reason: Explanation | None = None
    """Why it failed, or what it waits for."""
    url: Url | None = None
    """Stripe's page, while it can be paid there."""
    expires_at: Moment | None = None
    created_at: Moment
    paid_at: Moment | None = None
    credited_at: Moment | None = None
    payment_intent: Identifier | None = None
    """Stripe's id of the payment."""
    actor: Actor


class CreateCheckout(Command):
    """Open a page of Stripe on which credits can be paid. Repeating it with the same key returns the same page."""

    tenant: TenantId
    package: PackageId | None = None
    """A package, or else an amount in `price_usd`."""
    price_usd: PriceUsd | None = None
    return_path: ReturnPath
    """It gets `purchase` and `result` (paid or cancelled) as parameters."""
    save_payment_method: StrictBool = False
    """Whether the payment method may be charged later by automatic top-ups; Stripe's page asks for consent."""
    idempotency_key: IdempotencyKey
    actor: Actor = "operator"

    @model_validator(mode="after")
    def _require_one(self) -> "CreateCheckout":
        if (self.package is None) == (self.price_usd is None):
            raise PydanticCustomError("package", "give either `package` or `price_usd`")
        if self.tenant == PLATFORM_TENANT:
            raise PydanticCustomError("tenant", "the platform buys no credits: name a tenant")
        return self


class GetCheckout(Command):
    """Request one purchase. While it is open, Stripe is asked how far it is."""

    tenant: TenantId
    purchase: PurchaseId


class CancelCheckout(Command):
    """Close Stripe's page of a purchase that is not paid, so that it cannot be paid any more."""

    tenant: TenantId
    purchase: PurchaseId
    actor: Actor = "operator"


class ListPurchases(Command):
    """Request a tenant's purchases, the newest first."""

    tenant: TenantId
    limit: Annotated[int, Strict(), Field(ge=1, le=MAX_PURCHASES)] = 20


class Purchases(Message):
    """A tenant's last purchases, the newest first."""

    tenant: TenantId
    purchases: list[Purchase]


class GetCustomer(Command):
    """Request what is stored about a tenant at Stripe."""

    tenant: TenantId


class BillingCustomer(Message):
    """A tenant as a customer at Stripe: exactly one."""

    tenant: TenantId
    customer: Identifier | None = None
    """Null until the first purchase."""
    payment_method: Line | None = None
    """What is saved for automatic top-ups, for people: `visa ending in 4242`. Null for none."""
    saved_at: Moment | None = None


class TopUpState(StrEnum):
    """What the automatic top-up does."""

    OFF = "off"
    NEEDS_PAYMENT_METHOD = "needs_payment_method"
    """Buy credits once and save the payment method."""
    ACTIVE = "active"
    """It waits until credits are low."""
    CHARGING = "charging"
    RETRYING = "retrying"
    """A payment failed and is tried again at `next_attempt_at`."""
    CEILING_REACHED = "ceiling_reached"
    """Another payment would exceed the monthly ceiling; it goes on with the next month."""
    PAUSED = "paused"
    """Payments failed. A person resumes it."""


class GetTopUp(Command):
    """Request a tenant's automatic top-up."""

    tenant: TenantId


class SaveTopUp(Command):
    """Set a tenant's automatic top-up."""

    tenant: TenantId
    enabled: StrictBool
    threshold: Threshold
    """A payment is made when this many credits or fewer are available."""
    price_usd: PriceUsd
    """What each payment takes. The price of a package buys its credits."""
    monthly_ceiling_usd: CeilingUsd
    """The most that all automatic payments of a calendar month in the tenant's zone may take."""
    consent: StrictBool = False
    """Whether the tenant agrees that the saved payment method is charged without it being present: needed to enable."""
    expected_revision: Ordinal | None = None
    """Refuse unless this is the revision that is saved. Null does not look."""
    actor: Actor = "operator"

    @model_validator(mode="after")
    def _check(self) -> "SaveTopUp":
        if self.enabled and not self.consent:
            raise PydanticCustomError(
                "consent", "give `consent`: the saved payment method is charged without asking again"
            )
        if self.monthly_ceiling_usd < self.price_usd:
            raise PydanticCustomError("ceiling", "`monthly_ceiling_usd` is below one payment of `price_usd`")
        if self.tenant == PLATFORM_TENANT:
            raise PydanticCustomError("tenant", "the platform buys no credits: name a tenant")
        return self


class ResumeTopUp(Command):
    """Let a paused automatic top-up go on; it tries at once if credits are low."""

    tenant: TenantId
    actor: Actor = "operator"


class TopUp(Message):
    """A tenant's automatic top-up, and what it does."""

    tenant: TenantId
    configured: bool
    """Whether this installation takes payments."""
    enabled: bool = False
    threshold: Credits = Decimal(0)
    price_usd: Usd = Decimal(0)
    credits: Credits = Decimal(0)
    """What one payment buys."""
    monthly_ceiling_usd: Usd = Decimal(0)
    state: TopUpState
    reason: Explanation | None = None
    """Why it is paused, retries or waits, and what to do."""
    paused_at: Moment | None = None
    next_attempt_at: Moment | None = None
    failures: Count = 0
    """Of the payment that is tried again."""
    spent_this_month_usd: Usd = Decimal(0)
    """Automatic payments of this month, with one that is under way."""
    month_ends_at: Moment
    """In the tenant's zone."""
    payment_method: Line | None = None
    consent_at: Moment | None = None
    consent_by: Actor | None = None
    revision: Count = 0
    """Grows with each change; 0 before the first."""
