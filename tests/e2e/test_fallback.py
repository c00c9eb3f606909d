"""Two endpoints offer the same model and the first one fails, in every way in which providers fail: who answers, how often,
what the caller gets, and what the ledger records.

Each case has a model name of its own, so that what one case does to the health of a target never meets another.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.clients.stream_clients import ClientResponse, StreamClients, stream_clients
from tests.support.ledger.attempts_table import LedgerAttempt, LedgerTable
from tests.support.providers.upstream import (
    ProviderRequest,
    Reply,
    Upstream,
    chunk,
    completion,
    event,
    failing,
    pieces_of,
    running_upstream,
    stream_of,
)
from tests.support.servers.ports import find_free_port
from tests.support.system.keyferry_system import KeyferrySystem, running_system
from tests.support.waiting import until

FIRST, SECOND = "a-first", "b-second"
WORDS = ["Hello ", "from ", "the ", "second"]
TEXT = "".join(WORDS)
SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}
OVERLOADED = {"message": "try later", "type": "overloaded_error", "code": "overloaded"}


async def _for_ever() -> None:
    await asyncio.Event().wait()


def hangs(request: ProviderRequest) -> Reply:
    return Reply(200, JSON, pieces_of(b"{}"), before=_for_ever)


def answers_503(request: ProviderRequest) -> Reply:
    return failing(503, OVERLOADED)


def answers_429(request: ProviderRequest) -> Reply:
    return failing(429, {"message": "slow down", "code": "rate_limit_exceeded"}, {"retry-after": "1"})


def errs_in_json(request: ProviderRequest) -> Reply:
    return Reply(200, JSON, pieces_of(json.dumps({"error": OVERLOADED | {"code": 503}}).encode()))


def errs_in_first_event(request: ProviderRequest) -> Reply:
    return Reply(200, SSE, pieces_of(event({"error": OVERLOADED | {"code": 503}})))


def errs_after_the_role(request: ProviderRequest) -> Reply:
    role = chunk({"role": "assistant", "content": ""})
    return Reply(200, SSE, pieces_of(role, event({"error": OVERLOADED | {"code": 503}})))


def hangs_up(request: ProviderRequest) -> Reply:
    return Reply(200, JSON, pieces_of(), hang_up=True)


def ends_without_a_word(request: ProviderRequest) -> Reply:
    return Reply(200, SSE, pieces_of(chunk({"role": "assistant", "content": ""})))


def answers_400(request: ProviderRequest) -> Reply:
    return failing(400, {"message": "temperature is too hot", "code": "invalid_value", "param": "temperature"})


def breaks_after_words(request: ProviderRequest) -> Reply:
    return stream_of(["Hello ", "from "], done=False)


@dataclass(frozen=True)
class Failing:
    """How the first endpoint fails, and what the ledger must say of it."""

    name: str
    answer: Callable[[ProviderRequest], Reply] | None
    """None where nobody listens."""
    failure_class: str
    where: str
    streams: tuple[bool, ...] = (False, True)


CASES = (
    Failing("refuses-connections", None, "unreachable", "not_sent"),
    Failing("hangs", hangs, "timeout", "no_answer"),
    Failing("answers-503", answers_503, "overloaded", "http_status"),
    Failing("answers-429", answers_429, "rate_limit", "http_status"),
    Failing("errs-in-json", errs_in_json, "overloaded", "http_200_body"),
    Failing("errs-in-first-event", errs_in_first_event, "overloaded", "http_200_body", (True,)),
    Failing("errs-after-the-role", errs_after_the_role, "overloaded", "http_200_body", (True,)),
    Failing("hangs-up", hangs_up, "server", "no_answer"),
    Failing("ends-without-a-word", ends_without_a_word, "truncated", "mid_stream", (True,)),
)
RUNS = [(case, stream) for case in CASES for stream in case.streams]
BY_NAME = {case.name: case for case in CASES}
COOLING = "asks-to-wait"
_well_again = threading.Event()


def asks_to_wait(request: ProviderRequest) -> Reply:
    if _well_again.is_set():
        return completion("well again", request.body["model"])
    return failing(429, {"message": "slow down", "code": "rate_limit_exceeded"}, {"retry-after": "4"})


FINAL = {"answers-400": answers_400, "breaks-after-words": breaks_after_words, COOLING: asks_to_wait}


def model_of(case: str, stream: bool) -> str:
    return f"{case}-{'streamed' if stream else 'whole'}"


def case_of(model: str) -> str:
    return model.rpartition("-")[0]


def scripted(request: ProviderRequest) -> Reply:
    model = request.body["model"]
    case = case_of(model)
    if request.path.startswith("/first/"):
        answer = FINAL.get(case) or BY_NAME[case].answer
        assert answer is not None
        return answer(request)
    if case == "both-fail":
        return failing(503, {"message": "the second is full as well"})
    return stream_of(WORDS) if request.body.get("stream") else completion(TEXT, model)


@dataclass
class Pair:
    """The running system with its two endpoints, and a client."""

    system: KeyferrySystem
    upstream: Upstream
    clients: StreamClients

    def ask(self, model: str, *, stream: bool) -> ClientResponse:
        return self.clients.ask(model, "hi", stream=stream).result()

    def called(self, model: str) -> list[str]:
        """Return which endpoints the provider's log has for this model, in order."""
        calls = [call.request for call in self.upstream.calls]
        return [request.path.split("/")[1] for request in calls if request.body["model"] == model]

    def attempts(self, request_id: str, count: int) -> list[LedgerAttempt]:
        return LedgerTable(self.system.home).of_request(request_id, count)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    home: Path = tmp_path_factory.mktemp("fallback") / "home"
    with ExitStack() as stack:
        upstream = stack.enter_context(running_upstream(scripted))
        system = stack.enter_context(running_system(home, {"KEYFERRY_FIRST_BYTE_TIMEOUT_SECONDS": "1"}))
        root = upstream.base_url.removesuffix("/v1")
        listed = {case: [model_of(case, stream) for stream in (False, True)] for case in [*BY_NAME, *FINAL]}
        refused = listed.pop("refuses-connections")
        everywhere = [model for models in listed.values() for model in models]
        system.add_endpoint(FIRST, f"{root}/first/v1", *everywhere)
        system.add_endpoint("a-refusing", f"http://127.0.0.1:{find_free_port()}/v1", *refused)
        both = [model_of("both-fail", stream) for stream in (False, True)]
        system.add_endpoint("a-refusing-too", f"http://127.0.0.1:{find_free_port()}/v1", *both)
        system.add_endpoint(SECOND, f"{root}/second/v1", *everywhere, *refused, *both)
        clients = stack.enter_context(stream_clients(system.http_url, system.token))
        yield Pair(system, upstream, clients)


