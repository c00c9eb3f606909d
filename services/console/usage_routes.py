"""Routes for usage: totals, series, breakdowns and what is computed from them."""

from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Query, Request, Response

from keyferry.contracts.analytics import Dimension, ListTagNames, Measure, SummarizeAnalytics
from keyferry.contracts.analytics_answers import (
    AnalyticsAnswer,
    AnalyticsSummary,
    TagNames,
    UsageBreakdown,
    UsageForecast,
    UsageSavings,
    UsageSeries,
)
from keyferry.contracts.ledger_management import (
    ANALYTICS_BREAKDOWN,
    ANALYTICS_FORECAST,
    ANALYTICS_SAVINGS,
    ANALYTICS_SERIES,
    ANALYTICS_SUMMARIZE,
    ANALYTICS_TAGS,
)
from keyferry.contracts.usage_rows import breakdown_csv, series_csv
from services.console.access import RouteSpec
from services.console.negotiation import csv_response, wants_csv
from services.console.service_client import SUMMARY_SECONDS, ServiceClient
from services.console.tenant_context import CurrentTenant
from services.console.usage_queries import (
    BreakdownQuery,
    ErrorsQuery,
    ForecastQuery,
    LatencyQuery,
    RankingQuery,
    SavingsQuery,
    SeriesQuery,
    SpanQuery,
    TopModelsQuery,
)

A = TypeVar("A", bound=AnalyticsAnswer)


class UsageRoutes:
    """The routes under `/usage`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        return (
            RouteSpec("GET", "/usage/summary", "summarize_usage", self.summary),
            RouteSpec("GET", "/usage/series", "list_usage_series", self.series, answer=UsageSeries),
            RouteSpec("GET", "/usage/breakdown", "break_down_usage", self.breakdown, answer=UsageBreakdown),
            RouteSpec("GET", "/usage/top-models", "list_top_models", self.top_models, answer=UsageBreakdown),
            RouteSpec("GET", "/usage/errors", "list_usage_errors", self.errors, answer=UsageBreakdown),
            RouteSpec("GET", "/usage/latency", "list_usage_latency", self.latency, answer=UsageBreakdown),
            RouteSpec("GET", "/usage/savings", "compute_savings", self.savings),
            RouteSpec("GET", "/usage/forecast", "forecast_usage", self.forecast),
            RouteSpec("GET", "/usage/tags", "list_usage_tags", self.tags),
        )

    async def summary(self, context: CurrentTenant, query: Annotated[SpanQuery, Query()]) -> AnalyticsSummary:
        """Return the totals of a span, on own and on the platform's keys, and their change against the span before.

        A cost that is not known is in no sum: `unpriced` counts such attempts, and the sum is null if there is no known one.
        """
        command = query.to_command(SummarizeAnalytics, context.tenant)
        return await self._services.read(ANALYTICS_SUMMARIZE, command, timeout_seconds=SUMMARY_SECONDS)

    async def series(
        self, context: CurrentTenant, query: Annotated[SeriesQuery, Query()], request: Request
    ) -> UsageSeries | Response:
        """Return usage over time, in one line or in several, as JSON or CSV. Buckets begin in the zone `tz`."""
        command = query.to_series(context.tenant)
        found = await self._services.read(ANALYTICS_SERIES, command, timeout_seconds=SUMMARY_SECONDS)
        return _answer(found, series_csv, f"usage-series-{context.tenant}", query.format, request)

    async def breakdown(
        self, context: CurrentTenant, query: Annotated[BreakdownQuery, Query()], request: Request
    ) -> UsageBreakdown | Response:
        """Return usage by the values of dimensions, greatest first, as JSON or CSV. Rows and `rest` add up to `total`.

        What has no value in a dimension is a row of the kind `none`: the answer by team for a month is a whole chargeback.
        """
        more = {"sort": query.sort, "percentiles": query.percentiles is not None}
        return await self._break_down(context, query, query.by, request, "breakdown", **more)

    async def top_models(
        self, context: CurrentTenant, query: Annotated[TopModelsQuery, Query()], request: Request
    ) -> UsageBreakdown | Response:
        """Rank models by cost, or by another measure, as JSON or CSV."""
        by = [Dimension.MODEL.value]
        return await self._break_down(context, query, by, request, "top-models", sort=query.sort)

    async def errors(
        self, context: CurrentTenant, query: Annotated[ErrorsQuery, Query()], request: Request
    ) -> UsageBreakdown | Response:
        """Count attempts by class of error, most failures first, as JSON or CSV.

        Attempts without an error are the row of the kind `none`: a rate is `failed` of a row through `attempts` of `total`.
        """
        by = [Dimension.ERROR_CLASS.value, *query.by]
        return await self._break_down(context, query, by, request, "errors", sort=Measure.FAILED)

    async def latency(
        self, context: CurrentTenant, query: Annotated[LatencyQuery, Query()], request: Request
    ) -> UsageBreakdown | Response:
        """Return the percentiles of latency and of the time to the first token, by model or otherwise, as JSON or CSV.

        They are of completed attempts, or of those with the outcomes that a filter names; most attempts first.
        """
        more = {"sort": Measure.ATTEMPTS, "percentiles": True}
        return await self._break_down(context, query, query.by, request, "latency", **more)

    async def savings(self, context: CurrentTenant, query: Annotated[SavingsQuery, Query()]) -> UsageSavings:
        """Estimate what own keys saved against the platform's price, and everything against one baseline model."""
        command = query.to_savings(context.tenant)
        return await self._services.read(ANALYTICS_SAVINGS, command, timeout_seconds=SUMMARY_SECONDS)

    async def forecast(self, context: CurrentTenant, query: Annotated[ForecastQuery, Query()]) -> UsageForecast:
        """Estimate, as a range, what the month that lasts now will come to. Null amounts cannot be estimated yet."""
        command = query.to_forecast(context.tenant)
        return await self._services.read(ANALYTICS_FORECAST, command, timeout_seconds=SUMMARY_SECONDS)

    async def tags(self, context: CurrentTenant, query: Annotated[SpanQuery, Query()]) -> TagNames:
        """List the names of tags in a span, most frequent first; `by=tag:NAME` splits by one."""
        command = query.to_command(ListTagNames, context.tenant)
        return await self._services.read(ANALYTICS_TAGS, command, timeout_seconds=SUMMARY_SECONDS)

    async def _break_down(
        self, context: CurrentTenant, query: RankingQuery, by: list[str], request: Request, name: str, **more: object
    ) -> UsageBreakdown | Response:
        command = query.to_breakdown(context.tenant, by, **more)
        found = await self._services.read(ANALYTICS_BREAKDOWN, command, timeout_seconds=SUMMARY_SECONDS)
        return _answer(found, breakdown_csv, f"usage-{name}-{context.tenant}", query.format, request)


def _answer(found: A, render: Callable[[A], str], name: str, given: str | None, request: Request) -> A | Response:
    if wants_csv(given, request.headers.get("accept")):
        return csv_response(render(found), name, found.as_of, found.complete_until)
    return found
