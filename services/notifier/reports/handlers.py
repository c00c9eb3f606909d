"""Handlers of scheduled reports. All raise Refused."""

from collections.abc import Callable
from datetime import datetime

from keyferry.contracts.notification_management import (
    REPORT_LIST,
    REPORT_PREVIEW,
    REPORT_REMOVE,
    REPORT_SAVE,
    REPORT_SEND,
)
from keyferry.contracts.usage_mail import (
    ListReports,
    PreviewReport,
    RemoveReport,
    ReportMail,
    ReportRemoved,
    SaveReport,
    ScheduledReport,
    ScheduledReports,
    SendReport,
)
from keyferry.runtime.bus.connection import Bus
from services.notifier.mail.message import Mail, page_of
from services.notifier.rejection import NotifierRefusal, refuse_failures
from services.notifier.reports.calendar import ReportPeriod
from services.notifier.reports.mail_text import csv_of
from services.notifier.reports.runner import ReportRunner
from services.notifier.reports.store import ReportStore


class ReportHandlers:
    """Answers requests about scheduled reports."""

    def __init__(self, store: ReportStore, runner: ReportRunner, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._runner = runner
        self._clock = clock

    def register(self, bus: Bus) -> None:
        """Subscribe to the requests. Call before the bus is started."""
        bus.respond(REPORT_SAVE, self.save)
        bus.respond(REPORT_LIST, self.list_)
        bus.respond(REPORT_REMOVE, self.remove)
        bus.respond(REPORT_PREVIEW, self.preview)
        bus.respond(REPORT_SEND, self.send)

    async def save(self, command: SaveReport) -> ScheduledReport:
        """Add or replace a report."""
        with refuse_failures():
            return await self._store.save(command, self._clock())

    async def list_(self, command: ListReports) -> ScheduledReports:
        """Return a tenant's reports, or one of them."""
        with refuse_failures():
            if command.report_id is None:
                found = await self._store.list(command.tenant)
            else:
                found = [await self._store.get(command.tenant, command.report_id)]
            return ScheduledReports(tenant=command.tenant, reports=found)

    async def remove(self, command: RemoveReport) -> ReportRemoved:
        """Remove a report."""
        with refuse_failures():
            return ReportRemoved(report=await self._store.remove(command.tenant, command.report_id, command.actor))

    async def preview(self, command: PreviewReport) -> ReportMail:
        """Return the mail of the period that ended last."""
        with refuse_failures():
            report = await self._store.get(command.tenant, command.report_id)
            period = self._runner.last_period(report)
            return _shown(report, period, await self._runner.make(report, period), sent=False)

    async def send(self, command: SendReport) -> ReportMail:
        """Send the report of the period that ended last."""
        with refuse_failures():
            report = await self._store.get(command.tenant, command.report_id)
            period = self._runner.last_period(report)
            mail = await self._runner.make(report, period)
            outcome = await self._runner.send(report, mail)
            if not outcome.delivered:
                raise NotifierRefusal(f"the report could not be sent: {outcome.answer}")
            return _shown(report, period, mail, sent=True)


def _shown(report: ScheduledReport, period: ReportPeriod, mail: Mail, *, sent: bool) -> ReportMail:
    return ReportMail(
        report_id=report.report_id,
        period_start=period.start,
        period_end=period.end,
        subject=mail.subject,
        text=mail.text,
        html=mail.html if mail.html is not None else page_of(mail.text),
        csv=csv_of(mail),
        sent=sent,
    )
