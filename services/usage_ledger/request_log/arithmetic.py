"""How the cost and the charge of an attempt come about, line by line. Pure."""

from decimal import Decimal
from typing import Any

from keyferry.billing.charge import OWN_KEY_SOURCES
from keyferry.billing.plan import BillingPlan
from keyferry.contracts.money import PLACES
from keyferry.contracts.request_log import CostArithmetic, CostLine
from keyferry.contracts.usage import LedgerRow
from keyferry.pricing.tariff import TOKEN_KINDS, Tariff
from services.usage_ledger.pricing import Prices

_PER_MILLION = 6 - PLACES
"""Scale of a rate in 10^-12 dollars per token, as dollars per million tokens."""


def explain_cost(row: LedgerRow, prices: Prices, plan: BillingPlan) -> CostArithmetic:
    """Return the arithmetic of an attempt. Its lines are left out unless the rates known now give the recorded cost."""
    tariff = _tariff_of(row, prices)
    fee = None if tariff is None or not tariff.per_request else Decimal(tariff.per_request).scaleb(-PLACES)
    return CostArithmetic(
        attempt_id=row.record.attempt_id,
        pricing=row.pricing,
        lines=[] if tariff is None else _lines(row, tariff),
        per_request_usd=fee,
        price_version=row.price_version,
        cost_usd=row.cost_usd,
        tier=row.record.tier,
        charged_level=row.record.charged_level,
        **_terms(row, plan),
        plan_version=row.plan_version,
        charge_micro_usd=row.charge_micro_usd,
        absorbed_micro_usd=row.absorbed_micro_usd,
        spend_micro_usd=row.spend_micro_usd,
    )


def _terms(row: LedgerRow, plan: BillingPlan) -> dict[str, Any]:
    """Return the terms that the charge was computed by; nothing if there was none, or if the plan has changed since."""
    record = row.record
    if row.charge_micro_usd is None or row.plan_version != plan.version:
        return {}
    if record.key_source in OWN_KEY_SOURCES:
        return {"fee_micro_usd": plan.byok_fee_micro_usd}
    return {
        "multiplier": None if record.charged_level is None else plan.multipliers[record.charged_level],
        "markup_percent": None if record.tier is None else plan.markups_percent[record.tier],
        "factor": plan.share_of_cost(record.charged_level, record.tier),
    }


def _tariff_of(row: LedgerRow, prices: Prices) -> Tariff | None:
    """Return the tariff that an attempt was priced by; None if it was not, or if the prices have changed since."""
    record = row.record
    if row.pricing != "priced":
        return None
    names = tuple(dict.fromkeys(filter(None, (record.model_served, record.model))))
    found = prices.find_first(record.provider, names, record.started_at, record.service_tier)
    if found is None or found[1] != row.price_version or found[0].cost(record.token_usage) != row.cost_usd:
        return None
    return found[0]


def _lines(row: LedgerRow, tariff: Tariff) -> list[CostLine]:
    usage = row.record.token_usage
    lines = []
    for kind in TOKEN_KINDS:
        count, rate = getattr(usage, kind), tariff.rate_of(kind)
        if count and rate is not None:
            price = rate.at(usage.prompt)
            lines.append(
                CostLine(
                    kind=kind,
                    tokens=count,
                    usd_per_million=Decimal(price).scaleb(_PER_MILLION),
                    cost_usd=Decimal(count * price).scaleb(-PLACES),
                )
            )
    return lines
