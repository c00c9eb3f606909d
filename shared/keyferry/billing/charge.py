"""The charge of an attempt in micro-dollars: the provider's cost times the factors of the plan, exact and rounded once. Pure."""

from decimal import MAX_PREC, Context, Decimal
from typing import NamedTuple

from keyferry.billing.plan import FACTOR_PLACES, UNIT_FACTOR, BillingPlan
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.money import PLACES
from keyferry.contracts.tenancy import Tier
from keyferry.contracts.usage import KeySource

_UNROUNDED = Context(prec=MAX_PREC)
OWN_KEY_SOURCES = frozenset({KeySource.BYOK, KeySource.CUSTOM})
"""With these the tenant pays its provider itself."""
_DIVISOR: int = 10 ** (FACTOR_PLACES + PLACES - 6)
"""Of a cost in 10^-12 dollars times a factor in 10^-12, to micro-dollars."""


class ChargeTerms(NamedTuple):
    """What is made of a cost: it is multiplied, and a fee is added."""

    factor: int
    """In 10^-12."""
    fee_micro_usd: int

    def amount(self, cost_pico_usd: int) -> int:
        """Return micro-dollars for a cost in 10^-12 dollars, rounded half up; a negative cost counts as 0."""
        return (2 * max(0, cost_pico_usd) * self.factor + _DIVISOR) // (2 * _DIVISOR) + self.fee_micro_usd

    def largest_cost(self, amount_micro_usd: int) -> int | None:
        """Return the highest cost, in 10^-12 dollars, whose amount is within this one; None for any, -1 for none at all."""
        left = amount_micro_usd - self.fee_micro_usd
        if left < 0:
            return -1
        return None if self.factor == 0 else (2 * _DIVISOR * left + _DIVISOR - 1) // (2 * self.factor)


_NOTHING = ChargeTerms(0, 0)


def charge_terms(
    plan: BillingPlan, *, key_source: KeySource, level: PowerLevel | None, tier: Tier | None
) -> ChargeTerms:
    """Return what the tenant's credits pay. A level or tier that is not known counts as 1: the charge is the cost.

    Where no key is needed, as for the built-in echo, nobody pays anything.
    """
    if key_source in OWN_KEY_SOURCES:
        return ChargeTerms(0, plan.byok_fee_micro_usd)
    if key_source is KeySource.NONE:
        return _NOTHING
    return ChargeTerms(plan.factors[level, tier], 0)


def spend_terms(
    plan: BillingPlan, *, key_source: KeySource, level: PowerLevel | None, tier: Tier | None
) -> ChargeTerms:
    """Return what counts in budgets: the charge on the platform's keys, the provider's cost and the fee on the tenant's own."""
    if key_source in OWN_KEY_SOURCES:
        return ChargeTerms(UNIT_FACTOR, plan.byok_fee_micro_usd)
    return charge_terms(plan, key_source=key_source, level=level, tier=tier)


def charge(
    cost_usd: Decimal, plan: BillingPlan, *, key_source: KeySource, level: PowerLevel | None, tier: Tier | None
) -> int:
    """Return the charge of one attempt in micro-dollars, rounded half up once."""
    return charge_terms(plan, key_source=key_source, level=level, tier=tier).amount(pico_usd(cost_usd))


def pico_usd(cost_usd: Decimal) -> int:
    """Return a cost, which has at most twelve decimal places, as a whole number of 10^-12 dollars."""
    if not cost_usd.is_finite():
        raise ValueError("a cost must be finite")
    scaled = cost_usd.scaleb(PLACES, _UNROUNDED)
    value = int(scaled)
    if value != scaled:
        raise ValueError(f"a cost has at most {PLACES} decimal places")
    return value
