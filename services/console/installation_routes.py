"""Routes for figures about all tenants together."""

from typing import Annotated

from fastapi import Query, Request, Response

from keyferry.contracts.analytics_answers import UsageBreakdown, UsageSeries
from keyferry.contracts.ledger_management import ANALYTICS_ANALYZE, ANALYTICS_BREAKDOWN, ANALYTICS_SERIES
from keyferry.contracts.operator_analytics import AnalyzeInstallation, InstallationAnalytics
from keyferry.contracts.service_levels import SERVICE_LEVEL_GET, GetServiceLevels, ServiceLevels
from keyferry.contracts.usage_rows import breakdown_csv, series_csv
from services.console.access import RouteSpec
from services.console.negotiation import csv_response, wants_csv
from services.console.service_client import SUMMARY_SECONDS, ServiceClient
from services.console.tenant_context import CurrentTenant
from services.console.usage_queries import AllSeriesQuery, AllTenantsQuery, ServiceLevelQuery, SpanOnlyQuery
from services.console.views import ServiceReports


class InstallationRoutes:
    """The routes `/ops/services`, `/ops/analytics`, `/ops/service-levels` and `/ops/usage`, which only an operator may call."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def operator_specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        return (
            RouteSpec("GET", "/services", "list_services", self.services),
            RouteSpec("GET", "/analytics", "analyze_installation", self.analyze),
            RouteSpec("GET", "/service-levels", "get_service_levels", self.service_levels),
            RouteSpec("GET", "/usage/breakdown", "break_down_all_usage", self.breakdown, answer=UsageBreakdown),
            RouteSpec("GET", "/usage/series", "list_all_usage_series", self.series, answer=UsageSeries),
        )

    async def services(self, context: CurrentTenant) -> ServiceReports:
        """List every process that answers within half a second: its version, whether it is ready, what it waits for, and figures.

        A process that is missing has not answered.
        """
        return ServiceReports(data=await self._services.collect_reports())

    async def analyze(self, context: CurrentTenant, query: Annotated[SpanOnlyQuery, Query()]) -> InstallationAnalytics:
        """Return how tenants use the gateway: whose keys, which models, first requests, errors of own keys, savings, margin.

        Tenants and keys count by the audit log and by attempts: what is older than those is not known.
        """
        command = query.to_span(AnalyzeInstallation)
        return await self._services.read(ANALYTICS_ANALYZE, command, timeout_seconds=2 * SUMMARY_SECONDS)

    async def service_levels(
        self, context: CurrentTenant, query: Annotated[ServiceLevelQuery, Query()]
    ) -> ServiceLevels:
        """Return how well the objectives of the service were met: attained level, error budget, burn rates, alerts."""
        command = GetServiceLevels(days=query.days)
        return await self._services.read(SERVICE_LEVEL_GET, command, timeout_seconds=SUMMARY_SECONDS)

    async def breakdown(
        self, context: CurrentTenant, query: Annotated[AllTenantsQuery, Query()], request: Request
    ) -> UsageBreakdown | Response:
        """Return usage of all tenants by the values of dimensions, one of which can be `tenant`, as JSON or CSV."""
        more = {"sort": query.sort, "percentiles": query.percentiles is not None}
        command = query.to_breakdown(None, query.by, **more)
        found = await self._services.read(ANALYTICS_BREAKDOWN, command, timeout_seconds=SUMMARY_SECONDS)
        if wants_csv(query.format, request.headers.get("accept")):
            return csv_response(breakdown_csv(found), "usage-breakdown", found.as_of, found.complete_until)
        return found

    async def series(
        self, context: CurrentTenant, query: Annotated[AllSeriesQuery, Query()], request: Request
    ) -> UsageSeries | Response:
        """Return usage of all tenants over time, in one line or in several, as JSON or CSV."""
        command = query.to_series(None)
        found = await self._services.read(ANALYTICS_SERIES, command, timeout_seconds=SUMMARY_SECONDS)
        if wants_csv(query.format, request.headers.get("accept")):
            return csv_response(series_csv(found), "usage-series", found.as_of, found.complete_until)
        return found
