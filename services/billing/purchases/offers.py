"""What is sold, from the billing file, and what a payment of an amount buys. Pure."""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from keyferry.billing.plan import CREDITS_PER_USD, BillingPlan, CreditPackage
from keyferry.contracts.credit_management import MICRO_USD_PER_CREDIT
from keyferry.contracts.purchases import CENTS_PER_USD, CreateCheckout, CustomAmount, Package, from_cents, in_cents
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import Tier
from services.billing.purchases.rule_violation import PurchaseRefused

_PRICE_PLACES = Decimal("0.0001")
_HUNDRED_PERCENT = 100


@dataclass(frozen=True, slots=True)
class Offer:
    """What one payment takes and buys."""

    package: str | None
    """None for any other amount."""
    amount_cents: int
    credits: int

    @property
    def credits_micro_usd(self) -> int:
        """The credits in micro-dollars."""
        return self.credits * MICRO_USD_PER_CREDIT

    @property
    def price_name(self) -> str:
        """The name of its price, in the lookup key at Stripe: another amount or number of credits is another price."""
        return f"credits-{self.credits}-for-{self.amount_cents}-usd-cents"

    @property
    def label(self) -> str:
        """What the buyer reads on Stripe's page and on the receipt."""
        return f"{self.credits:,} credits"


@dataclass(frozen=True, slots=True)
class TierOffer:
    """A tier by the month."""

    tier: Tier
    amount_cents: int

    @property
    def price_name(self) -> str:
        """The name of its price, of which the lookup key at Stripe is made."""
        return f"tier-{self.tier}-for-{self.amount_cents}-usd-cents-a-month"


def package_id(package: CreditPackage) -> str:
    """Return the name of a package; there is one of each price."""
    return f"usd-{package.price_usd}"


def packages(plan: BillingPlan) -> list[Package]:
    """Return the packages, the cheapest first, with what their credits cost."""
    return [_describe(package) for package in plan.packages]


def offers(plan: BillingPlan) -> list[Offer]:
    """Return what is sold in packages."""
    return [_offer(package) for package in plan.packages]


def tier_offers(plan: BillingPlan) -> list[TierOffer]:
    """Return the tiers that are sold, the lowest first."""
    terms = plan.subscriptions
    return [] if terms is None else [TierOffer(each.tier, each.price_usd * CENTS_PER_USD) for each in terms.offer]


def custom_amount(plan: BillingPlan) -> CustomAmount | None:
    """Return the bounds of other amounts; None where only packages are sold."""
    terms = plan.custom_amount
    return None if terms is None else CustomAmount(from_usd=Decimal(terms.from_usd), to_usd=Decimal(terms.to_usd))


def offer_for(plan: BillingPlan, command: CreateCheckout) -> Offer:
    """Return what a request buys. Raises PurchaseRefused for a package or an amount that is not sold."""
    if command.price_usd is not None:
        return offer_for_price(plan, command.price_usd)
    for package in plan.packages:
        if package_id(package) == command.package:
            return _offer(package)
    known = ", ".join(package_id(package) for package in plan.packages) or "none"
    raise PurchaseRefused(ErrorCode.NOT_FOUND, f"there is no package {command.package!r}: the packages are {known}")


def offer_for_price(plan: BillingPlan, price_usd: Decimal) -> Offer:
    """Return what a payment of so many dollars buys: a package if there is one of that price.

    Raises PurchaseRefused for an amount out of bounds.
    """
    for package in plan.packages:
        if package.price_usd == price_usd:
            return _offer(package)
    bounds = plan.custom_amount
    if bounds is None:
        prices = ", ".join(f"{package.price_usd}" for package in plan.packages) or "none"
        raise PurchaseRefused(
            ErrorCode.INVALID, f"only packages are sold here: choose one of their prices, {prices} dollars"
        )
    if not bounds.from_usd <= price_usd <= bounds.to_usd:
        raise PurchaseRefused(
            ErrorCode.INVALID, f"an amount must be {bounds.from_usd} to {bounds.to_usd} dollars: choose one of these"
        )
    return Offer(None, in_cents(price_usd), plan.credits_for(price_usd))


def _offer(package: CreditPackage) -> Offer:
    return Offer(package_id(package), package.price_usd * CENTS_PER_USD, package.credits)


def _describe(package: CreditPackage) -> Package:
    per_thousand = Decimal(package.price_usd * CREDITS_PER_USD) / package.credits
    list_price = Decimal(package.credits) / CREDITS_PER_USD
    saved = max(Decimal(0), 1 - package.price_usd / list_price)
    return Package(
        package=package_id(package),
        price_usd=from_cents(package.price_usd * CENTS_PER_USD),
        credits=Decimal(package.credits),
        usd_per_1000_credits=per_thousand.quantize(_PRICE_PLACES, ROUND_HALF_UP),
        saving_percent=int(saved * _HUNDRED_PERCENT),
    )
