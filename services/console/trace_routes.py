"""The route of a trace: the spans of a request as rows from left to right in time."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Path as InPath

from keyferry.contracts.text import Count
from keyferry.contracts.traces import TRACE_GET, AttributeValue, GetTrace, SpanRecord, StoredTrace, TraceAbsence
from keyferry.waterfall.rows import Waterfall, WaterfallRow, arrange
from keyferry.waterfall.words import describe_absence
from services.console.access import RouteSpec
from services.console.service_client import SUMMARY_SECONDS, ServiceClient
from services.console.tenant_bodies import REQUEST_ID_PATTERN
from services.console.tenant_context import CurrentTenant
from services.console.views import View

_TRACE_ID = re.compile(r"[0-9a-fA-F]{32}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = 1000
_LARGEST_EXACT = 2**53
"""Readers of JSON in browsers keep larger integers only roughly."""

NamedTrace = Annotated[
    str, InPath(pattern=REQUEST_ID_PATTERN, description="A request id, `req_…`, or a trace id of 32 hex digits")
]
ShownValue = bool | int | float | str


class SpanMoment(View):
    """A moment within a span, such as the first token."""

    name: str
    offset_us: Count
    """From the begin of the trace."""
    attributes: dict[str, ShownValue]


class SpanRow(View):
    """One operation of one process, below the one that called it. Times are microseconds."""

    span_id: str
    parent_span_id: str | None
    depth: Count
    """How many spans it is below."""
    orphan: bool
    """Whether it has a parent that is not shown, such as the caller's own span."""
    name: str
    kind: str
    service: str
    instance_id: str
    offset_us: Count
    """From the begin of the trace."""
    duration_us: Count
    moved_us: Count
    """By how much it is shown later than its process's clock said, because that clock is slow."""
    error: str | None
    """The failure class of a span that failed."""
    attributes: dict[str, ShownValue]
    """Integers that JavaScript cannot keep are text."""
    events: list[SpanMoment]


class TraceAbsent(View):
    """Why there are no spans."""

    reason: TraceAbsence
    what: str
    detail: str
    """What to do, or to know."""
    kept_since: datetime | None
    """Since when all spans are stored that arrived; null if none has made way for newer ones."""


class TraceView(View):
    """The stored spans of a request, or of a trace as far as they are the tenant's: each below its parent, by time."""

    trace_id: str | None
    request_id: str | None
    """The request that was asked for, or the tenant's first one in the trace."""
    began_at: datetime | None
    duration_us: Count
    rows: list[SpanRow]
    omitted: Count
    """How many more spans of the trace are stored, as far as they were counted."""
    absent: TraceAbsent | None
    """Why there are none; null if there are some."""


class TraceRoutes:
    """The route under `/traces`."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> Sequence[RouteSpec]:
        """Return the route."""
        return (RouteSpec("GET", "/traces/{trace}", "get_trace", self.trace),)

    async def trace(self, context: CurrentTenant, trace: NamedTrace) -> TraceView:
        """Return the spans of a request by its id, or those of the tenant in a trace by the trace's id.

        Spans are kept for a day at most, and only of traces that were sampled, and of requests that failed, were cancelled, took
        long or were served after a fallback. If none is stored, `absent` says why.
        """
        by_trace = _TRACE_ID.fullmatch(trace) is not None
        question = (
            GetTrace(tenant=context.tenant, trace_id=trace.lower())
            if by_trace
            else GetTrace(tenant=context.tenant, request_id=trace)
        )
        return to_view(await self._services.read(TRACE_GET, question, timeout_seconds=SUMMARY_SECONDS))


def to_view(stored: StoredTrace) -> TraceView:
    """Return the body for a trace."""
    waterfall = arrange(stored.spans)
    return TraceView(
        trace_id=stored.trace_id,
        request_id=stored.request_id,
        began_at=_to_time(waterfall),
        duration_us=waterfall.duration_ns // _MICROSECOND,
        rows=[_to_row(row) for row in waterfall.rows],
        omitted=stored.omitted,
        absent=None if stored.absence is None else _to_absent(stored.absence, stored.kept_since),
    )


def _to_time(waterfall: Waterfall) -> datetime | None:
    if not waterfall.rows:
        return None
    return _EPOCH + timedelta(microseconds=waterfall.began_unix_ns // _MICROSECOND)


def _to_absent(absence: TraceAbsence, kept_since: datetime | None) -> TraceAbsent:
    what, detail = describe_absence(absence, kept_since)
    return TraceAbsent(reason=absence, what=what, detail=detail, kept_since=kept_since)


def _to_row(row: WaterfallRow) -> SpanRow:
    span = row.span
    return SpanRow(
        span_id=span.span_id,
        parent_span_id=span.parent_span_id,
        depth=row.depth,
        orphan=row.orphan,
        name=span.name,
        kind=span.kind,
        service=span.service,
        instance_id=span.instance_id,
        offset_us=row.offset_ns // _MICROSECOND,
        duration_us=row.duration_ns // _MICROSECOND,
        moved_us=row.moved_ns // _MICROSECOND,
        error=span.error,
        attributes=_to_shown(span.attributes),
        events=_to_moments(span, row.offset_ns),
    )


def _to_moments(span: SpanRecord, offset_ns: int) -> list[SpanMoment]:
    return [
        SpanMoment(
            name=event.name,
            offset_us=(offset_ns + max(event.at_unix_ns - span.start_unix_ns, 0)) // _MICROSECOND,
            attributes=_to_shown(event.attributes),
        )
        for event in span.events
    ]


def _to_shown(attributes: Mapping[str, AttributeValue]) -> dict[str, ShownValue]:
    return {
        name: str(value) if isinstance(value, int) and abs(value) > _LARGEST_EXACT else value
        for name, value in attributes.items()
    }
