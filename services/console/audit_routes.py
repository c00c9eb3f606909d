"""Routes of the audit log: pages, the export, and the verification."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Query
from fastapi.responses import StreamingResponse

from keyferry.contracts.audit import AuditEntry, AuditVerification, ListAudit, VerifyAudit
from keyferry.contracts.audit_rows import audit_csv, audit_csv_head, audit_end_line, audit_json_lines
from keyferry.contracts.membership import ListMembers
from keyferry.contracts.membership_management import MEMBER_LIST
from keyferry.contracts.topology import AUDIT_LIST, AUDIT_VERIFY
from keyferry.runtime.http.problem import HttpProblem
from services.console.access import RouteSpec
from services.console.audit_views import AuditPage, names_of, names_people, show
from services.console.bodies import AuditExportQuery, AuditPaging, VerifyQuery
from services.console.negotiation import EXPORT_MEDIA_TYPES, EXPORT_PLAIN_TYPES
from services.console.request_export import ExportStopped
from services.console.service_client import SUMMARY_SECONDS, WHOLE_AUDIT_SECONDS, ServiceClient
from services.console.tenant_context import CurrentTenant

_PAGE = 500
_NAMES_SECONDS = 1.0
"""Without names the log is shown all the same."""


class AuditRoutes:
    """The routes under `/audit`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        return (
            RouteSpec("GET", "/audit", "list_audit", self.list_),
            RouteSpec("GET", "/audit/export", "export_audit", self.export, media_types=EXPORT_PLAIN_TYPES),
            RouteSpec("GET", "/audit/verify", "verify_audit", self.verify),
        )

    async def list_(self, context: CurrentTenant, query: Annotated[AuditPaging, Query()]) -> AuditPage:
        """List who did what, from where, and what it changed, newest first."""
        before = None if query.after is None else int(query.after)
        entries = await self._read(query.to_command(context.tenant, before=before, limit=query.limit))
        more = len(entries) == query.limit and entries[-1].position > 1
        names = await self._names_in(context.tenant, entries)
        return AuditPage(
            data=[show(entry, names) for entry in entries], next=str(entries[-1].position) if more else None
        )

    async def export(self, context: CurrentTenant, query: Annotated[AuditExportQuery, Query()]) -> StreamingResponse:
        """Stream every entry that matches as CSV or JSON lines, newest first.

        JSON lines end with a line that has `end`, or `error` if the rest could not be read. A CSV file that could not be
        completed ends with its connection, without the end that HTTP gives a complete response.
        """
        command = query.to_command(context.tenant, before=None, limit=_PAGE)
        first = await self._read(command)
        headers = {"content-disposition": f'attachment; filename="audit-{context.tenant}.{query.format}"'}
        chunks = self._chunks(command, first, as_csv=query.format == "csv")
        return StreamingResponse(chunks, media_type=EXPORT_MEDIA_TYPES[query.format], headers=headers)

    async def verify(self, context: CurrentTenant, query: Annotated[VerifyQuery, Query()]) -> AuditVerification:
        """Verify the tenant's chain: `faults` is empty if no entry was changed, removed, reordered or cut off."""
        command = VerifyAudit(tenant=context.tenant, incremental=not query.full)
        return await self._services.read(AUDIT_VERIFY, command, timeout_seconds=WHOLE_AUDIT_SECONDS)

    async def _names_in(self, tenant: str, entries: list[AuditEntry]) -> dict[str, str]:
        """Return the names of the people in a page by their ids; none while the directory does not answer."""
        if not names_people(entries):
            return {}
        question = ListMembers(tenant=tenant)
        try:
            return names_of((await self._services.read(MEMBER_LIST, question, timeout_seconds=_NAMES_SECONDS)).members)
        except HttpProblem:
            return {}

    async def _read(self, command: ListAudit) -> list[AuditEntry]:
        return (await self._services.read(AUDIT_LIST, command, timeout_seconds=SUMMARY_SECONDS)).entries

    async def _chunks(self, command: ListAudit, entries: list[AuditEntry], *, as_csv: bool) -> AsyncIterator[bytes]:
        """Yield the file, page after page, so that memory stays the same however long it is. Raises ExportStopped."""
        if as_csv:
            yield audit_csv_head().encode()
        count = 0
        while entries:
            count += len(entries)
            yield (audit_csv(entries) if as_csv else audit_json_lines(entries)).encode()
            if len(entries) < command.limit or entries[-1].position == 1:
                break
            try:
                entries = await self._read(command.model_copy(update={"before": entries[-1].position}))
            except HttpProblem as problem:
                if as_csv:
                    raise ExportStopped(problem.message) from None
                yield audit_end_line(count, problem.message).encode()
                return
        if not as_csv:
            yield audit_end_line(count).encode()
