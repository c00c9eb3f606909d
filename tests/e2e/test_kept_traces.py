"""Traces of requests that fell back, were cancelled or met a killed process: whole, stored and exported, without sampling."""

import asyncio
import os
import secrets
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest

from keyferry.contracts.traces import SpanRecord
from tests.support.providers.upstream import ProviderRequest, Reply, failing, running_upstream, stream_of
from tests.support.servers.otlp_collector import OtlpCollector, running_collector
from tests.support.servers.stored_spans import stored_spans
from tests.support.system.keyferry_system import KeyferrySystem, running_system
from tests.support.system.second_router import second_router
from tests.support.waiting import until

INGRESS, SENDING, ROUTER, ATTEMPT, LEDGER = (
    "POST /v1/chat/completions",
    "request.send",
    "router.decide",
    "provider_worker.attempt",
    "usage_ledger.record",
)
_MAX_TRIES = 8

Lineage = Counter[tuple[str | None, str, str | None]]
"""How often each (parent's name, name, error) occurs."""


def hang_after(pieces: int) -> Callable[[], Awaitable[None]]:
    """Return a pause after each piece that ends at once, and not after so many."""
    paused = 0

    async def pause() -> None:
        nonlocal paused
        paused += 1
        if paused >= pieces:
            await asyncio.sleep(60)

    return pause


def reply_by_model(request: ProviderRequest) -> Reply:
    match request.body.get("model"):
        case "overloads":
            return failing(503, {"message": "overloaded"})
        case "hangs":
            return stream_of(["one", "two", "three"], pause=hang_after(4))
    return stream_of(["one", "two"])


@dataclass(frozen=True)
class Recorded:
    """A system that samples nothing by itself; its spans are exported, too."""

    system: KeyferrySystem
    collector: OtlpCollector

    def headers(self, traceparent: str | None = None) -> dict[str, str]:
        own = {"authorization": f"Bearer {self.system.token}"}
        return own if traceparent is None else {**own, "traceparent": traceparent}

    def body(self, model: str) -> dict[str, object]:
        return {"model": model, "stream": True, "messages": [{"role": "user", "content": "hi"}]}

    @property
    def url(self) -> str:
        return f"{self.system.http_url}/v1/chat/completions"

    def trace_of(self, request_id: str) -> str:
        return str(self.system.attempts(request_id)[0]["trace_id"])

    def until_whole(self, trace_id: str, expected: Lineage, root_parent: str | None = None) -> list[SpanRecord]:
        """Wait until exactly these spans are stored. Return them; the same ones were exported."""
        seen: list[SpanRecord] = []

        def whole() -> bool:
            seen[:] = stored_spans(self.system, trace_id)
            return sum(expected.values()) <= len(seen)

        until(f"{sum(expected.values())} spans of {trace_id} are stored", whole)
        names = {span.span_id: span.name for span in seen}
        assert len(names) == len(seen), "a span is stored twice"
        assert Counter((names.get(span.parent_span_id or ""), span.name, span.error) for span in seen) == expected
        (root,) = [span for span in seen if span.parent_span_id not in names]
        assert (root.name, root.parent_span_id) == (INGRESS, root_parent)
        exported = self.collector.until_trace(trace_id, len(seen))
        assert {(span.span_id, span.parent_span_id or None, span.name) for span in exported} == {
            (span.span_id, span.parent_span_id, span.name) for span in seen
        }
        return seen


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    home = tmp_path_factory.mktemp("kept") / "home"
    settings = {"KEYFERRY_MAX_RETRIES": "0", "KEYFERRY_TRACE_SAMPLE_RATIO": "0"}
    with (
        running_collector() as collector,
        running_upstream(reply_by_model) as upstream,
        running_system(home, {**collector.environment(), **settings}) as system,
    ):
        system.add_endpoint("lab", upstream.base_url, "answers", "hangs", "overloads")
        system.add_endpoint("spare", upstream.base_url, "overloads")
        yield Recorded(system, collector)


def attempt(model: str, parent: str = ROUTER, error: str | None = None, call: str | None = None) -> Lineage:
    """Return the spans of an attempt, whose call failed as the attempt did."""
    return Counter(
        {(parent, ATTEMPT, error): 1, (ATTEMPT, f"chat {model}", call or error): 1, (ATTEMPT, LEDGER, None): 1}
    )


