"""Export of kept spans to a collector by OTLP over HTTP, through OpenTelemetry's SDK.

Imported only where the environment names a collector: a process that exports no spans starts a tenth of a second sooner.
"""

from collections.abc import Iterable

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from keyferry.runtime.tracing.context import parse
from keyferry.runtime.tracing.span import Span

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
"""Whatever the flag of its traceparent: what is exported is kept."""


class OtlpExporter:
    """Hands spans to the SDK's batch processor, which sends them in a thread of its own."""

    def __init__(self, service: str) -> None:
        self._resource = Resource.create({"service.name": f"keyferry-{service}", "service.namespace": "keyferry"})
        self._processor = BatchSpanProcessor(OTLPSpanExporter())

    def export(self, spans: Iterable[Span]) -> None:
        """Queue ended spans."""
        for span in spans:
            self._processor.on_end(self._convert(span))

    def close(self) -> None:
        """Send what is queued, and stop."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]

    def _convert(self, span: Span) -> ReadableSpan:
        error = {} if span.error is None else {"error.type": span.error}
        return ReadableSpan(
            name=span.name,
            context=_context(span.trace_id, span.span_id),
            parent=None if span.parent_span_id is None else _context(span.trace_id, span.parent_span_id),
            resource=self._resource,
            attributes={**span.named_attributes(), **error},
            events=[Event(name, timestamp=at_unix_ns) for name, at_unix_ns in span.events or ()],
            links=[Link(_context(linked.trace_id, linked.span_id)) for linked in map(parse, span.links) if linked],
            kind=SpanKind[span.kind.name],
            status=Status(StatusCode.UNSET if span.error is None else StatusCode.ERROR),
            start_time=span.start_unix_ns,
            end_time=span.end_unix_ns,
        )


def _context(trace_id: str, span_id: str) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=_SAMPLED)
