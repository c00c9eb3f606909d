"""Routes for usage, and for the records of one request."""

from typing import Annotated

from fastapi import Path as InPath
from fastapi import Query

from keyferry.contracts.route import GetDecision
from keyferry.contracts.topology import ATTEMPT_LIST, DECISION_GET, USAGE_SUMMARIZE
from keyferry.contracts.usage import GetAttempts, SummarizeUsage, UsageRow
from services.console.access import RouteSpec
from services.console.problem import not_found
from services.console.service_client import SUMMARY_SECONDS, ServiceClient
from services.console.tenant_bodies import REQUEST_ID_PATTERN, UsageQuery
from services.console.tenant_context import CurrentTenant
from services.console.views import RequestRecords, UsagePage, paginate

NamedRequest = Annotated[
    str,
    InPath(pattern=REQUEST_ID_PATTERN, description="The `x-request-id` of a response, which every error also has"),
]


class UsageRoutes:
    """The routes `/usage/summary` and `/requests/{request_id}`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        return (
            RouteSpec("GET", "/usage/summary", "summarize_usage", self.summary),
            RouteSpec("GET", "/requests/{request_id}", "get_request", self.request),
        )

    async def summary(self, context: CurrentTenant, query: Annotated[UsageQuery, Query()]) -> UsagePage:
        """Summarize what a tenant used and what it cost: totals, and a page of the rows by provider and model."""
        command = SummarizeUsage(tenant=context.tenant, since=query.since, until=query.until)
        found = await self._services.read(USAGE_SUMMARIZE, command, timeout_seconds=SUMMARY_SECONDS)
        rows, following = paginate(found.rows, name_row, query.limit, query.after)
        return UsagePage.model_validate({**found.model_dump(), "rows": rows, "next": following})

    async def request(self, context: CurrentTenant, request_id: NamedRequest) -> RequestRecords:
        """Return what is recorded of a request: how it was routed and why, its attempts and their cost.

        Records arrive in the ledger about a second after the request.
        """
        tenant = context.tenant
        decision = await self._services.read(DECISION_GET, GetDecision(tenant=tenant, request_id=request_id))
        attempts = await self._services.read(ATTEMPT_LIST, GetAttempts(tenant=tenant, request_id=request_id))
        if decision.record is None and not attempts.rows:
            raise not_found(
                "the ledger has no record of this request of the tenant: records arrive about a second after a request"
            )
        decisions = [each for each in (decision.record, *decision.later) if each is not None]
        return RequestRecords(request_id=request_id, decisions=decisions, attempts=attempts.rows)


def name_row(row: UsageRow) -> str:
    """Return the cursor of a row."""
    return f"{row.provider}:{row.endpoint}/{row.model}" if row.endpoint else f"{row.provider}/{row.model}"
