"""Routes for monthly statements."""

from typing import Annotated

from fastapi import Path

from keyferry.contracts.statement_management import STATEMENT_GET, STATEMENT_LIST
from keyferry.contracts.statements import GetStatement, ListStatements, Statement, StatementMonth, Statements
from services.console.access import RouteSpec
from services.console.service_client import SUMMARY_SECONDS, ServiceClient
from services.console.tenant_context import CurrentTenant

GivenMonth = Annotated[StatementMonth, Path(description="A month, such as 2026-11.")]


class InvoiceRoutes:
    """The routes under `/invoices`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        return (
            RouteSpec("GET", "/invoices", "list_invoices", self.list_months),
            RouteSpec("GET", "/invoices/{month}", "get_invoice", self.get),
        )

    async def list_months(self, context: CurrentTenant) -> Statements:
        """List the months that have a statement, newest first; the month that lasts is up to now."""
        command = ListStatements(tenant=context.tenant)
        return await self._services.read(STATEMENT_LIST, command, timeout_seconds=SUMMARY_SECONDS)

    async def get(self, context: CurrentTenant, month: GivenMonth) -> Statement:
        """Return the statement of a month: what happened to the credits, what was used, and what connects the two."""
        command = GetStatement(tenant=context.tenant, month=month)
        return await self._services.read(STATEMENT_GET, command, timeout_seconds=SUMMARY_SECONDS)
