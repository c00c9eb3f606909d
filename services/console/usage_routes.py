"""Routes for usage."""

from typing import Annotated

from fastapi import Query

from keyferry.contracts.topology import USAGE_SUMMARIZE
from keyferry.contracts.usage import SummarizeUsage, UsageRow
from services.console.access import RouteSpec
from services.console.service_client import SUMMARY_SECONDS, ServiceClient
from services.console.tenant_bodies import UsageQuery
from services.console.tenant_context import CurrentTenant
from services.console.views import UsagePage, paginate


class UsageRoutes:
    """The route `/usage/summary`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        return (RouteSpec("GET", "/usage/summary", "summarize_usage", self.summary),)

    async def summary(self, context: CurrentTenant, query: Annotated[UsageQuery, Query()]) -> UsagePage:
        """Summarize what a tenant used and what it cost: totals, and a page of the rows by provider and model."""
        command = SummarizeUsage(tenant=context.tenant, since=query.since, until=query.until)
        found = await self._services.read(USAGE_SUMMARIZE, command, timeout_seconds=SUMMARY_SECONDS)
        rows, following = paginate(found.rows, name_row, query.limit, query.after)
        return UsagePage.model_validate({**found.model_dump(), "rows": rows, "next": following})


def name_row(row: UsageRow) -> str:
    """Return the cursor of a row."""
    return f"{row.provider}:{row.endpoint}/{row.model}" if row.endpoint else f"{row.provider}/{row.model}"
