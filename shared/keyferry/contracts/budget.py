"""Budgets: limits of a tenant's spending by scope and window of time, and how much of each is spent.

Each budget counts alone: an attempt counts in every budget that it matches, and one scope may have several windows. Pure.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, Strict, StrictBool, model_validator
from pydantic_core import PydanticCustomError

from keyferry.contracts.credit import MICRO, AccountName
from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, TenantId
from keyferry.contracts.money import Usd
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.text import Count, Moment, Ordinal, Refusing
from keyferry.contracts.zone import ZoneName

MAX_BUDGETS = 100
"""Most budgets of one tenant."""
MAX_LIMIT_MICRO_USD = 10**15
"""A billion dollars."""
MAX_ROLLING_HOURS = 366 * 24
MAX_THRESHOLDS = 10
MAX_THRESHOLD_PERCENT = 1000
USUAL_THRESHOLDS = (80, 100)

BudgetId = Annotated[str, Refusing(64, 5, pattern=r"^bud_[a-z0-9]+$", form="bud_ and a-z 0-9")]
BudgetValue = Annotated[
    str, Refusing(200, pattern=r"^[\x21-\x7e]+$", form="printable ASCII without spaces", no_key=True)
]
"""Whose spending is limited: the name of a team or a member, or of a model, or the id of a client token or a provider key."""
BudgetName = Annotated[str, Refusing(100, no_key=True, visible=True)]
LimitMicroUsd = Annotated[int, Strict(), Field(ge=1, le=MAX_LIMIT_MICRO_USD)]


def limit_in_micro_usd(limit: Decimal) -> int:
    """Return a limit in micro-dollars. Raises ValueError if it is no whole number of them, or out of bounds."""
    micro_usd = limit * MICRO
    if micro_usd != micro_usd.to_integral_value() or not 1 <= micro_usd <= MAX_LIMIT_MICRO_USD:
        raise ValueError("a limit is above 0 and at most 1000000000 dollars, with at most six decimal places")
    return int(micro_usd)


def _check_limit(limit: Decimal) -> Decimal:
    limit_in_micro_usd(limit)
    return limit


LimitUsd = Annotated[Usd, AfterValidator(_check_limit)]
"""A limit in dollars, as text."""
ThresholdPercent = Annotated[int, Strict(), Field(ge=1, le=MAX_THRESHOLD_PERCENT)]


def _sort_thresholds(thresholds: list[int]) -> list[int]:
    return sorted(set(thresholds))


Thresholds = Annotated[list[ThresholdPercent], Field(max_length=MAX_THRESHOLDS), AfterValidator(_sort_thresholds)]


class BudgetScope(StrEnum):
    """What a budget counts of its tenant's attempts."""

    TENANT = "tenant"
    """All of them."""
    TEAM = "team"
    MEMBER = "member"
    CLIENT_TOKEN = "client_token"  # noqa: S105 - the name of a scope, not a token
    KEY = "key"
    """Those with one provider key."""
    MODEL = "model"
    """Those of one model: `gpt-4o` at every provider that names it so, `openai/gpt-4o` at one."""


def check_value(scope: BudgetScope, value: str | None) -> None:
    """Check that a scope has a value unless it is the tenant's. Raises PydanticCustomError."""
    if (scope is BudgetScope.TENANT) != (value is None):
        raise PydanticCustomError("value", "every scope but `tenant` needs a `value`, and `tenant` has none")


class CalendarPeriod(StrEnum):
    """A period of the calendar in some time zone. Weeks begin on Mondays."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class BudgetWindow(Message):
    """The time in which spending is counted: a period of the calendar, or the last hours."""

    # An unknown field may say that another time is meant: whose budget that is may spend nothing until it can be read.
    model_config = ConfigDict(extra="forbid")

    calendar: CalendarPeriod | None = None
    time_zone: ZoneName = "UTC"
    """Where the period's days begin."""
    rolling_hours: Annotated[int, Strict(), Field(ge=1, le=MAX_ROLLING_HOURS)] | None = None
    """Counted by whole hours: what was spent in an hour counts until all of that hour is so long ago."""

    @model_validator(mode="after")
    def _require_one_kind(self) -> "BudgetWindow":
        if (self.calendar is None) == (self.rolling_hours is None):
            raise PydanticCustomError("window", "give either `calendar` or `rolling_hours`")
        if self.rolling_hours is not None and self.time_zone != "UTC":
            raise PydanticCustomError("window", "the last hours are the same in every time zone: leave out `time_zone`")
        return self


