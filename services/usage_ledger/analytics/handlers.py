"""Handlers of the queries of usage analytics. Each raises Refused."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from keyferry.contracts.analytics import (
    BreakDownUsage,
    ComputeSavings,
    ForecastUsage,
    ListSeries,
    ListTagNames,
    SummarizeAnalytics,
)
from keyferry.contracts.analytics_answers import (
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
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from services.usage_ledger.analytics.estimates import UsageEstimates
from services.usage_ledger.analytics.periods import InvalidSpan
from services.usage_ledger.analytics.reports import UsageReports
from services.usage_ledger.analytics.snapshot import QueryTooLong
from services.usage_ledger.database_outage import refuse_outages


class AnalyticsHandlers:
    """Handlers of one process."""

    def __init__(self, reports: UsageReports, estimates: UsageEstimates) -> None:
        self._reports = reports
        self._estimates = estimates

    def register(self, bus: Bus) -> None:
        """Subscribe on `bus` to the subjects of analytics."""
        bus.respond(ANALYTICS_SUMMARIZE, self.summarize)
        bus.respond(ANALYTICS_SERIES, self.list_series)
        bus.respond(ANALYTICS_BREAKDOWN, self.break_down)
        bus.respond(ANALYTICS_TAGS, self.list_tag_names)
        bus.respond(ANALYTICS_SAVINGS, self.compute_savings)
        bus.respond(ANALYTICS_FORECAST, self.forecast)

    async def summarize(self, command: SummarizeAnalytics) -> AnalyticsSummary:
        """Return the totals of a span, and their change against the span before."""
        async with refuse_errors():
            return await self._reports.summarize(command)

    async def list_series(self, command: ListSeries) -> UsageSeries:
        """Return usage over time."""
        async with refuse_errors():
            return await self._reports.list_series(command)

    async def break_down(self, command: BreakDownUsage) -> UsageBreakdown:
        """Return usage by the values of dimensions."""
        async with refuse_errors():
            return await self._reports.break_down(command)

    async def list_tag_names(self, command: ListTagNames) -> TagNames:
        """Return the names of the tags of a span."""
        async with refuse_errors():
            return await self._reports.list_tag_names(command)

    async def compute_savings(self, command: ComputeSavings) -> UsageSavings:
        """Return what own keys and the choice of models saved."""
        async with refuse_errors():
            return await self._estimates.compute_savings(command)

    async def forecast(self, command: ForecastUsage) -> UsageForecast:
        """Return what the current month will come to."""
        async with refuse_errors():
            return await self._estimates.forecast(command)


@asynccontextmanager
async def refuse_errors() -> AsyncIterator[None]:
    """Refuse what the block raises."""
    try:
        with refuse_outages():
            yield
    except InvalidSpan as error:
        raise Refused(ErrorCode.INVALID, str(error)) from None
    except QueryTooLong:
        message = "adding up this usage takes too long: choose a shorter span, or fewer filters of tags"
        raise Refused(ErrorCode.INVALID, message) from None
