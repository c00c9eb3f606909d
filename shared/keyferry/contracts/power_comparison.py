"""What each power level would cost and bring for a tenant's own traffic of the last days. Pure."""

from typing import Annotated

from pydantic import Field

from keyferry.contracts.credit import MAX_AMOUNT, Amount
from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.ids import Operation, TenantId
from keyferry.contracts.text import Count, Explanation, Line, Moment

MAX_DAYS = 90
DAYS_OF_MONTH = 30
MAX_OPERATIONS = 20
"""Operations that are kept apart; the rest are one."""
Permille = Annotated[int, Field(ge=0, le=1000)]
Difference = Annotated[int, Field(ge=-MAX_AMOUNT, le=MAX_AMOUNT)]
Score = Annotated[int, Field(ge=0, le=100)]


class ComparePowerLevels(Command):
    """Request what a tenant's traffic of the last days would cost at each level, planned as it would be now."""

    tenant: TenantId
    days: int = Field(default=DAYS_OF_MONTH, ge=1, le=MAX_DAYS)


class TokenSpread(Message):
    """How many tokens requests have: half of them at most `median`, and nine of ten at most `p90`."""

    median: Count
    p90: Count


class ComparedOperation(Message):
    """The traffic of one operation."""

    operation: Operation | None = None
    """Null for requests without one, and for the rest."""
    rest: bool = False
    """Whether these are all operations that are not listed."""
    requests: Count
    """In the days that are compared."""
    requests_per_month: Count
    sampled: Count
    """Requests that were planned again."""
    input_tokens: TokenSpread | None = None
    """Of the prompts of the sample; null if none was completed."""
    output_tokens: TokenSpread | None = None


class ModelShare(Message):
    """A model that would answer, and of how many requests."""

    model: Line
    """`provider/model`."""
    permille: Permille


class ProjectedAmounts(Message):
    """What a month would cost, at the rate of the days that are compared."""

    spend_micro_usd: Amount
    """What counts in budgets: the charge on the platform's keys, and the provider's cost with a fee on the tenant's own."""
    charge_micro_usd: Amount
    """What the tenant's credits pay of it, before the free requests of its tier."""
    cost_micro_usd: Amount
    """What the providers take, on whosever keys."""
    unpriced_permille: Permille = 0
    """Share of the requests for whose model no price is known; they are in none of the amounts."""


class LevelOfOperation(Message):
    """One operation at one level."""

    operation: Operation | None = None
    rest: bool = False
    amounts: ProjectedAmounts
    models: list[ModelShare] = Field(default_factory=list)
    """The most frequent ones first; the shares that are missing would be refused, or are of other models."""
    refused_permille: Permille = 0
    reason: Explanation | None = None
    """Why most of the refused ones would be."""
    quality: Score | None = None
    """The average of the models' scores for what the requests are; null if none is known."""
    p95_ms: Count | None = None


class ComparedLevel(Message):
    """One level."""

    level: PowerLevel
    possible: bool
    """Whether it finds a model for an ordinary request of the tenant."""
    reason: Explanation | None = None
    """Why it is not possible."""
    model: Line | None = None
    """The model that would answer an ordinary request that asks for this level."""
    amounts: ProjectedAmounts
    difference_micro_usd: Difference
    """By how much a month's spend differs from that of the level in force; negative if it would be less."""
    changed_permille: Permille = 0
    """Share of the requests that another model would answer than at the level in force."""
    refused_permille: Permille = 0
    quality: Score | None = None
    p95_ms: Count | None = None
    """95 of 100 requests are to models of which 95 of 100 answers were complete within this time; null if that is not known."""
    operations: list[LevelOfOperation] = Field(default_factory=list)


class PowerLevelComparison(Message):
    """The levels compared on a tenant's own traffic.

    The saved level decides where a request names no model and no level itself, and by which multiplier a named model is charged.
    """

    tenant: TenantId
    current: PowerLevel
    """The level in force for the tenant as a whole."""
    since: Moment
    until: Moment
    days_seen: Count
    """Days of them since the first request, at least 1: a month is this rate times 30."""
    requests: Count
    requests_per_month: Count
    sampled: Count
    """Requests that were planned again, spread over the days."""
    actual_spend_micro_usd: Amount | None = None
    """What the traffic has counted in budgets, as a month; null if that is not known."""
    monthly_free_requests: Count = 0
    """So many requests of a month on the platform's keys cost nothing."""
    operations: list[ComparedOperation] = Field(default_factory=list)
    """Most requests first."""
    levels: list[ComparedLevel]
    """The cheapest level first."""
