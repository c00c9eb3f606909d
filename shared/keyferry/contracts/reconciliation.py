"""Comparing what a provider says was used with what the ledger has recorded, by day and model.

Days are those of providers: from midnight to midnight UTC. Costs are exact dollars; what the ledger does not know is null, and
never 0. Pure.
"""

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, Strict, StrictBool, model_validator
from pydantic_core import PydanticCustomError

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, KeyId, ProviderName, TenantId
from keyferry.contracts.money import Usd
from keyferry.contracts.text import BIGINT_MAX, Count, Explanation, Identifier, Line, Moment, Refusing, Reported
from keyferry.contracts.usage import LedgerRow, TokenUsage, UsageSource

RECONCILIATION = "rcn"
MAX_DAYS = 92
MAX_CSV_CHARACTERS = 200_000
"""The management API takes bodies of 256 KiB."""
MAX_CSV_LINES = 5000
MAX_ROWS = 2000
"""Of one report; what is beyond them is added up in one row."""
MAX_PAGE = 200
MAX_ATTEMPTS = 500
"""Of one page of attempts."""

ReconciliationId = Annotated[str, Refusing(64, 5, pattern=r"^rcn_[a-z0-9]+$", form="rcn_ and a-z 0-9")]
ProviderKeyName = Annotated[
    str, Refusing(200, pattern=r"^[\x21-\x7e]+$", form="printable ASCII without spaces", no_key=True)
]
"""The provider's own id of one of its keys, as `key_…` or `apikey_…`: an id, never the key."""
UsageCsv = Annotated[
    str,
    Refusing(
        MAX_CSV_CHARACTERS, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$", form="CSV without control characters"
    ),
]
TokenDifference = Annotated[int, Field(ge=-BIGINT_MAX, le=BIGINT_MAX)]
"""Tokens that the provider counts beyond those that are recorded; negative for fewer."""
Day = Annotated[date, Field(ge=date(2020, 1, 1), lt=date(9999, 1, 1))]
"""A day in UTC."""


# --- what the ledger adds up


class SumProviderDay(Message):
    """Request what a tenant's attempts at a provider add up to on one day (UTC), with the tenant's own keys.

    For the tenant `platform` they are those of all tenants with the platform's keys.
    """

    tenant: TenantId
    provider: ProviderName
    day: Day
    key_id: KeyId | None = None
    """Only with this key."""


class ProviderDayRow(Message):
    """Attempts that agree in everything that may explain a difference."""

    model: Line
    """As sent to the provider."""
    model_served: Reported | None = None
    usage_source: UsageSource
    price_version: Line | None = None
    attempts: Count
    unreported: Count = 0
    """Of them, those that reached the provider and whose usage is not known: it may have charged for them."""
    unpriced: Count = 0
    across_midnight: Count = 0
    """Of them, those that ended on another day than they began."""
    token_usage: TokenUsage
    cost_usd: Usd | None = None
    """The sum of the known costs; null if none is known."""


class ProviderDay(Message):
    """What a day adds up to."""

    day: Day
    rows: list[ProviderDayRow]


class ListUsageAttempts(Message):
    """Request a tenant's attempts that began in a span, in the order of their ids."""

    tenant: TenantId
    since: Moment
    until: Moment
    after: Identifier | None = None
    """The last attempt of the page before."""
    limit: int = Field(default=MAX_ATTEMPTS, ge=1, le=MAX_ATTEMPTS)


class UsageAttempts(Message):
    """A page of attempts; the last one if it has fewer than were requested."""

    rows: Annotated[list[LedgerRow], Field(max_length=MAX_ATTEMPTS)]


# --- reports


class StatedBy(StrEnum):
    """Where the provider's figures come from."""

    API = "api"
    """Its usage API, with an admin key."""
    CSV = "csv"
    """A file that somebody has pasted."""
    TOTAL = "total"
    """The total of an invoice."""


class DifferenceReason(StrEnum):
    """What may explain a difference."""

    INCOMPLETE_DAY = "incomplete_day"
    """The provider still adds usage to this day."""
    UNREPORTED = "unreported"
    """Attempts whose usage is unknown: they timed out or broke off, and the provider may have charged for them."""
    ESTIMATED = "estimated"
    """Attempts whose usage is an estimate of ours."""
    ACROSS_MIDNIGHT = "across_midnight"
    """Attempts that ended on another day than they began: the provider may count them there."""
    UNPRICED = "unpriced"
    """Attempts for which Keyferry has no price."""
    PRICE = "price"
    """The tokens agree and the amounts do not: the price that Keyferry used is another one than the provider's."""
    SEVERAL_PRICES = "several_prices"
    """The price changed on that day."""
    OTHER_NAME = "other_name"
    """The provider reports the model under another name than it was called by."""
    ELSEWHERE = "elsewhere"
    """More than all attempts can explain: the key was used outside of Keyferry, or something else was charged."""
    NOT_AT_PROVIDER = "not_at_provider"
    """The provider reports less than was recorded: another account's key was used, or the report is not complete."""


class DifferenceExplanation(Message):
    """One thing that may explain a difference."""

    reason: DifferenceReason
    attempts: Count = 0
    tokens: Count = 0
    """Of those attempts, as they were recorded."""
    cost_usd: Usd | None = None
    detail: Explanation


