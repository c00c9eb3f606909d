"""What an attempt is charged, what the platform bears of it, and what it counts in budgets, by its cost and its holds. Pure."""

from typing import Any, NamedTuple

from keyferry.billing.charge import OWN_KEY_SOURCES, charge_terms, pico_usd, spend_terms
from keyferry.billing.plan import BillingPlan
from keyferry.contracts.usage import AttemptRecord, LedgerRow, Outcome
from services.usage_ledger.pricing import Price

LARGEST_AMOUNT_MICRO_USD = 10**15
"""No account holds more. A larger amount is the work of absurd token counts, and is cut to this and marked."""
_CREDITS, _ALLOWANCE = "credits/", "allowance/"


class Charge(NamedTuple):
    """The amounts of one attempt, in micro-dollars."""

    charge_micro_usd: int | None
    """None if nothing can be charged: there is no hold on credits, or the cost is not known."""
    absorbed_micro_usd: int
    spend_micro_usd: int | None
    """None if the cost is not known."""


NOTHING = Charge(None, 0, None)


def charge_attempt(record: AttemptRecord, price: Price, plan: BillingPlan) -> Charge:
    """Return the amounts of an attempt with this cost.

    With a hold on an allowance it is free. With one on credits it costs no more than the hold, and the platform bears the rest.
    Without either nothing is charged, and budgets count what the charge would be.
    """
    held = _held(record, _CREDITS)
    if is_free(record):
        return Charge(0, 0, 0)
    full = full_charge(record, price, plan)
    if full is None:
        return NOTHING
    charged = full if held is None else min(full, held)
    spend = spend_amount(record, price, plan, full - charged)
    return Charge(None if held is None else charged, full - charged, spend)


def spend_amount(record: AttemptRecord, price: Price, plan: BillingPlan, absorbed_micro_usd: int) -> int | None:
    """Return what an attempt counts in budgets, of which the platform bears a part; None if its cost is not known."""
    if is_free(record) or price.pricing == "free":
        return 0
    if price.cost_usd is None:
        return None
    terms = spend_terms(plan, key_source=record.key_source, level=record.charged_level, tier=record.tier)
    return max(0, terms.amount(pico_usd(price.cost_usd)) - absorbed_micro_usd)


def is_free(record: AttemptRecord) -> bool:
    """Return whether a free allowance covers an attempt."""
    return _held(record, _ALLOWANCE) is not None


def full_charge(record: AttemptRecord, price: Price, plan: BillingPlan) -> int | None:
    """Return the charge without regard to holds, in micro-dollars; None if it is not known."""
    if price.pricing == "free":
        return 0
    source = record.key_source
    # The fee of an own key does not depend on its provider's price, but nobody knows whether a lost attempt was answered.
    if price.cost_usd is None and (source not in OWN_KEY_SOURCES or record.outcome is Outcome.INDETERMINATE):
        return None
    terms = charge_terms(plan, key_source=source, level=record.charged_level, tier=record.tier)
    return terms.amount(0 if price.cost_usd is None else pico_usd(price.cost_usd))


def bill(row: LedgerRow, price: Price, plan: BillingPlan) -> LedgerRow:
    """Return a row with its amounts. Those that are too large are cut, and its record says which."""
    return row.model_copy(update=billed_values(row.record, price, plan))


def billed_values(record: AttemptRecord, price: Price, plan: BillingPlan) -> dict[str, Any]:
    """Return the fields of a row that `bill` sets."""
    amounts = charge_attempt(record, price, plan)
    changes: dict[str, Any] = {"record": record, "plan_version": None if amounts == NOTHING else plan.version}
    cut = []
    for name, value in zip(Charge._fields, amounts, strict=True):
        changes[name] = value
        if value is not None and value > LARGEST_AMOUNT_MICRO_USD:
            changes[name] = LARGEST_AMOUNT_MICRO_USD
            cut.append(name)
    if cut:
        changes["record"] = record.model_copy(update={"unkept": sorted({*record.unkept, *cut})})
    return changes


def _held(record: AttemptRecord, prefix: str) -> int | None:
    """Return what the attempt holds of accounts with this prefix; None if it holds nothing of them."""
    holds = record.reservation.holds if record.reservation is not None else ()
    amounts = [hold.amount for hold in holds if hold.account.startswith(prefix)]
    return sum(amounts) if amounts else None
