"""Spans of requests that are kept for people to look at: the part of `topology` about traces.

Each process keeps the spans that it ended in memory for some seconds. Those of a trace that is worth a look (sampled at its
start, failed, slow, or served after a fallback) go to the stream TRACES, at most once and without acknowledgement: nobody's work
depends on them. The process that sees it announces the trace to all others (`TRACES_KEPT`). Import the subjects from here;
`topology` adds them to the map of the bus. Source of the model: OpenTelemetry's trace data model. Pure.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from keyferry.contracts.channels import SERVICES, AnySubject, Bucket, Role, Stream, Subject, SubjectKind, event, manage
from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import TenantId
from keyferry.contracts.text import BIGINT_MAX, Cleaned, Count, Identifier, Line, Moment, Refusing

MAX_SPANS = 512
"""Spans in one message."""
MAX_TRACE_SPANS = 2000
"""Spans of one trace in an answer; the rest is counted."""
MAX_ATTRIBUTES = 64
TRACES = Stream(name="TRACES", max_age=timedelta(hours=24), max_bytes=256 * 1024**2, synced=False, drops_oldest=True)
"""Its oldest messages make way for new ones."""

TraceId = Annotated[str, Refusing(32, 32, pattern=r"^[0-9a-f]{32}$", form="32 hex digits")]
SpanId = Annotated[str, Refusing(16, 16, pattern=r"^[0-9a-f]{16}$", form="16 hex digits")]
_NUMBER = Field(ge=-BIGINT_MAX, le=BIGINT_MAX)
AttributeValue = bool | Annotated[int, _NUMBER] | Annotated[float, _NUMBER] | Annotated[str, Cleaned(500)]
Attributes = Annotated[dict[Line, AttributeValue], Field(max_length=MAX_ATTRIBUTES)]


class SpanKind(StrEnum):
    """The role of a span's process in the operation, in OpenTelemetry's terms."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


class SpanEvent(Message):
    """A moment within a span, such as the first token."""

    name: Line
    at_unix_ns: Count
    attributes: Attributes = Field(default_factory=dict)


class SpanLink(Message):
    """Another span that this one continues without being its child, as a batch does the requests in it."""

    trace_id: TraceId
    span_id: SpanId


class SpanRecord(Message):
    """One operation of one process in a trace."""

    trace_id: TraceId
    span_id: SpanId
    parent_span_id: SpanId | None = None
    """The caller's; it may belong to a program that is not ours."""
    name: Line
    kind: SpanKind = SpanKind.INTERNAL
    service: Identifier
    """The NATS user of the process."""
    instance_id: Identifier
    start_unix_ns: Count
    end_unix_ns: Count
    error: Annotated[str, Cleaned(200)] | None = None
    """The failure class of a span that failed; never an exception's text."""
    attributes: Attributes = Field(default_factory=dict)
    events: list[SpanEvent] = Field(default_factory=list, max_length=64)
    links: list[SpanLink] = Field(default_factory=list, max_length=128)


class SpanBatch(Message):
    """Spans of one trace from one process."""

    spans: list[SpanRecord] = Field(max_length=MAX_SPANS)


class TracesKept(Message):
    """Traces whose spans every process is to store; those that end later too."""

    trace_ids: list[TraceId] = Field(max_length=1000)


class GetTrace(Command):
    """Request the stored spans of one request of a tenant, by its id or by its trace id: exactly one of them."""

    tenant: TenantId
    request_id: Identifier | None = None
    trace_id: TraceId | None = None


class TraceAbsence(StrEnum):
    """Why no span of a trace is stored."""

    NO_RECORD = "no_record"
    """The ledger has no record of such a request of the tenant, and nobody stored a span of it."""
    NO_TRACE_ID = "no_trace_id"
    """The records of the request name no trace: its sender gave none, or a malformed one."""
    EXPIRED = "expired"
    """The request is older than spans are kept."""
    PENDING = "pending"
    """The request has just been made: its spans may be on their way."""
    NOT_SAMPLED = "not_sampled"
    """The trace was not sampled, and the request neither failed nor was tried again."""
    LOST = "lost"
    """The trace was worth a look, yet no span arrived: spans are sent at most once, and some are dropped under load."""


class StoredTrace(Message):
    """The stored spans of one trace, by start."""

    tenant: TenantId
    request_id: Identifier | None = None
    """The tenant's request in this trace: the one asked for, or the first."""
    trace_id: TraceId | None = None
    """None if the ledger knows no trace of the request."""
    spans: list[SpanRecord] = Field(default_factory=list)
    omitted: Count = 0
    """How many more spans of the trace are stored, as far as they were counted."""
    absence: TraceAbsence | None = None
    """Why there are no spans; None if there are some."""
    kept_since: Moment | None = None
    """Since when all spans are stored that arrived; None if none has made way for newer ones."""


SPANS_RECORDED = event(
    "kf.v1.span.recorded.{trace}.{service}",
    SpanBatch,
    publishers=SERVICES,
    stream=TRACES.name,
    summary="Spans that a process ended, of one trace that is worth a look.",
)
TRACES_KEPT: Subject[TracesKept, None] = Subject(
    template="kf.v1.trace.kept",
    message=TracesKept,
    publishers=SERVICES,
    subscribers=SERVICES,
    kind=SubjectKind.CORE,
    summary="These traces are worth a look: each process stores the spans that it has of them.",
    fast_path=True,
)
TRACE_GET = manage(
    "kf.v1.trace.get", GetTrace, StoredTrace, Role.USAGE_LEDGER, "Return the stored spans of one request."
)

SUBJECTS: tuple[AnySubject, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Subject))
"""Every subject above, in that order."""
BUCKETS: tuple[Bucket[Any], ...] = ()
