"""One request is one trace, from HTTP through every hop of the bus to the provider call and the ledger's row."""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.support.providers.upstream import (
    ProviderRequest,
    Reply,
    chunk,
    event,
    failing,
    pieces_of,
    running_upstream,
    stream_of,
)
from tests.support.servers.otlp_collector import OtlpCollector, ReceivedSpan, running_collector
from tests.support.servers.stored_spans import stored_spans
from tests.support.system.keyferry_system import KeyferrySystem, running_system
from tests.support.waiting import until

CONTENT = "a-sentence-that-no-span-repeats"
CALLER_SPAN = "b7ad6b7169203331"
INGRESS, SENDING, ROUTER, WORKER, LEDGER = (
    "POST /v1/chat/completions",
    "request.send",
    "router.decide",
    "provider_worker.attempt",
    "usage_ledger.record",
)
CALL = "chat answers"
SPANS = 6
"""Of a request that is served at once."""


def reply_by_model(request: ProviderRequest) -> Reply:
    match request.body["model"]:
        case "refuses":
            return failing(429, {"message": "too many requests", "type": "rate_limit_error"})
        case "overloads":
            return failing(503, {"message": "overloaded"})
        case "breaks":
            overloaded = event({"error": {"message": "too many requests", "type": "overloaded_error"}})
            return Reply(200, {"content-type": "text/event-stream"}, pieces_of(chunk({"content": CONTENT}), overloaded))
    return stream_of([CONTENT, "answered"])


@dataclass(frozen=True)
class Traced:
    """A system whose spans are collected."""

    system: KeyferrySystem
    collector: OtlpCollector

    def stream(self, model: str, trace_id: str) -> httpx.Response:
        """Send one streamed chat within the caller's trace."""
        return httpx.post(
            f"{self.system.http_url}/v1/chat/completions",
            json={"model": model, "stream": True, "messages": [{"role": "user", "content": CONTENT}]},
            headers={
                "authorization": f"Bearer {self.system.token}",
                "traceparent": f"00-{trace_id}-{CALLER_SPAN}-01",
            },
            timeout=30,
        )


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    home = tmp_path_factory.mktemp("trace") / "home"
    with (
        running_collector() as collector,
        running_upstream(reply_by_model) as upstream,
        running_system(home, {**collector.environment(), "KEYFERRY_MAX_RETRIES": "0"}) as system,
    ):
        system.add_endpoint("lab", upstream.base_url, "answers", "refuses", "breaks", "overloads")
        system.add_endpoint("spare", upstream.base_url, "overloads")
        yield Traced(system, collector)


def by_name(spans: list[ReceivedSpan]) -> dict[str, ReceivedSpan]:
    found = {span.name: span for span in spans}
    assert len(found) == len(spans), sorted(span.name for span in spans)
    return found


def test_one_streamed_chat_is_one_trace_with_the_right_parents(traced: Traced) -> None:
    trace_id = secrets.token_hex(16)
    response = traced.stream("lab/answers", trace_id)
    assert response.text.endswith("data: [DONE]\n\n")

    spans = by_name(traced.collector.until_trace(trace_id, SPANS))
    assert {name: (span.service, span.kind) for name, span in spans.items()} == {
        INGRESS: ("keyferry-ingress", "server"),
        SENDING: ("keyferry-ingress", "producer"),
        ROUTER: ("keyferry-router", "consumer"),
        WORKER: ("keyferry-provider-worker", "consumer"),
        CALL: ("keyferry-provider-worker", "client"),
        LEDGER: ("keyferry-usage-ledger", "consumer"),
    }
    parents = [CALLER_SPAN, *(spans[name].span_id for name in (INGRESS, SENDING, ROUTER, WORKER, WORKER))]
    assert [spans[name].parent_span_id for name in (INGRESS, SENDING, ROUTER, WORKER, CALL, LEDGER)] == parents
    assert spans[CALL].events == ("first_token",)
    assert not any(span.failed for span in spans.values())
    (row,) = traced.system.attempts(response.headers["x-request-id"])
    assert row["trace_id"] == trace_id
    assert spans[LEDGER].attributes["keyferry.attempt_id"] == row["record"]["attempt_id"]


def test_the_call_s_span_speaks_the_genai_conventions(traced: Traced) -> None:
    trace_id = secrets.token_hex(16)
    request_id = traced.stream("lab/answers", trace_id).headers["x-request-id"]
    spans = by_name(traced.collector.until_trace(trace_id, SPANS))
    attributes = spans[CALL].attributes
    assert {name: value for name, value in attributes.items() if name.startswith("gen_ai.")} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "custom",
        "gen_ai.request.model": "answers",
        "gen_ai.response.model": "m",
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 2,
    }
    assert attributes["server.address"] == "127.0.0.1"
    attempt = spans[WORKER].attributes
    assert (attempt["keyferry.request_id"], attempt["keyferry.outcome"]) == (request_id, "completed")


