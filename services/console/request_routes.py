"""Routes of the request log: pages, one request, and the export."""

from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Path as InPath
from fastapi import Query
from fastapi.responses import StreamingResponse

from keyferry.contracts.content import GetContent, RequestContent
from keyferry.contracts.content_management import CONTENT_GET
from keyferry.contracts.ledger_management import REQUEST_LIST, REQUEST_SHOW
from keyferry.contracts.request_log import MAX_PAGE, ShowRequest
from services.console.access import RouteSpec
from services.console.decision_steps import explain
from services.console.negotiation import EXPORT_MEDIA_TYPES, EXPORT_PLAIN_TYPES
from services.console.problem import not_found
from services.console.request_bodies import RequestExportQuery, RequestListQuery, RequestLogPage, RequestRecords
from services.console.request_export import PAGE_SECONDS, RequestExport
from services.console.request_timeline import build_timeline
from services.console.service_client import ServiceClient
from services.console.tenant_bodies import REQUEST_ID_PATTERN
from services.console.tenant_context import CurrentTenant

NamedRequest = Annotated[
    str,
    InPath(pattern=REQUEST_ID_PATTERN, description="The `x-request-id` of a response, which every error also has"),
]


class RequestRoutes:
    """The routes under `/requests`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes; the export comes before the route whose last part is any id."""
        return (
            RouteSpec("GET", "/requests", "list_requests", self.list_),
            RouteSpec("GET", "/requests/export", "export_requests", self.export, media_types=EXPORT_PLAIN_TYPES),
            RouteSpec("GET", "/requests/{request_id}", "get_request", self.request),
            RouteSpec("GET", "/requests/{request_id}/content", "get_request_content", self.content),
        )

    async def list_(self, context: CurrentTenant, query: Annotated[RequestListQuery, Query()]) -> RequestLogPage:
        """List requests with their attempts, newest first, also those that were refused.

        Records arrive in the ledger about a second after the request.
        """
        command = query.to_command(context.tenant, limit=query.limit, after=query.after, count=query.count is not None)
        page = await self._services.read(REQUEST_LIST, command, timeout_seconds=PAGE_SECONDS)
        return RequestLogPage(data=page.requests, next=page.next, as_of=page.as_of, total=page.total)

    async def export(self, context: CurrentTenant, query: Annotated[RequestExportQuery, Query()]) -> StreamingResponse:
        """Stream every attempt of the requests as CSV or JSON lines, and refused requests, as of two seconds ago.

        JSON lines end with a line that has `end`, or `error` if the rest could not be read. A CSV file that could not be
        completed ends with its connection, without the end that HTTP gives a complete response.
        """
        command = query.to_command(context.tenant, limit=MAX_PAGE, settled=True)
        export = RequestExport(self._services, command, ZoneInfo(query.tz), query.format)
        as_of = await export.begin()
        headers = {
            "content-disposition": f'attachment; filename="requests-{context.tenant}.{query.format}"',
            "keyferry-as-of": as_of.isoformat(),
        }
        return StreamingResponse(export.chunks(), media_type=EXPORT_MEDIA_TYPES[query.format], headers=headers)

    async def content(self, context: CurrentTenant, request_id: NamedRequest) -> RequestContent:
        """Return what is stored of a request's prompt and answer, by attempt; the audit has who read it.

        Nothing is stored unless the tenant wants it: `PUT /privacy`.
        """
        command = GetContent(tenant=context.tenant, request_id=request_id, actor=context.actor)
        return await self._services.read(CONTENT_GET, command)

    async def request(self, context: CurrentTenant, request_id: NamedRequest) -> RequestRecords:
        """Return what is recorded of a request: how it was routed and why, its attempts, their cost, and where its time went.

        Records arrive in the ledger about a second after the request.
        """
        found = await self._services.read(REQUEST_SHOW, ShowRequest(tenant=context.tenant, request_id=request_id))
        if not found.decisions and not found.attempts and found.request is None:
            raise not_found(
                "the ledger has no record of this request of the tenant: records arrive about a second after a request"
            )
        return RequestRecords(
            request_id=request_id,
            **dict(found),
            timeline=build_timeline(request_id, found.decisions, found.attempts),
            explained=[explain(decision) for decision in found.decisions],
        )
