"""An OpenTelemetry collector on loopback: accepts spans over OTLP/HTTP in protobuf and keeps them for inspection.

It keeps the bytes of every export as well, since what must not be exported may stand where nobody thinks to look.
"""

import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.support.waiting import until

PROTOBUF = "application/x-protobuf"
TRACES_PATH = "/v1/traces"
_GZIP = 31
"""zlib's window bits for a gzip header."""

_POLL_SECONDS = 0.02
"""How often the server looks whether it is to stop; the library's half second would be added to every test."""

Attribute = str | bool | int | float | None
"""Attributes of other types are None: nothing of ours sends them."""


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """One span as exported; ids are in hex, `kind` and `failed` use the specification's terms."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_span_id: str
    """Empty for the root of a trace."""
    failed: bool
    status_message: str
    attributes: Mapping[str, Attribute]
    events: tuple[str, ...]


@dataclass
class OtlpCollector:
    """The running collector."""

    endpoint: str
    """What OTEL_EXPORTER_OTLP_ENDPOINT is set to."""
    exports: list[bytes] = field(default_factory=list)
    """The heads and inflated bodies of all requests, readable or not."""
    spans: list[ReceivedSpan] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        """Return settings that make a process export here soon after each span."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}

    def trace(self, trace_id: str) -> list[ReceivedSpan]:
        """Return the spans of one trace so far, parents before their children."""
        found = [span for span in list(self.spans) if span.trace_id == trace_id]
        parents = {span.span_id: span.parent_span_id for span in found}

        def depth(span_id: str) -> int:
            return 1 + depth(parents[span_id]) if span_id in parents else 0

        return sorted(found, key=lambda span: depth(span.span_id))

    def until_trace(self, trace_id: str, count: int) -> list[ReceivedSpan]:
        """Wait until a trace has `count` spans. Return them."""

        def whole() -> list[ReceivedSpan] | None:
            found = self.trace(trace_id)
            return found if len(found) >= count else None

        return until(f"{count} spans of {trace_id}", whole)

    def take(self, head: bytes, body: bytes) -> int:
        """Record one request. Return the HTTP status to answer with."""
        self.exports.append(head + b"\n" + body)
        request = ExportTraceServiceRequest()
        try:
            request.ParseFromString(body)
        except DecodeError:
            return 400
        self.spans += _spans_of(request)
        return 200


@contextmanager
def running_collector() -> Iterator[OtlpCollector]:
    """Collect on a free loopback port until the block ends."""
    collector = OtlpCollector("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if self.headers.get("content-encoding") == "gzip":
                body = zlib.decompress(body, _GZIP)
            known = self.path == TRACES_PATH and self.headers.get("content-type") == PROTOBUF
            status = collector.take(f"{self.requestline}\n{self.headers}".encode(), body) if known else 404
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(status)
            self.send_header("content-type", PROTOBUF)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Keep standard error silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(
            target=server.serve_forever, args=(_POLL_SECONDS,), name="otlp collector", daemon=True
        )
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join(10)


def _spans_of(request: ExportTraceServiceRequest) -> Iterator[ReceivedSpan]:
    for resource in request.resource_spans:
        service = str(_attributes(resource.resource.attributes).get("service.name", ""))
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield _received(service, span)


def _received(service: str, span: Span) -> ReceivedSpan:
    return ReceivedSpan(
        service=service,
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_span_id=span.parent_span_id.hex(),
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        status_message=span.status.message,
        attributes=_attributes(span.attributes),
        events=tuple(event.name for event in span.events),
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Attribute]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Attribute:
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "int_value":
            return value.int_value
        case "double_value":
            return value.double_value
    return None
