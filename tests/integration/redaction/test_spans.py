"""A span says that something failed and not with which words: an exception's text may hold a key."""

import contextlib

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from keyferry.contracts.secret import Secret
from keyferry.runtime.tracing.sampling import TraceOptions
from keyferry.runtime.tracing.telemetry import Telemetry
from tests.support.canary.searcher import Canary, CapturedOutput, Searcher
from tests.support.servers.otlp_collector import OtlpCollector, running_collector
from tests.support.waiting import until

KEY = "sk-canary-Zq8Xw2Lr6Tn0Vb4KdYm3Pc5Hs7"
SEARCHER = Searcher([Canary("the key", KEY, public_prefix="sk-canary-")])


def exported(collector: OtlpCollector) -> list[CapturedOutput]:
    until("a span is exported", lambda: collector.spans)
    return [CapturedOutput("otlp", "export", data) for data in collector.exports]


def test_a_failed_span_names_the_kind_of_failure_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_collector() as collector:
        for name, value in collector.environment().items():
            monkeypatch.setenv(name, value)
        telemetry = Telemetry("provider-worker", options=TraceOptions(sample_ratio=1.0))
        with contextlib.suppress(RuntimeError), telemetry.span("call") as span:
            span.set(key=str(Secret(KEY)))
            raise RuntimeError(f"401 for {KEY}")
        telemetry.close()
        emissions = exported(collector)
        (received,) = collector.spans
        assert SEARCHER.sightings(emissions) == []
        assert (received.failed, received.events, received.attributes["error.type"]) == (True, (), "RuntimeError")


def test_the_library_alone_exports_an_exceptions_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative case."""
    with running_collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
        with contextlib.suppress(RuntimeError), provider.get_tracer("plain").start_as_current_span("call"):
            raise RuntimeError(f"401 for {KEY}")
        provider.shutdown()
        assert SEARCHER.sightings(exported(collector))
