"""Routes for scheduled reports of usage by e-mail."""

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
    ReportId,
    ReportMail,
    ReportRemoved,
    SaveReport,
    ScheduledReport,
    ScheduledReports,
    SendReport,
)
from services.console.access import RouteSpec
from services.console.notification_bodies import NewReportBody, ReportBody
from services.console.service_client import SEND_SECONDS, ServiceClient
from services.console.tenant_context import CurrentTenant


class ReportRoutes:
    """The routes under `/reports`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        base, one = "/reports", "/reports/{report_id}"
        return (
            RouteSpec("GET", base, "list_reports", self.list_),
            RouteSpec("POST", base, "add_report", self.add, status=201),
            RouteSpec("PUT", one, "change_report", self.change),
            RouteSpec("DELETE", one, "remove_report", self.remove),
            RouteSpec("GET", f"{one}/preview", "preview_report", self.preview),
            RouteSpec("POST", f"{one}/send", "send_report", self.send),
        )

    async def list_(self, context: CurrentTenant) -> ScheduledReports:
        """List a tenant's scheduled reports, in the order in which they were added."""
        return await self._services.read(REPORT_LIST, ListReports(tenant=context.tenant))

    async def add(self, context: CurrentTenant, body: NewReportBody) -> ScheduledReport:
        """Add a scheduled report."""
        command = SaveReport.model_validate({"tenant": context.tenant, "actor": context.actor, **body.model_dump()})
        return await self._services.change(REPORT_SAVE, command)

    async def change(self, context: CurrentTenant, report_id: ReportId, body: ReportBody) -> ScheduledReport:
        """Replace the terms of a scheduled report. With `revision` nothing is saved (409) if somebody else changed it."""
        terms = body.model_dump(exclude={"revision"}) | {"expected_revision": body.revision, "report_id": report_id}
        command = SaveReport.model_validate({"tenant": context.tenant, "actor": context.actor, **terms})
        return await self._services.change(REPORT_SAVE, command)

    async def remove(self, context: CurrentTenant, report_id: ReportId) -> ReportRemoved:
        """Remove a scheduled report."""
        command = RemoveReport(tenant=context.tenant, report_id=report_id, actor=context.actor)
        return await self._services.change(REPORT_REMOVE, command)

    async def preview(self, context: CurrentTenant, report_id: ReportId) -> ReportMail:
        """Return the mail of the period that ended last, without sending it."""
        command = PreviewReport(tenant=context.tenant, report_id=report_id)
        return await self._services.read(REPORT_PREVIEW, command, timeout_seconds=SEND_SECONDS)

    async def send(self, context: CurrentTenant, report_id: ReportId) -> ReportMail:
        """Send the report of the period that ended last now, besides its schedule."""
        command = SendReport(tenant=context.tenant, report_id=report_id, actor=context.actor)
        return await self._services.change(REPORT_SEND, command, timeout_seconds=SEND_SECONDS)
