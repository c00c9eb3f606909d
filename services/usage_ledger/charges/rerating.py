"""What attempts would have been charged by the prices and the plan in force now, and who bears the difference. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from keyferry.billing.plan import BillingPlan
from keyferry.contracts.usage import AttemptRecord
from services.usage_ledger.charging import LARGEST_AMOUNT_MICRO_USD, full_charge, is_free, spend_amount
from services.usage_ledger.pricing import Prices, price

_LARGEST_COST_USD = 10**12
"""The tables hold no larger one; it would be the work of absurd token counts."""


@dataclass(frozen=True, slots=True)
class AttemptRating:
    """The cost and the charge of an attempt, as recorded or as last corrected."""

    cost_usd: Decimal | None
    price_version: str | None
    pricing: str
    plan_version: str | None
    charge_micro_usd: int | None
    """What credits paid; None if the attempt was not charged."""
    absorbed_micro_usd: int
    spend_micro_usd: int | None
    """What it counts in budgets."""


@dataclass(frozen=True, slots=True)
class Correction:
    """An attempt that is rated anew."""

    attempt_id: str
    before: AttemptRating
    after: AttemptRating
    uncollected_micro_usd: int = 0
    """What was charged before and never collected: there is nothing of it to give back."""

    @property
    def charge_difference(self) -> int:
        """How much more the tenant pays, in micro-dollars; negative for what it gets back."""
        return (self.after.charge_micro_usd or 0) - (self.before.charge_micro_usd or 0) + self.uncollected_micro_usd

    @property
    def absorbed_difference(self) -> int:
        """How much more the platform bears, in micro-dollars."""
        return self.after.absorbed_micro_usd - self.before.absorbed_micro_usd - self.uncollected_micro_usd

    @property
    def cost_difference_usd(self) -> Decimal:
        """How much more the provider took."""
        return (self.after.cost_usd or Decimal(0)) - (self.before.cost_usd or Decimal(0))


@dataclass(slots=True)
class RatedAnew:
    """What comparing the attempts of a tenant has found."""

    examined: int = 0
    unknown: int = 0
    corrections: list[Correction] = field(default_factory=list)

    def add(
        self, record: AttemptRecord, before: AttemptRating, prices: Prices, plan: BillingPlan, uncollected: int = 0
    ) -> None:
        """Compare an attempt with the prices and the plan in force. `uncollected` is what nobody paid of its charge."""
        self.examined += 1
        found = price(record, prices)
        if found.cost_usd is None or found.cost_usd >= _LARGEST_COST_USD:
            self.unknown += 1
            return
        charge, absorbed = before.charge_micro_usd, before.absorbed_micro_usd
        uncollected = min(uncollected, charge or 0)
        if charge is not None and not is_free(record):
            charge, absorbed = charge - uncollected, absorbed + uncollected
            full = min(full_charge(record, found, plan) or 0, LARGEST_AMOUNT_MICRO_USD)
            charge, absorbed = _share(charge, absorbed, full)
        spend = min(spend_amount(record, found, plan, absorbed) or 0, LARGEST_AMOUNT_MICRO_USD)
        after = AttemptRating(found.cost_usd, found.version, found.pricing, plan.version, charge, absorbed, spend)
        if _amounts(after) != _amounts(before):
            self.corrections.append(Correction(record.attempt_id, before, after, uncollected))


def bear(corrections: Iterable[Correction], available_micro_usd: int) -> list[Correction]:
    """Return the corrections that a tenant's credits can bear: refunds come first, and what is lacking is absorbed."""
    ordered = list(corrections)
    pool = available_micro_usd - sum(min(0, each.charge_difference) for each in ordered)
    borne = []
    for each in ordered:
        more = each.charge_difference
        if more > 0:
            taken = min(more, max(0, pool))
            pool -= taken
            each = _absorb(each, more - taken)
        borne.append(each)
    return borne


def net_charge(corrections: Sequence[Correction]) -> int:
    """Return what a tenant pays in micro-dollars for all corrections together; negative for what it gets back."""
    return sum(each.charge_difference for each in corrections)


def uncollected(corrections: Sequence[Correction]) -> int:
    """Return what was charged for the attempts of all corrections together, in micro-dollars, and paid by the platform."""
    return sum(each.uncollected_micro_usd for each in corrections)


def _amounts(rating: AttemptRating) -> tuple[Decimal | int | None, ...]:
    return rating.cost_usd, rating.charge_micro_usd, rating.absorbed_micro_usd


def _share(charge: int, absorbed: int, full: int) -> tuple[int, int]:
    """Return how a corrected charge is shared: the platform bears what it bore, and no more than there is.

    A tenant is charged what is added, although nobody held it: the hold was computed by the wrong price.
    """
    added = full - charge - absorbed
    if added >= 0:
        return charge + added, absorbed
    paid = min(charge, full)
    return paid, full - paid


def _absorb(correction: Correction, lacking: int) -> Correction:
    if not lacking:
        return correction
    after = correction.after
    assert after.charge_micro_usd is not None
    shared = replace(
        after,
        charge_micro_usd=after.charge_micro_usd - lacking,
        absorbed_micro_usd=after.absorbed_micro_usd + lacking,
        spend_micro_usd=None if after.spend_micro_usd is None else max(0, after.spend_micro_usd - lacking),
    )
    return replace(correction, after=shared)