@pytest.mark.parametrize(("model", "failure"), [("refuses", "rate_limit"), ("breaks", "overloaded")])
def test_a_failure_s_class_is_on_the_spans_that_failed(traced: Traced, model: str, failure: str) -> None:
    trace_id = secrets.token_hex(16)
    response = traced.stream(f"lab/{model}", trace_id)
    assert "[DONE]" not in response.text
    spans = by_name(traced.collector.until_trace(trace_id, SPANS))
    failed = {name: span.attributes.get("error.type") for name, span in spans.items() if span.failed}
    assert failed == {INGRESS: failure, WORKER: failure, f"chat {model}": failure}
    assert not any(span.status_message for span in spans.values()), "a text may repeat a secret"
    assert {name for span in spans.values() for name in span.events} <= {"first_token"}


def test_a_second_attempt_hangs_below_the_one_that_failed(traced: Traced) -> None:
    trace_id = secrets.token_hex(16)
    response = traced.stream("overloads", trace_id)
    assert response.headers["x-keyferry-attempts"] == "2"
    spans = traced.collector.until_trace(trace_id, 10)
    above = {span.span_id: span.name for span in spans}
    lineage = [(above.get(span.parent_span_id), span.name) for span in spans]
    assert sorted(lineage, key=str) == sorted(
        [
            (None, INGRESS),
            (INGRESS, SENDING),
            (SENDING, ROUTER),
            *[(ROUTER, WORKER), (WORKER, "chat overloads"), (WORKER, LEDGER)] * 2,
            (WORKER, ROUTER),
        ],
        key=str,
    )


def test_spans_hold_no_content_no_token_and_no_inbox(traced: Traced) -> None:
    for model in ("answers", "refuses", "breaks"):
        trace_id = secrets.token_hex(16)
        traced.stream(f"lab/{model}", trace_id)
        traced.collector.until_trace(trace_id, SPANS)
    exported = b"".join(traced.collector.exports)
    assert b"gen_ai.request.model" in exported
    for what in (CONTENT, traced.system.token, traced.system.token[8:20], "_INBOX", "too many requests"):
        assert what.encode() not in exported


def test_without_a_collector_the_ledger_still_has_the_trace(system: KeyferrySystem) -> None:
    body = {"model": "echo", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    trace_id = secrets.token_hex(16)
    headers = {"authorization": f"Bearer {system.token}", "traceparent": f"00-{trace_id}-{CALLER_SPAN}-01"}
    found = httpx.post(f"{system.http_url}/v1/chat/completions", json=body, headers=headers, timeout=30)
    assert system.attempts(found.headers["x-request-id"])[0]["trace_id"] == trace_id

    del headers["traceparent"]
    alone = httpx.post(f"{system.http_url}/v1/chat/completions", json=body, headers=headers, timeout=30)
    request_id = alone.headers["x-request-id"]
    (row,) = system.attempts(request_id)

    def decision() -> dict[str, Any] | None:
        """Return the decision; it arrives separately, before or after the attempt."""
        found = json.loads(system.cli("explain", request_id, "--tenant", "demo", "--json"))["decision"]
        return dict(found) if found else None

    assert row["trace_id"] == until("the decision is in the ledger", decision)["traceparent"].split("-")[1]


def test_a_management_request_is_a_trace_of_who_sent_it_alone(system: KeyferrySystem) -> None:
    trace_id = secrets.token_hex(16)
    token = (system.home / "secrets" / "operator-token").read_text().strip()
    headers = {"authorization": f"Bearer {token}", "traceparent": f"00-{trace_id}-{CALLER_SPAN}-01"}
    url = f"{system.state['console_url']}/api/v1/ops/tenants"
    assert httpx.get(url, headers=headers, timeout=30).status_code == 200
    until("its spans are stored", lambda: len(stored_spans(system, trace_id)) == 2)
    shown = json.loads(system.cli("trace", trace_id, "--tenant", "platform", "--json"))["spans"]
    assert {(span["service"], span["name"]) for span in shown} == {
        ("console", "GET /api/v1/ops/tenants"),
        ("tenant-directory", "tenant.list"),
    }
    assert "is recorded" in system.cli("trace", trace_id, "--tenant", "demo", status=1)
