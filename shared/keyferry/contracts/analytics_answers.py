"""Answers of usage analytics, from the ledger's rollups. Pure."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from keyferry.contracts.analytics import BucketLength, Dimension, FilterValue
from keyferry.contracts.envelope import Message
from keyferry.contracts.ids import Operation
from keyferry.contracts.money import Usd
from keyferry.contracts.text import Count, Line, Moment
from keyferry.contracts.usage import TokenUsage

MAX_CHANGE = 10**9
Change = Annotated[int, Field(strict=True, ge=-MAX_CHANGE, le=MAX_CHANGE)]
"""A change in tenths of a percent of the earlier figure; one beyond the bounds is the bound."""


class Percentiles(Message):
    """Percentiles of durations by nearest rank, within 1 %."""

    count: Count
    p50_ms: Count
    p95_ms: Count
    p99_ms: Count


class UsageFigures(Message):
    """The sums over a set of attempts. An unknown amount is not part of a sum; it is counted."""

    requests: Count
    """Those whose first attempt is in the set."""
    attempts: Count
    completed: Count
    failed: Count
    cancelled: Count
    indeterminate: Count
    token_usage: TokenUsage
    total_tokens: Count
    cost_usd: Usd | None = None
    """The providers' known costs at list prices, on whosever keys; null if there are attempts and no cost is known."""
    unpriced: Count
    """Attempts whose cost is unknown."""
    charge_micro_usd: Count
    """What the tenant's credits paid."""
    charged: Count
    """Attempts that have a charge, which may be 0."""
    absorbed_micro_usd: Count
    """What charges would have been beyond their holds: the platform bears it."""
    spend_micro_usd: Count | None = None
    """What counts in budgets: the charge on the platform's keys, the provider's cost and a fee on own keys; null like cost."""
    spend_unknown: Count
    """Attempts of which it is not known."""
    latency: Percentiles | None = None
    """Of the completed attempts, or of those with the outcomes that the filters name."""
    first_token: Percentiles | None = None
    """The same, up to the first token of streamed answers."""


class UsageChange(Message):
    """By how much totals differ from those of the span before; null where there is nothing to compare with."""

    requests_permille: Change | None = None
    attempts_permille: Change | None = None
    tokens_permille: Change | None = None
    cost_permille: Change | None = None
    charge_permille: Change | None = None
    spend_permille: Change | None = None
    failed_permille: Change | None = None
    p95_permille: Change | None = None


class AnalyticsAnswer(Message):
    """What every answer of usage says about itself."""

    as_of: Moment
    """When the tables were read: the whole answer is of one moment."""
    tz: Line
    bucket: BucketLength
    """The length of buckets; of an answer without buckets that to which its span is rounded."""
    complete_until: Moment | None = None
    """Every attempt that began earlier is recorded, as far as the attempts' stream shows; null if that is not known now."""
    since: Moment
    until: Moment


class AnalyticsSummary(AnalyticsAnswer):
    """The totals of a span."""

    total: UsageFigures
    own_keys: UsageFigures
    """The part on the tenant's own keys and servers: key sources `byok` and `custom`."""
    platform_keys: UsageFigures
    previous_since: Moment | None = None
    """The start of the span before; it ends where it is as far along as this one. Null for `all`."""
    previous_until: Moment | None = None
    previous: UsageFigures | None = None
    change: UsageChange | None = None


class ValueKind(StrEnum):
    """What a row or line stands for."""

    VALUE = "value"
    NONE = "none"
    """Attempts without a value in the dimension."""
    OTHER = "other"
    """Values beyond the number that the ledger keeps apart of one tenant in one month."""
    REST = "rest"
    """Everything that is not in the other rows or lines."""


class DimensionValue(Message):
    """A value of a dimension."""

    dimension: Dimension
    kind: ValueKind = ValueKind.VALUE
    value: FilterValue | None = None
    """Null unless `kind` is `value`."""


class BucketSpan(Message):
    """One bucket: up to, and without, its end. The first and the last may be cut by the span."""

    start: Moment
    end: Moment


class SeriesLine(Message):
    """One line of a series."""

    key: DimensionValue | None = None
    """Null if the series is not split."""
    values_count: Count = 1
    """How many values the line stands for."""
    total: UsageFigures
    points: list[UsageFigures]
    """One for each bucket."""


class UsageSeries(AnalyticsAnswer):
    """Usage over time: lines in descending order, the rest last."""

    buckets: list[BucketSpan]
    lines: list[SeriesLine]


class BreakdownRow(Message):
    """The usage under one value, or combination of values."""

    keys: list[DimensionValue]
    figures: UsageFigures


class UsageBreakdown(AnalyticsAnswer):
    """The rows in descending order, what is left, and the total that they add up to."""

    by: list[Dimension]
    tag: Operation | None = None
    rows: list[BreakdownRow]
    rest_count: Count = 0
    """How many rows there would be besides."""
    rest: UsageFigures | None = None
    total: UsageFigures


class TagName(Message):
    """The name of a tag, and how many attempts have it."""

    name: Line | None = None
    """Null for the names beyond those that are kept apart."""
    attempts: Count


class TagNames(AnalyticsAnswer):
    """Names of tags."""

    names: list[TagName]


class UsageSavings(AnalyticsAnswer):
    """What was saved. Estimates: charges round each attempt, and a price may depend on the length of each prompt."""

    own_key_attempts: Count
    own_cost_usd: Usd | None = None
    """What the providers charged for the calls with own keys, at list prices."""
    own_fee_micro_usd: Count
    """What the platform charged for them."""
    platform_price_usd: Usd | None = None
    """What the platform would have charged for the same calls, by each attempt's tier and level; null if it is not known."""
    saved_usd: Usd | None = None
    """The platform's price minus cost and fee: a decimal number, negative if own keys were dearer."""
    uncounted: Count
    """Attempts with own keys of unknown cost; they are in none of these amounts."""
    baseline_cost_usd: Usd | None = None
    """What all attempts' tokens would have cost with the baseline model; null without a price for them."""
    baseline_saved_usd: Usd | None = None
    """That minus the known cost of the attempts that are compared."""
    baseline_attempts: Count = 0
    """Attempts that are compared: those with a known cost."""
    baseline_price_version: Line | None = None


class ForecastRange(Message):
    """What a month will come to: below `low` in about one of ten cases, above `high` in another, if days vary as before."""

    so_far_micro_usd: Count
    low_micro_usd: Count
    likely_micro_usd: Count
    high_micro_usd: Count


class UsageForecast(AnalyticsAnswer):
    """A projection of the month that `since` and `until` bound."""

    days_seen: Count
    """Whole days before today that it is computed from, at most 28; days before the first attempt are none."""
    spend: ForecastRange | None = None
    """Null if not one whole day was seen, or nothing of it is known."""
    charge: ForecastRange | None = None
    cost: ForecastRange | None = None
    unknown: Count
    """Attempts of this month whose cost is unknown; they are in none of the amounts."""
