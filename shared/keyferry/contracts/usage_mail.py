"""Scheduled reports of usage by e-mail: each day, week or month of a time zone, with the figures of a breakdown. Pure."""

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, StrictBool, model_validator
from pydantic_core import PydanticCustomError

from keyferry.contracts.analytics import Dimension
from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, Operation, TenantId
from keyferry.contracts.notification_channels import ChannelId, TimeOfDay
from keyferry.contracts.text import Explanation, Moment, Ordinal, Refusing, printable
from keyferry.contracts.zone import ZoneName

MAX_REPORTS = 50
"""Most scheduled reports of one tenant."""
REPORTED_DIMENSIONS = frozenset(
    {Dimension.TEAM, Dimension.MEMBER, Dimension.MODEL, Dimension.TAG, Dimension.PROVIDER, Dimension.CLIENT_TOKEN}
)

ReportId = Annotated[str, Refusing(64, 5, pattern=r"^rep_[a-z0-9]+$", form="rep_ and a-z 0-9")]
ReportName = Annotated[str, Refusing(100, no_key=True, visible=True)]
ReportText = Annotated[str, AfterValidator(printable), Field(max_length=1_000_000)]
"""A part of a mail, which keeps its line breaks; other characters that no mail should have are replaced."""


class ReportFrequency(StrEnum):
    """What a report covers: the day, week or month of its zone that ended last."""

    DAILY = "daily"
    WEEKLY = "weekly"
    """From Monday to Sunday."""
    MONTHLY = "monthly"


def _check_dimension(dimension: Dimension) -> Dimension:
    if dimension not in REPORTED_DIMENSIONS:
        raise PydanticCustomError("by", f"a report is by {', '.join(sorted(REPORTED_DIMENSIONS))}")
    return dimension


class ReportTerms(Message):
    """What is reported, when, and to whom."""

    tenant: TenantId
    name: ReportName
    frequency: ReportFrequency
    weekday: Annotated[int, Field(strict=True, ge=1, le=7)] = 1
    """Of a weekly report: the day on which it is sent, from Monday (1) to Sunday (7)."""
    day: Annotated[int, Field(strict=True, ge=1, le=31)] = 1
    """Of a monthly report: the day on which it is sent; in a month that has no such day, the last one."""
    at: TimeOfDay = "07:00"
    """The time of day. One that the change to summer time skips is an hour later; of one that occurs twice it is the first."""
    time_zone: ZoneName | None = None
    """Null for the tenant's time zone."""
    by: Annotated[Dimension, AfterValidator(_check_dimension)] = Dimension.MODEL
    tag: Operation | None = None
    """The name of the tag if `by` is `tag`."""
    channel_id: ChannelId
    """The e-mail channel that it is sent by."""
    enabled: StrictBool = True

    @model_validator(mode="after")
    def _require_tag(self) -> "ReportTerms":
        if (self.by is Dimension.TAG) != (self.tag is not None):
            raise PydanticCustomError("tag", "name the `tag` of a report by tag, and of no other")
        return self


class SaveReport(ReportTerms, Command):
    """Add a scheduled report, or replace all terms of one."""

    report_id: ReportId | None = None
    """The report to replace; null adds one."""
    expected_revision: Ordinal | None = None
    """Refuse unless this is the revision that is saved. Null does not look."""
    actor: Actor = "operator"
    """Who does it, for the audit."""


class ReportRunState(StrEnum):
    """What became of the report of one period."""

    SENDING = "sending"
    """It is computed and sent now, or is tried again."""
    SENT = "sent"
    """The mail server took it."""
    UNCERTAIN = "uncertain"
    """The process or the connection ended after the mail was handed over: it may have been sent, and is not sent again."""
    FAILED = "failed"
    """It could not be sent until the next one was due."""


class ReportRun(Message):
    """The report of one period."""

    period_start: Moment
    period_end: Moment
    """Exclusive."""
    state: ReportRunState
    at: Moment
    """When its state changed."""
    detail: Explanation | None = None


class ScheduledReport(ReportTerms):
    """A scheduled report as it is stored."""

    report_id: ReportId
    revision: Ordinal
    """Grows with each change."""
    created_at: Moment
    next_at: Moment | None = None
    """When it is sent next; null if it is not enabled."""
    last_run: ReportRun | None = None


class ListReports(Command):
    """Request the scheduled reports of a tenant, or one of them."""

    tenant: TenantId
    report_id: ReportId | None = None
    """Null for all."""


class ScheduledReports(Message):
    """The scheduled reports of a tenant, in the order in which they were added."""

    tenant: TenantId
    reports: list[ScheduledReport]


class RemoveReport(Command):
    """Remove a scheduled report."""

    tenant: TenantId
    report_id: ReportId
    actor: Actor = "operator"
    """Who does it, for the audit."""


class ReportRemoved(Message):
    """The scheduled report that was removed."""

    report: ScheduledReport


class PreviewReport(Command):
    """Request the mail of the period that ended last, without sending it."""

    tenant: TenantId
    report_id: ReportId


class SendReport(Command):
    """Send the report of the period that ended last now, besides its schedule."""

    tenant: TenantId
    report_id: ReportId
    actor: Actor = "operator"
    """Who does it, for the audit."""


class ReportMail(Message):
    """A report as it is mailed."""

    report_id: ReportId
    period_start: Moment
    period_end: Moment
    subject: Explanation
    text: ReportText
    html: ReportText
    csv: ReportText
    sent: bool
    """Whether it was sent, and not only made."""
