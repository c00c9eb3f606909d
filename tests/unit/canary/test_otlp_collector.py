"""The collector against the exporter that the services use."""

import threading
import urllib.error
import urllib.request

import pytest

from keyferry.runtime.tracing.telemetry import Telemetry
from tests.support.servers.otlp_collector import PROTOBUF, TRACES_PATH, running_collector

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_span_of_the_runtime_arrives_whole(monkeypatch: pytest.MonkeyPatch, compression: str) -> None:
    with running_collector() as collector:
        settings = collector.environment() | {"OTEL_EXPORTER_OTLP_COMPRESSION": compression}
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        telemetry = Telemetry("router")
        span = telemetry.start("router.decide", PARENT)
        span.set(keyferry__attempts=2, keyferry__tenant="demo", keyferry__nothing=None)
        span.fail("rate_limit")
        span.end()
        telemetry.close()
        (received,) = collector.until_trace(PARENT.split("-")[1], 1)
    assert (received.service, received.name) == ("keyferry-router", "router.decide")
    assert (received.parent_span_id, received.span_id) == (PARENT.split("-")[2], span.traceparent.split("-")[2])
    assert received.attributes == {"keyferry.attempts": 2, "keyferry.tenant": "demo", "error.type": "rate_limit"}
    assert (received.kind, received.failed, received.status_message, received.events) == ("internal", True, "", ())
    assert b"router.decide" in collector.exports[0]


def test_an_invalid_export_is_rejected_and_kept() -> None:
    with running_collector() as collector:
        for path, status in ((TRACES_PATH, 400), ("/v1/metrics", 404)):
            request = urllib.request.Request(
                collector.endpoint + path, b"\xff\xff not protobuf", {"content-type": PROTOBUF}
            )
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=10)
            with refused.value:
                assert refused.value.code == status
    assert not collector.spans
    assert any(b"not protobuf" in export for export in collector.exports)


def test_without_an_endpoint_ids_are_propagated_and_nothing_is_exported() -> None:
    before = threading.active_count()
    for environment in ({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"}):
        telemetry = Telemetry("router", environment)
        carried, fresh = telemetry.start("x", PARENT), telemetry.start("x", "no traceparent")
        assert (carried.trace_id, carried.sampled) == (PARENT.split("-")[1], True)
        assert fresh.traceparent.startswith("00-")
        assert fresh.traceparent.endswith("-00")
        fresh.fail("server")
        fresh.end()
        telemetry.close()
    assert threading.active_count() == before, "an exporter works in a thread of its own"