def test_a_request_that_is_served_at_once_is_not_kept(recorded: Recorded) -> None:
    response = httpx.post(recorded.url, json=recorded.body("lab/answers"), headers=recorded.headers(), timeout=30)
    quiet = recorded.trace_of(response.headers["x-request-id"])
    failed = httpx.post(recorded.url, json=recorded.body("overloads"), headers=recorded.headers(), timeout=30)
    later = recorded.trace_of(failed.headers["x-request-id"])
    until("a later trace is stored", lambda: stored_spans(recorded.system, later))
    assert stored_spans(recorded.system, quiet) == []


def test_a_request_that_fell_back_and_failed_is_one_trace(recorded: Recorded) -> None:
    response = httpx.post(recorded.url, json=recorded.body("overloads"), headers=recorded.headers(), timeout=30)
    assert response.headers["x-keyferry-attempts"] == "2"
    failure = "overloaded"
    recorded.until_whole(
        recorded.trace_of(response.headers["x-request-id"]),
        Counter({(None, INGRESS, failure): 1, (INGRESS, SENDING, None): 1, (SENDING, ROUTER, None): 1})
        + Counter({(ATTEMPT, ROUTER, None): 1})
        + attempt("overloads", error=failure)
        + attempt("overloads", error=failure),
    )


def test_a_cancelled_request_is_one_trace(recorded: Recorded) -> None:
    with (
        httpx.Client(timeout=30) as client,
        client.stream("POST", recorded.url, json=recorded.body("lab/hangs"), headers=recorded.headers()) as response,
    ):
        next(response.iter_bytes())
        request_id = response.headers["x-request-id"]
    gone = "cancelled"
    spans = recorded.until_whole(
        recorded.trace_of(request_id),
        Counter({(None, INGRESS, gone): 1, (INGRESS, SENDING, None): 1, (SENDING, ROUTER, None): 1})
        + attempt("hangs", error=gone),
    )
    (call,) = [span for span in spans if span.name == "chat hangs"]
    assert [event.name for event in call.events] == ["first_token"]
    assert call.start_unix_ns <= call.events[0].at_unix_ns <= call.end_unix_ns


def test_a_request_whose_worker_was_killed_is_one_trace(recorded: Recorded) -> None:
    with (
        httpx.Client(timeout=60) as client,
        client.stream("POST", recorded.url, json=recorded.body("lab/hangs"), headers=recorded.headers()) as response,
    ):
        pieces = response.iter_bytes()
        next(pieces)
        for worker in [name for name in recorded.system.state["processes"] if name.startswith("provider_worker")]:
            recorded.system.kill(worker)
        rest = b"".join(pieces)
    assert b'"failure":"indeterminate"' in rest
    lost = "indeterminate"
    recorded.until_whole(
        recorded.trace_of(response.headers["x-request-id"]),
        Counter({(None, INGRESS, lost): 1, (INGRESS, SENDING, None): 1, (SENDING, ROUTER, None): 1})
        + Counter({(ROUTER, ATTEMPT, lost): 1, (ATTEMPT, LEDGER, None): 1}),
    )


def test_a_request_that_survived_a_killed_router_is_one_trace(recorded: Recorded, tmp_path: Path) -> None:
    """One of two routers dies with the request in its socket: the request is sent again."""
    with second_router(recorded.system, tmp_path / "router.log"), ThreadPoolExecutor() as threads:
        for _ in range(_MAX_TRIES):
            trace_id, caller = secrets.token_hex(16), secrets.token_hex(8)
            first = recorded.system.pid("router")
            os.kill(first, signal.SIGSTOP)
            headers = recorded.headers(f"00-{trace_id}-{caller}-01")
            sent = threads.submit(
                httpx.post, recorded.url, json=recorded.body("lab/answers"), headers=headers, timeout=60
            )
            if wait([sent], timeout=0.5).done:  # the other router took it
                os.kill(first, signal.SIGCONT)
                continue
            recorded.system.kill("router")
            assert sent.result().status_code == 200
            spans = until("its spans are stored", partial(stored_spans, recorded.system, trace_id))
            if any(span.error == "unavailable" for span in spans):
                break
    recorded.until_whole(
        trace_id,
        Counter({(None, INGRESS, None): 1, (INGRESS, SENDING, "unavailable"): 1, (INGRESS, SENDING, None): 1})
        + Counter({(SENDING, ROUTER, None): 1})
        + attempt("answers"),
        root_parent=caller,
    )
