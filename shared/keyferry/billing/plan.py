"""The billing file, parsed strictly, and what may be asked of it: factors, allowances, packages, plans below cost. Pure."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Annotated, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from keyferry.contracts.envelope import describe
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.tenancy import Tier

BUNDLED_PLAN = Path(__file__).parent / "plan.toml"
"""The billing file that every service uses unless its settings name another."""
FACTOR_PLACES = 12
"""A factor is a whole number of 10^-12: six places of the multiplier and six of the markup."""
UNIT_FACTOR = 10**FACTOR_PLACES
CREDITS_PER_USD = 1000
_HALF_PLACES = FACTOR_PLACES // 2
_PERCENT_PLACES = _HALF_PLACES - 2
_LARGEST = 1_000_000
_MAX_FEE_MICRO_USD = 10**9
_MAX_PACKAGE_USD = 1_000_000
_MAX_PAYMENT_USD = 999_999
"""Stripe takes eight digits of cents in one payment."""


def _number(places: int) -> BeforeValidator:
    """Accept an exact number from 0 to a million with at most so many decimal places."""

    def check(value: object) -> Decimal:
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise ValueError("this must be a number")
        amount = Decimal(value)
        if not (amount.is_finite() and 0 <= amount <= _LARGEST):
            raise ValueError(f"this must be a number from 0 to {_LARGEST}")
        exponent = amount.as_tuple().exponent
        if isinstance(exponent, int) and exponent < -places:
            raise ValueError(f"this has more than {places} decimal places")
        return amount

    return BeforeValidator(check)


Multiplier = Annotated[Decimal, _number(_HALF_PLACES)]
Percent = Annotated[Decimal, _number(_PERCENT_PLACES)]
Requests = Annotated[int, Field(strict=True, ge=0, le=10**9)]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LevelMultipliers(_Row):
    """By what the provider's cost is multiplied at each power level."""

    eco: Multiplier
    balanced: Multiplier
    precision: Multiplier


class TierTerms(_Row):
    """The terms of one tier, as the file has them."""

    markup_percent: Percent
    monthly_free_requests: Requests
    notice_from: Requests | None = None


class CreditPackage(_Row):
    """Credits that are sold together."""

    price_usd: Annotated[int, Field(strict=True, ge=1, le=_MAX_PACKAGE_USD)]
    credits: Annotated[int, Field(strict=True, ge=1, le=_MAX_PACKAGE_USD * CREDITS_PER_USD * 10)]


class CustomAmountTerms(_Row):
    """The bounds of a payment of any other amount, in dollars."""

    from_usd: Annotated[int, Field(strict=True, ge=1, le=_MAX_PAYMENT_USD)]
    to_usd: Annotated[int, Field(strict=True, ge=1, le=_MAX_PAYMENT_USD)]


class TierPrice(_Row):
    """What a month of a tier costs."""

    tier: Tier
    price_usd: Annotated[int, Field(strict=True, ge=1, le=_MAX_PAYMENT_USD)]


class SubscriptionTerms(_Row):
    """The tiers that tenants can subscribe to."""

    grace_days: Annotated[int, Field(strict=True, ge=0, le=90)]
    """For how long the tier stays after a failed payment."""
    without: Tier
    """The tier of a tenant whose subscription has ended."""
    offer: list[TierPrice] = Field(min_length=1, max_length=len(Tier))


class BillingFile(_Row):
    """A whole billing file."""

    version: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$")]
    byok_fee_micro_usd: Annotated[int, Field(strict=True, ge=0, le=_MAX_FEE_MICRO_USD)]
    floor: Annotated[bool, Field(strict=True)]
    multipliers: LevelMultipliers
    free: TierTerms
    starter: TierTerms
    professional: TierTerms
    enterprise: TierTerms
    package: list[CreditPackage] = Field(default_factory=list, max_length=100)
    custom_amount: CustomAmountTerms | None = None
    subscriptions: SubscriptionTerms | None = None


class BadBillingFile(ValueError):
    """An invalid billing file; the message says where the error is."""


class Allowance(NamedTuple):
    """The free requests of a tier in a calendar month."""

    requests: int
    notice_from: int


class PlanBelowCost(NamedTuple):
    """A tier and a level whose charge is less than the provider's cost."""

    tier: Tier
    level: PowerLevel
    share: Decimal
    """The charge divided by the cost."""

    def __str__(self) -> str:
        return f"{self.tier} {self.level} charges {self.share.normalize():f} of the cost"