class BudgetTerms(Message):
    """What a budget counts, and how much may be spent."""

    tenant: TenantId
    name: BudgetName | None = None
    """For people."""
    scope: BudgetScope
    value: BudgetValue | None = None
    """Whose spending it is; null for the tenant's."""
    window: BudgetWindow
    limit_micro_usd: LimitMicroUsd
    hard: StrictBool = True
    """Whether requests that do not fit are refused. If not, the budget only shows what is spent."""
    thresholds: Thresholds = Field(default=list(USUAL_THRESHOLDS))
    """Percents of the limit at which the state says that they are passed."""
    enabled: StrictBool = True
    """If not, nothing is refused; spending is counted all the same."""

    @model_validator(mode="after")
    def _require_value(self) -> "BudgetTerms":
        check_value(self.scope, self.value)
        if self.tenant == PLATFORM_TENANT:
            raise PydanticCustomError("tenant", "the platform has no budgets: name a tenant")
        return self


class SaveBudget(BudgetTerms, Command):
    """Add a budget, or replace all terms of one. Unknown fields are rejected."""

    model_config = ConfigDict(extra="forbid")

    budget_id: BudgetId | None = None
    """The budget to replace, whose scope and window stay as they are; null adds one."""
    expected_revision: Ordinal | None = None
    """Refuse unless this is the revision that is saved. Null does not look."""
    actor: Actor = "operator"
    """Who does it, for the audit."""


class Budget(BudgetTerms):
    """A budget as it is stored, and its entry in the view."""

    budget_id: BudgetId
    revision: Ordinal
    """Grows with each change."""
    created_at: Moment


class RemoveBudget(Command):
    """Remove a budget: it refuses and counts nothing any more."""

    tenant: TenantId
    budget_id: BudgetId
    actor: Actor = "operator"
    """Who does it, for the audit."""


class BudgetRemoved(Message):
    """The budget that was removed."""

    budget: Budget


class ListBudgets(Command):
    """Request the budgets of a tenant and their states, or one of them."""

    tenant: TenantId
    budget_id: BudgetId | None = None
    """Null for all."""


class ProjectedSpend(Message):
    """What will have been spent at the end of the window, if it goes on as before: probably between these amounts."""

    low_micro_usd: Count
    likely_micro_usd: Count
    high_micro_usd: Count
    basis_hours: Count
    """How many hours of spending it is computed from."""


class BudgetState(Message):
    """A budget and what is spent of it in its current window."""

    budget: Budget
    account: AccountName
    """The account of the ledger that enforces the current window."""
    window_start: Moment
    """The first moment that is counted."""
    resets_at: Moment | None = None
    """The end of the calendar's period; null for a rolling window, out of which spending falls hour by hour."""
    spent_micro_usd: Count
    held_micro_usd: Count
    """Set aside for attempts that have not ended, or that routers keep ready for some."""
    left_micro_usd: Count
    percent: Count
    """Of the limit that is spent, rounded down."""
    thresholds_passed: list[ThresholdPercent]
    """Those of the budget's thresholds that spending has reached."""
    exhausted: bool
    """Whether nothing is left. If the budget is hard, requests that cost anything are refused."""
    attempts: Count
    """How many attempts are counted."""
    unpriced: Count
    """Attempts whose spending is unknown: they are not in `spent_micro_usd`."""
    projected: ProjectedSpend | None = None
    """Null for a rolling window, and until there is something to go by."""


class Budgets(Message):
    """The budgets of a tenant, in the order in which they were added."""

    tenant: TenantId
    as_of: Moment
    budgets: list[BudgetState]