class ReconciliationRow(Message):
    """One model on one day, or one model of a whole span if the provider's figures have no days."""

    day: date | None = None
    model: Reported | None = None
    """As the provider names it; null for a total without models."""
    called_as: list[Line] = Field(default_factory=list, max_length=20)
    """Under which names attempts called it, where these are others."""
    provider_requests: Count | None = None
    provider_prompt_tokens: Count | None = None
    provider_completion_tokens: Count | None = None
    provider_cost_usd: Usd | None = None
    attempts: Count
    prompt_tokens: Count
    completion_tokens: Count
    cost_usd: Usd | None = None
    token_difference: TokenDifference | None = None
    """The provider's tokens without ours; null if the provider states none."""
    cost_difference_usd: Usd | None = None
    """The provider's amount without ours; null if either is unknown."""
    explanations: list[DifferenceExplanation] = Field(default_factory=list)


class ReconciliationTotals(Message):
    """The sums of all rows."""

    provider_tokens: Count | None = None
    tokens: Count
    token_difference: TokenDifference | None = None
    provider_cost_usd: Usd | None = None
    cost_usd: Usd | None = None
    cost_difference_usd: Usd | None = None
    attempts: Count
    unreported: Count
    estimated: Count
    unpriced: Count


class RunReconciliation(Command):
    """Compare days of a tenant's usage with what the provider says; both days are included.

    Without `csv` and `total_usd` the provider is asked, with the tenant's admin key.
    """

    tenant: TenantId
    provider: ProviderName
    since: Day
    until: Day
    key_id: KeyId | None = None
    """Only attempts with this key of the tenant."""
    provider_key: ProviderKeyName | None = None
    """Only usage of this key, by the provider's own id of it."""
    csv: UsageCsv | None = None
    total_usd: Usd | None = None
    actor: Actor = "operator"

    @model_validator(mode="after")
    def _check_span(self) -> "RunReconciliation":
        if self.until < self.since:
            raise PydanticCustomError("until", "`until` must not be before `since`: both days are included")
        if (self.until - self.since).days >= MAX_DAYS:
            raise PydanticCustomError("until", f"at most {MAX_DAYS} days can be compared at once")
        if self.csv is not None and self.total_usd is not None:
            raise PydanticCustomError("csv", "give a CSV or a total, not both")
        if self.total_usd is not None and self.total_usd < 0:
            raise PydanticCustomError("total_usd", "the total of an invoice is not negative")
        return self


class Reconciliation(Message):
    """The report of one comparison."""

    reconciliation_id: ReconciliationId
    tenant: TenantId
    provider: ProviderName
    stated_by: StatedBy
    since: date
    until: date
    key_id: KeyId | None = None
    provider_key: ProviderKeyName | None = None
    created_at: Moment
    created_by: Actor
    days_complete: bool
    """Whether the provider adds nothing more to any of these days."""
    over_tolerance: bool = False
    """Whether the difference is larger than the tenant's tolerance for this provider."""
    totals: ReconciliationTotals
    rows: list[ReconciliationRow] = Field(default_factory=list, max_length=MAX_ROWS)
    """Empty in lists; the largest differences first."""
    more_rows: Count = 0


class ListReconciliations(Command):
    """Request a tenant's reports, newest first, without their rows."""

    tenant: TenantId
    provider: ProviderName | None = None
    after: ReconciliationId | None = None
    """Only reports before this one."""
    limit: int = Field(default=50, ge=1, le=MAX_PAGE)


class Reconciliations(Message):
    """A page of reports."""

    tenant: TenantId
    reconciliations: list[Reconciliation] = Field(max_length=MAX_PAGE)
    next: ReconciliationId | None = None


class GetReconciliation(Command):
    """Request one report with its rows."""

    tenant: TenantId
    reconciliation_id: ReconciliationId


# --- every month

DayOfMonth = Annotated[int, Strict(), Field(ge=2, le=28)]
TolerancePercent = Annotated[int, Strict(), Field(ge=0, le=100)]


class SaveReconciliationSchedule(Command):
    """Compare each month with the provider once it has ended; replaces the schedule for this provider."""

    tenant: TenantId
    provider: ProviderName
    enabled: StrictBool = True
    day_of_month: DayOfMonth = 3
    """Of the following month, at 06:00 UTC: providers still add to a day for some time."""
    tolerance_usd: Usd = Field(default=1, validate_default=True)
    tolerance_percent: TolerancePercent = 2
    """An alert is raised if the difference is above both."""
    actor: Actor = "operator"

    @model_validator(mode="after")
    def _check_tolerance(self) -> "SaveReconciliationSchedule":
        if self.tolerance_usd < 0:
            raise PydanticCustomError("tolerance_usd", "a tolerance is not negative")
        return self


class ReconciliationSchedule(Message):
    """The monthly comparison with one provider."""

    tenant: TenantId
    provider: ProviderName
    enabled: bool
    day_of_month: DayOfMonth
    tolerance_usd: Usd
    tolerance_percent: TolerancePercent
    next_run_at: Moment | None = None
    """Null while it is not enabled."""
    last_run_at: Moment | None = None
    last_reconciliation_id: ReconciliationId | None = None
    last_error: Explanation | None = None
    """Why the last run failed; it is tried again every hour."""


class RemoveReconciliationSchedule(Command):
    """End the monthly comparison with a provider."""

    tenant: TenantId
    provider: ProviderName
    actor: Actor = "operator"


class ListReconciliationSchedules(Command):
    """Request a tenant's monthly comparisons."""

    tenant: TenantId


class ReconciliationSchedules(Message):
    """A tenant's monthly comparisons, and the providers that can be asked."""

    tenant: TenantId
    schedules: list[ReconciliationSchedule]
    with_api: list[ProviderName] = Field(default_factory=list)


ADMIN_KEY_KINDS: dict[str, Literal["openai_admin_key", "anthropic_admin_key", "openrouter_management_key"]] = {
    "openai": "openai_admin_key",
    "anthropic": "anthropic_admin_key",
    "openrouter": "openrouter_management_key",
}
"""Providers that can be asked for usage, and the kind of integration secret that it takes."""