@dataclass(frozen=True, slots=True)
class BillingPlan:
    """The terms of an installation."""

    version: str
    byok_fee_micro_usd: int
    floor: bool
    multipliers: Mapping[PowerLevel, Decimal]
    markups_percent: Mapping[Tier, Decimal]
    allowances: Mapping[Tier, Allowance]
    packages: tuple[CreditPackage, ...]
    custom_amount: CustomAmountTerms | None
    """Null where only packages are sold."""
    subscriptions: SubscriptionTerms | None
    """Null where no tier is sold."""
    factors: Mapping[tuple[PowerLevel | None, Tier | None], int]
    """The charge divided by the cost, in 10^-12, of every level and tier; None is one that is not known, and counts as 1."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a plan from TOML. Raises BadBillingFile."""
        try:
            file = BillingFile.model_validate(tomllib.loads(text, parse_float=Decimal))
        except ValidationError as error:
            raise BadBillingFile(describe(error)) from None
        except tomllib.TOMLDecodeError as error:
            raise BadBillingFile(f"it is not TOML: {error}") from None
        prices = [package.price_usd for package in file.package]
        if len(set(prices)) != len(prices):
            raise BadBillingFile("two packages have the same price")
        terms = {tier: getattr(file, tier.value) for tier in Tier}
        multipliers = {level: getattr(file.multipliers, level.value) for level in PowerLevel}
        markups = {tier: each.markup_percent for tier, each in terms.items()}
        return cls(
            version=file.version,
            byok_fee_micro_usd=file.byok_fee_micro_usd,
            floor=file.floor,
            multipliers=multipliers,
            markups_percent=markups,
            allowances={tier: found for tier, each in terms.items() if (found := _allowance(tier, each)) is not None},
            packages=tuple(sorted(file.package, key=lambda package: package.price_usd)),
            custom_amount=_check_bounds(file.custom_amount),
            subscriptions=_in_order(file.subscriptions),
            factors=_factors(multipliers, markups, at_least=UNIT_FACTOR if file.floor else 0),
        )

    def share_of_cost(self, level: PowerLevel | None, tier: Tier | None) -> Decimal:
        """Return the charge divided by the provider's cost, on the platform's keys."""
        return Decimal(self.factors[level, tier]).scaleb(-FACTOR_PLACES)

    def below_cost(self) -> tuple[PlanBelowCost, ...]:
        """Return every tier and level whose charge is less than the provider's cost."""
        return tuple(
            PlanBelowCost(tier, level, share)
            for tier in Tier
            for level in PowerLevel
            if (share := self.share_of_cost(level, tier)) < 1
        )

    def allowance(self, tier: Tier) -> Allowance | None:
        """Return the free requests of a tier in a month; None if it has none."""
        return self.allowances.get(tier)

    def credits_for(self, price_usd: Decimal) -> int:
        """Return the credits that a payment buys: a package's, or else 1000 a dollar, without parts of a credit."""
        package = next((each for each in self.packages if each.price_usd == price_usd), None)
        return int(price_usd * CREDITS_PER_USD) if package is None else package.credits


def _allowance(tier: Tier, terms: TierTerms) -> Allowance | None:
    requests, notice_from = terms.monthly_free_requests, terms.notice_from
    if requests == 0:
        if notice_from is not None:
            raise BadBillingFile(f"{tier}: notice_from without monthly_free_requests: remove it")
        return None
    if notice_from is None or notice_from > requests:
        raise BadBillingFile(f"{tier}: notice_from must be a number up to monthly_free_requests")
    return Allowance(requests, notice_from)


def _check_bounds(terms: CustomAmountTerms | None) -> CustomAmountTerms | None:
    if terms is not None and terms.to_usd < terms.from_usd:
        raise BadBillingFile("custom_amount: to_usd is below from_usd")
    return terms


def _in_order(terms: SubscriptionTerms | None) -> SubscriptionTerms | None:
    """Return the terms with their offers in the order of the tiers, in which prices must rise."""
    if terms is None:
        return None
    order = list(Tier)
    offers = sorted(terms.offer, key=lambda offer: order.index(offer.tier))
    for offer in offers:
        if order.index(offer.tier) <= order.index(terms.without):
            raise BadBillingFile(f"subscriptions: there is no subscription to {offer.tier}, below or at `without`")
    for lower, higher in pairwise(offers):
        if lower.tier is higher.tier:
            raise BadBillingFile(f"subscriptions: there are two subscriptions to {lower.tier}")
        if higher.price_usd <= lower.price_usd:
            raise BadBillingFile(
                f"subscriptions: the price of {higher.tier} is not above that of {lower.tier}, which is a lower tier"
            )
    return terms.model_copy(update={"offer": offers})


def _factors(
    multipliers: Mapping[PowerLevel, Decimal], markups: Mapping[Tier, Decimal], *, at_least: int
) -> dict[tuple[PowerLevel | None, Tier | None], int]:
    by_level: dict[PowerLevel | None, int] = {None: 10**_HALF_PLACES}
    by_level |= {level: int(multiplier.scaleb(_HALF_PLACES)) for level, multiplier in multipliers.items()}
    by_tier: dict[Tier | None, int] = {None: 10**_HALF_PLACES}
    by_tier |= {tier: int((100 + markup).scaleb(_PERCENT_PLACES)) for tier, markup in markups.items()}
    return {
        (level, tier): max(at_least, multiplier * markup)
        for level, multiplier in by_level.items()
        for tier, markup in by_tier.items()
    }
