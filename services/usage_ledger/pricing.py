"""What an attempt costs: its meters times a list price, exactly. What has no price is unpriced, and never guessed."""

from decimal import Decimal
from typing import Literal, NamedTuple

from keyferry.contracts.usage import AttemptRecord, Outcome, UsageSource
from keyferry.pricing.file import PriceList


class Price(NamedTuple):
    """What an attempt costs, and why."""

    pricing: Literal["priced", "unpriced", "free"]
    cost_usd: Decimal | None
    version: str | None
    """Of the prices that were used, where any were."""


UNPRICED = Price("unpriced", None, None)
FREE = Price("free", Decimal(0), None)


def price(record: AttemptRecord, prices: PriceList) -> Price:
    """The price of an attempt, whose `started_at` has a time zone.

    A failed attempt that used nothing is free. Where usage is not known there is no cost, and none is made up: after a
    worker's death, without a basis, or when a failed attempt had delivered something that nobody counted.
    """
    if record.outcome is Outcome.INDETERMINATE:
        return UNPRICED
    if record.outcome is Outcome.FAILED and record.token_usage.total == 0 and record.first_token_ms is None:
        return FREE
    if record.usage_source is UsageSource.NONE:
        return UNPRICED
    for model in dict.fromkeys(filter(None, (record.model_served, record.model))):
        # Whoever picks a model for the caller charges for the one that it served.
        found = prices.find(record.provider, model, record.started_at, record.service_tier)
        if found is not None:
            tariff, version = found
            cost = tariff.cost(record.token_usage)
            return UNPRICED if cost is None else Price("priced", cost, version)
    return UNPRICED
