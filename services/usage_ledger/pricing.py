"""The cost of an attempt: its token usage times a list price, exactly. Without a price it is unpriced, never estimated. Pure."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Literal, NamedTuple, Protocol

from keyferry.contracts.usage import AttemptRecord, Outcome, UsageSource
from keyferry.pricing.tariff import Tariff


class Prices(Protocol):
    """The list prices in force."""

    def find_first(
        self, provider: str, models: Sequence[str], moment: datetime, service_tier: str | None = None
    ) -> tuple[Tariff, str] | None:
        """Return the first price that one of these names of a model has, and its version."""


class Price(NamedTuple):
    """The cost of an attempt and how it was determined."""

    pricing: Literal["priced", "unpriced", "free"]
    cost_usd: Decimal | None
    version: str | None
    """Version of the prices that were used, if any."""


UNPRICED = Price("unpriced", None, None)
FREE = Price("free", Decimal(0), None)


def price(record: AttemptRecord, prices: Prices) -> Price:
    """Price an attempt, whose `started_at` has a time zone.

    A failed attempt that used nothing is free. An attempt of unknown usage has no cost: after a worker's death, without a
    usage source, if a failed attempt had delivered output that was not counted, or if its counts could not be kept.
    """
    if record.outcome is Outcome.INDETERMINATE or "token_usage" in record.unkept:
        return UNPRICED
    if record.outcome is Outcome.FAILED and record.token_usage.total == 0 and record.first_token_ms is None:
        return FREE
    if record.usage_source is UsageSource.NONE:
        return UNPRICED
    # A provider that picks a model for the caller charges for the one that it served.
    names = tuple(dict.fromkeys(filter(None, (record.model_served, record.model))))
    found = prices.find_first(record.provider, names, record.started_at, record.service_tier)
    if found is None:
        return UNPRICED
    tariff, version = found
    cost = tariff.cost(record.token_usage)
    return UNPRICED if cost is None else Price("priced", cost, version)