@pytest.mark.parametrize(("case", "stream"), RUNS, ids=[model_of(case.name, stream) for case, stream in RUNS])
def test_the_second_answers_when_the_first_fails(pair: Pair, case: Failing, stream: bool) -> None:
    model = model_of(case.name, stream)
    ending = pair.ask(model, stream=stream)
    assert ending.whole, (ending.status, ending.body)
    assert ending.text == TEXT
    assert ending.headers["x-keyferry-attempts"] == "2"
    assert ending.headers["x-keyferry-provider"] == SECOND
    assert pair.called(model) == (["second"] if case.answer is None else ["first", "second"])

    failed, completed = pair.attempts(ending.request_id, 2)
    assert (failed.outcome, completed.outcome) == ("failed", "completed")
    assert (failed.attempt_number, completed.attempt_number) == (1, 2)
    assert (failed.failure_class, failed.where) == (case.failure_class, case.where)
    assert (completed.endpoint, completed.origin) == (SECOND, pair.upstream.base_url.removesuffix("/v1"))


def test_explain_shows_both_decisions(pair: Pair) -> None:
    ending = pair.ask("answers-503-whole", stream=False)
    pair.attempts(ending.request_id, 2)

    def explained() -> str | None:
        text = pair.system.cli("explain", ending.request_id, "--tenant", "demo")
        return text if "after attempt 1 had failed" in text else None

    text = until("explain shows the second decision", explained)
    for detail in (
        f"chosen: {FIRST}/answers-503-whole",
        f"chosen: {SECOND}/answers-503-whole",
        f"dropped {FIRST}/answers-503-whole: {FIRST} has failed for this request: overloaded [already_tried]",
        f"1. {FIRST}",
        f"2. {SECOND}",
        "try later",
    ):
        assert detail in text, text


