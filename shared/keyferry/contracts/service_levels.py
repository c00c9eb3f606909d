"""Service levels: what is promised about the service, what was measured, and how fast error budgets are spent.

The processes that answer people count good and bad events in slots of five minutes and report them to the usage ledger, which
adds them up. The words are those of the Site Reliability Workbook (Google, 2018), chapters 2 and 5: an *objective* is the least
share of good events, its *error budget* the share that may be bad, and a *burn rate* of 1 spends the budget exactly within the
period. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from keyferry.contracts.channels import AnySubject, Role, manage, request
from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.text import BIGINT_MAX, Count, Explanation, Identifier, Moment, ZonedMoment

SLOT = timedelta(minutes=5)
"""The length of a slot, within which events are only added up."""
MAX_REPORTED_COUNTS = 1000
"""In one report."""
MAX_PERIOD_DAYS = 90
"""For which counts are kept."""
PERIOD_DAYS = 30
"""The period of the objectives."""

MAX_SLOT_EVENTS = 10**9
"""Of one process: three million a second."""

PERMILLE = 1000
PER_MILLION = 1_000_000


class ServiceLevelName(StrEnum):
    """What is measured."""

    ROUTING = "routing"
    FALLBACK = "fallback"
    MANAGEMENT = "management"
    DASHBOARD = "dashboard"


@dataclass(frozen=True, slots=True)
class Objective:
    """What is promised."""

    target_permille: int
    """The least share of good events."""
    good: str
    """What a good event is, for people."""
    threshold_ms: int | None = None
    """Of objectives about latency: the longest time of a good event."""


OBJECTIVES: Mapping[ServiceLevelName, Objective] = {
    ServiceLevelName.ROUTING: Objective(
        999, "a readable request of a known caller that did not fail by a fault of the gateway itself"
    ),
    ServiceLevelName.FALLBACK: Objective(950, "a request that was answered although its first attempt had failed"),
    ServiceLevelName.MANAGEMENT: Objective(950, "a management request that was answered in time, without a fault", 100),
    ServiceLevelName.DASHBOARD: Objective(
        950, "a request for usage figures that was answered in time, without a fault", 500
    ),
}
"""Lists every level. A p95 under 100 ms means that at least 950 of 1000 requests take at most that."""


class Severity(StrEnum):
    """How soon a person has to act."""

    PAGE = "page"
    """Now, at night as well."""
    TICKET = "ticket"
    """Within working days."""


@dataclass(frozen=True, slots=True)
class BurnRule:
    """An alert: the budget is spent at least `rate` times too fast in both windows.

    The short window ends the alert soon after the cause is gone.
    """

    severity: Severity
    rate_permille: int
    long: timedelta
    short: timedelta


BURN_RULES = (
    BurnRule(Severity.PAGE, 14_400, timedelta(hours=1), timedelta(minutes=5)),
    BurnRule(Severity.PAGE, 6_000, timedelta(hours=6), timedelta(minutes=30)),
    BurnRule(Severity.TICKET, 3_000, timedelta(days=1), timedelta(hours=2)),
    BurnRule(Severity.TICKET, 1_000, timedelta(days=3), timedelta(hours=6)),
)
"""Those of the Site Reliability Workbook, table 5-8: 2 % of a month's budget in an hour, 5 % in six, 10 % in one or three days.
"""
WINDOWS = tuple(sorted({window for rule in BURN_RULES for window in (rule.long, rule.short)}))
"""Every window, the shortest first."""


SlotEvents = Annotated[int, Field(strict=True, ge=0, le=MAX_SLOT_EVENTS)]


class SlotCount(Message):
    """What one process counted of one level in one slot, up to now; a later report of the slot has at least as much."""

    level: Identifier
    """A name that the reader does not know is ignored: a newer build may measure more."""
    slot: ZonedMoment
    """Its start, in UTC."""
    good: SlotEvents
    bad: SlotEvents


class ReportServiceLevels(Message):
    """A process of a service reports its counts, those of slots before included until they are recorded."""

    instance_id: Identifier
    service: Identifier
    counts: Annotated[list[SlotCount], Field(max_length=MAX_REPORTED_COUNTS)]


class ServiceLevelsRecorded(Message):
    """The counts are committed."""

    recorded: Count
    """Fewer than reported if some were of unknown levels, too old, or in the future."""


class GetServiceLevels(Command):
    """Request how well the objectives were met."""

    days: Annotated[int, Field(strict=True, ge=1, le=MAX_PERIOD_DAYS)] = PERIOD_DAYS


class WindowBurn(Message):
    """How fast an error budget was spent in the window that ends now."""

    minutes: Count
    good: Count
    bad: Count
    burn_permille: Count
    """1000 spends the budget exactly within the period. 0 without events."""


BudgetLeft = Annotated[int, Field(strict=True, ge=-BIGINT_MAX, le=PERMILLE)]


class ServiceLevel(Message):
    """An objective, and what was measured in the period."""

    name: Identifier
    good_means: Explanation
    target_permille: Count
    threshold_ms: Count | None = None
    good: Count
    bad: Count
    attained_ppm: Count | None = None
    """Good events per million, rounded down; null without events."""
    met: bool | None = None
    """Null without events."""
    budget_left_permille: BudgetLeft | None = None
    """Of the error budget of the period's events; negative if more is spent than there was; null without events."""
    windows: list[WindowBurn]
    alert: Severity | None = None
    """The most urgent alert that the burn rates raise now."""


class ServiceLevels(Message):
    """All objectives."""

    as_of: Moment
    days: Count
    since: Moment
    measured_since: Moment | None = None
    """The first slot with an event; null if there is none in the period."""
    levels: list[ServiceLevel]


def slot_of(moment: datetime) -> datetime:
    """Return the start of the slot of a moment."""
    moment = moment.astimezone(UTC).replace(second=0, microsecond=0)
    return moment - timedelta(minutes=moment.minute % (SLOT.seconds // 60))


_LEDGER = Role.USAGE_LEDGER

SERVICE_LEVEL_REPORT = request(
    "kf.v1.service_level.report",
    ReportServiceLevels,
    ServiceLevelsRecorded,
    publishers=(Role.INGRESS, Role.CONSOLE),
    subscribers=(_LEDGER,),
    queue=_LEDGER.value,
    summary="A process that answers people reports how many events were good and how many bad.",
)
SERVICE_LEVEL_GET = manage(
    "kf.v1.service_level.get",
    GetServiceLevels,
    ServiceLevels,
    _LEDGER,
    "Return how well the objectives of the service were met, and how fast error budgets are spent.",
)
SUBJECTS: tuple[AnySubject, ...] = (SERVICE_LEVEL_REPORT, SERVICE_LEVEL_GET)
