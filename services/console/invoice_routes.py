"""Routes for monthly statements."""

import asyncio
from typing import Annotated, Literal

from fastapi import Path, Query, Request, Response

from keyferry.contracts.ids import Operation
from keyferry.contracts.statement_management import STATEMENT_GET, STATEMENT_LIST
from keyferry.contracts.statements import GetStatement, ListStatements, Statement, StatementMonth, Statements
from keyferry.invoices.csv_file import statement_csv
from keyferry.invoices.words import file_name
from services.console.access import RouteSpec
from services.console.bodies import QueryParameters
from services.console.negotiation import PDF, csv_response, pdf_response, wants_csv, wants_pdf
from services.console.service_client import SUMMARY_SECONDS, ServiceClient
from services.console.tenant_context import CurrentTenant

GivenMonth = Annotated[StatementMonth, Path(description="A month, such as 2026-11.")]


class InvoiceQuery(QueryParameters):
    """How a statement is split, and in which format."""

    tag: Operation | None = None
    """The name of a tag by whose values the lines are split, too."""
    format: Literal["json", "csv", "pdf"] | None = None
    """Also by the header Accept: `text/csv` or `application/pdf`."""


class InvoiceRoutes:
    """The routes under `/invoices`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        return (
            RouteSpec("GET", "/invoices", "list_invoices", self.list_months),
            RouteSpec("GET", "/invoices/{month}", "get_invoice", self.get, answer=Statement, media_types=(PDF,)),
        )

    async def list_months(self, context: CurrentTenant) -> Statements:
        """List the months that have a statement, newest first; the month that lasts is up to now."""
        command = ListStatements(tenant=context.tenant)
        return await self._services.read(STATEMENT_LIST, command, timeout_seconds=SUMMARY_SECONDS)

    async def get(
        self, context: CurrentTenant, month: GivenMonth, query: Annotated[InvoiceQuery, Query()], request: Request
    ) -> Statement | Response:
        """Return the statement of a month as JSON, CSV or PDF: what happened to the credits, and what was used.

        The lines and each breakdown add up to `total`, and `reconciliation` leads from there to the posted charges.
        """
        command = GetStatement(tenant=context.tenant, month=month, tag=query.tag)
        found = await self._services.read(STATEMENT_GET, command, timeout_seconds=SUMMARY_SECONDS)
        about = (file_name(found), found.as_of, found.complete_until)
        accept = request.headers.get("accept")
        if wants_pdf(query.format, accept):
            return pdf_response(await asyncio.to_thread(_draw, found), *about)
        if wants_csv(query.format, accept):
            return csv_response(await asyncio.to_thread(statement_csv, found), *about)
        return found


def _draw(found: Statement) -> bytes:
    """Return the PDF; what draws it is loaded by the first one."""
    from keyferry.invoices.pdf_file import statement_pdf

    return statement_pdf(found)