@pytest.mark.parametrize("stream", [False, True])
def test_an_invalid_request_is_not_retried_elsewhere(pair: Pair, stream: bool) -> None:
    model = model_of("answers-400", stream)
    ending = pair.ask(model, stream=stream)
    assert ending.status == 400
    assert ending.error is not None
    assert ending.error["param"] == "temperature"
    assert ending.headers["x-keyferry-attempts"] == "1"
    assert pair.called(model) == ["first"]
    assert [attempt.outcome for attempt in pair.attempts(ending.request_id, 1)] == ["failed"]


@pytest.mark.parametrize("stream", [False, True])
def test_when_both_fail_the_caller_gets_the_last_failure(pair: Pair, stream: bool) -> None:
    model = model_of("both-fail", stream)
    ending = pair.ask(model, stream=stream)
    assert ending.status in (502, 503)
    assert ending.error is not None
    made = ending.error["keyferry"]["attempts"]
    assert ending.headers["x-keyferry-attempts"] == str(made)
    assert 3 <= made <= 5, "each is tried once, and then again after a delay"
    attempts = pair.attempts(ending.request_id, made)
    assert [attempt.failure_class for attempt in attempts[:2]] == ["unreachable", "overloaded"]
    assert ending.error["keyferry"]["failure"] == attempts[-1].failure_class


def test_nothing_is_retried_after_the_first_delivered_word(pair: Pair) -> None:
    model = model_of("breaks-after-words", stream=True)
    ending = pair.ask(model, stream=True)
    assert ending.status == 200
    assert ending.text == "Hello from "
    assert ending.reported_failure, ending.body
    assert ending.error is not None
    assert ending.error["keyferry"]["attempts"] == 1
    assert pair.called(model) == ["first"]
    (attempt,) = pair.attempts(ending.request_id, 1)
    assert (attempt.outcome, attempt.failure_class) == ("failed", "truncated")
    assert attempt.usage_source == "estimated"
    assert attempt.output_tokens >= 2


def test_an_endpoint_that_asks_to_wait_is_skipped_and_comes_back(pair: Pair) -> None:
    model = model_of(COOLING, stream=False)
    first = pair.ask(model, stream=False)
    assert (first.text, first.headers["x-keyferry-attempts"]) == (TEXT, "2")

    def skipped() -> ClientResponse | None:
        ending = pair.ask(model, stream=False)
        return ending if ending.headers["x-keyferry-attempts"] == "1" else None

    ending = until("it is known to be cooling", skipped)
    _well_again.set()
    assert ending.headers["x-keyferry-provider"] == SECOND
    pair.attempts(ending.request_id, 1)

    def explained() -> str | None:
        text = pair.system.cli("explain", ending.request_id, "--tenant", "demo")
        return text if f"dropped {FIRST}" in text else None

    assert "gets no requests for another" in until("explain shows why it was skipped", explained)
    called = pair.called(model).count("first")
    until("it gets requests again", lambda: pair.ask(model, stream=False).headers["x-keyferry-provider"] == FIRST)
    assert pair.called(model).count("first") == called + 1
