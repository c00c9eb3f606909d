"""The route for the compliance report of a tenant."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query

from keyferry.contracts.compliance import ComplianceReport
from keyferry.runtime.compliance_report import compliance_report, report_query
from services.console.access import RouteSpec
from services.console.charge_bodies import ComplianceQuery
from services.console.service_client import ServiceClient
from services.console.tenant_context import CurrentTenant


class ComplianceRoutes:
    """The route `/compliance`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the route."""
        return (RouteSpec("GET", "/compliance", "get_compliance", self.report),)

    async def report(self, context: CurrentTenant, query: Annotated[ComplianceQuery, Query()]) -> ComplianceReport:
        """Return who did what with the tenant's data, where it went, how it is kept, and what was deleted."""
        command = report_query(context.tenant, query.since, query.until, datetime.now(UTC))
        return await compliance_report(self._services.read, command)
