"""Recorded failures of providers, each at the first of two endpoints: what follows is what the table of fallbacks says.

Over HTTP and with the bus client; each case has a model name of its own, so that none affects the health of another's target.
No recording has an empty account or a content filter: these two are the errors of OpenAI's and Azure's API references. One
whose answer breaks off is a recorded answer that is cut. What cannot be reached is in `test_fallback`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

import httpx
import pytest

from keyferry.client import KeyferryError
from keyferry.contracts.failure import FailureClass
from keyferry.contracts.fallback import FALLBACKS, FallbackAction, FallbackRule
from tests.support.clients.fake_and_real import connect_demo
from tests.support.providers.recorded_traffic import Case, chat_cases
from tests.support.providers.upstream import ProviderRequest, Reply, Upstream, completion, pieces_of, running_upstream
from tests.support.system.keyferry_system import KeyferrySystem
from tests.support.waiting import until

C = FailureClass
FIRST, SECOND, ALONE = "recorded-first", "recorded-second", "recorded-alone"
_HOP_BY_HOP = frozenset({"content-length", "transfer-encoding", "content-encoding", "connection", "keep-alive"})
CASES = {
    case.name: case
    for case in chat_cases("openai", "openrouter", "azure", "openai_compatible", "huggingface", "xai", "mistral")
}
QUOTA = {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": "insufficient_quota"}
FILTERED = {
    "message": "The response was filtered",
    "code": "content_filter",
    "param": "prompt",
    "status": 400,
    "innererror": {"code": "ResponsibleAIPolicyViolation"},
}


@dataclass(frozen=True)
class Row:
    """A class of failure and a recording of it, by the beginning of its name; or the status and the error of a reference."""

    failure_class: FailureClass
    recording: str
    charged: bool = False
    """Whether the provider may have charged for it."""
    status: int | None = None
    error: str | None = None
    cut: bool = False
    """Whether only the first half of the answer arrives."""

    @property
    def case(self) -> Case:
        found = next(case for name, case in CASES.items() if name.startswith(self.recording))
        if self.error is not None and self.status is not None:
            return replace(found, status=self.status, body=self.error.encode())
        return replace(found, body=found.body[: len(found.body) // 2]) if self.cut else found

    @property
    def model(self) -> str:
        return f"row-{self.failure_class}{'-charged' if self.charged else ''}"

    @property
    def actions(self) -> tuple[FallbackAction, ...]:
        rule: FallbackRule = FALLBACKS[self.failure_class]
        if self.failure_class is C.CONTENT_FILTER:
            return (FallbackAction.STOP,)  # the tenant has not said otherwise
        return rule.maybe_charged if self.charged else rule.not_charged


ERROR = "error--gpt-4o--openai-gpt-4o-completions"
ROWS = (
    Row(C.AUTH, ERROR),
    Row(C.QUOTA, ERROR, status=429, error=json.dumps({"error": QUOTA})),
    Row(C.CONTENT_FILTER, ERROR, status=400, error=json.dumps({"error": FILTERED})),
    Row(C.RATE_LIMIT, "error--mistral-small-latest--real-error"),
    Row(C.OVERLOADED, "error--grok-4-fast-non-reasoning"),
    Row(C.CONTEXT_LENGTH, "error--claude-haiku-4.5"),
    Row(C.NOT_FOUND, "error--non-existent-model"),
    Row(C.BAD_REQUEST, "error--o1-mini"),
    Row(C.TIMEOUT, "error--kimi-k2.5", charged=True),
    Row(C.SERVER, "error--llama-4-scout"),
    Row(C.SERVER, "error--hermes-4-405b--token-limit", charged=True),
    Row(C.TRUNCATED, "chat--gpt-4o--hierarchical-process", charged=True, cut=True),
)
BY_MODEL = {row.model: row for row in ROWS}
FOLLOWED = {FallbackAction.NEXT_KEY, FallbackAction.NEXT_PROVIDER}


def replay(case: Case) -> Reply:
    headers = {key: value for key, value in case.headers.items() if key.lower() not in _HOP_BY_HOP}
    return Reply(case.status, headers, pieces_of(case.body))


class Provider:
    """Two endpoints, of which the first fails as recorded, and one that fails as recorded until it has been called once."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def answer(self, request: ProviderRequest) -> Reply:
        endpoint, model = request.path.split("/")[1], request.body["model"]
        self.calls.append((endpoint, model))
        row = BY_MODEL[model.removeprefix("again-").removeprefix("bus-")]
        fails = endpoint == FIRST or (endpoint == ALONE and self.calls.count((endpoint, model)) == 1)
        return replay(row.case) if fails else completion("answered", model)

    def called(self, model: str) -> list[str]:
        return [endpoint for endpoint, name in self.calls if name == model]


@pytest.fixture(scope="module")
def provider(system: KeyferrySystem) -> Iterator[Provider]:
    scripted = Provider()
    with running_upstream(scripted.answer) as upstream:
        _add_endpoints(system, upstream)
        yield scripted


def _add_endpoints(system: KeyferrySystem, upstream: Upstream) -> None:
    root = upstream.base_url.removesuffix("/v1")
    for name in (FIRST, SECOND):
        system.add_endpoint(name, f"{root}/{name}/v1", *BY_MODEL, *(f"bus-{model}" for model in BY_MODEL))
    system.add_endpoint(ALONE, f"{root}/{ALONE}/v1", *(f"again-{model}" for model in BY_MODEL))


def ask(system: KeyferrySystem, model: str) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    headers = {"authorization": f"Bearer {system.token}"}
    return httpx.post(f"{system.http_url}/v1/chat/completions", json=body, headers=headers, timeout=60)


@pytest.mark.parametrize("row", ROWS, ids=[row.model for row in ROWS])
def test_what_follows_a_recorded_failure_is_what_the_table_says(
    system: KeyferrySystem, provider: Provider, row: Row
) -> None:
    answer = ask(system, row.model)
    if not FOLLOWED & set(row.actions):
        assert provider.called(row.model) == [FIRST]
        assert answer.json()["error"]["keyferry"]["failure"] == row.failure_class
        assert (answer.status_code, answer.headers["x-keyferry-attempts"]) == (400, "1")
        return
    assert answer.status_code == 200, answer.text
    assert provider.called(row.model) == [FIRST, SECOND]
    assert answer.headers["x-keyferry-provider"] == SECOND
    assert answer.headers["x-keyferry-attempts"] == "2"
    assert answer.headers["x-keyferry-fallback"] == row.failure_class
    failed, _ = system.attempts(answer.headers["x-request-id"], 2)
    assert failed["record"]["failure"]["failure_class"] == row.failure_class


RETRIED = [row for row in ROWS if row.charged or row.failure_class in (C.OVERLOADED, C.RATE_LIMIT)]


@pytest.mark.parametrize("row", RETRIED, ids=[row.model for row in RETRIED])
def test_the_only_endpoint_is_tried_again_unless_it_may_have_been_charged(
    system: KeyferrySystem, provider: Provider, row: Row
) -> None:
    model = f"again-{row.model}"
    answer = ask(system, model)
    if row.charged:
        assert provider.called(model) == [ALONE]
        assert answer.json()["error"]["keyferry"]["failure"] == row.failure_class
        assert answer.headers["x-should-retry"] == "false"
        return
    assert answer.status_code == 200, answer.text
    assert provider.called(model) == [ALONE, ALONE]
    assert answer.headers["x-keyferry-attempts"] == "2"
    assert "x-keyferry-fallback" not in answer.headers
    request_id = answer.headers["x-request-id"]
    system.attempts(request_id, 2)

    def explained() -> str | None:
        text = system.cli("explain", request_id, "--tenant", "demo")
        return text if "it is tried again, after" in text else None

    assert ", after " in until("explain shows the delay", explained)


async def test_the_bus_client_gets_the_same(system: KeyferrySystem, provider: Provider) -> None:
    async with connect_demo(system, max_retries=0) as client:
        for row in ROWS:
            model, messages = f"bus-{row.model}", [{"role": "user", "content": "hi"}]
            if FOLLOWED & set(row.actions):
                answer = await client.chat(model=model, messages=messages)
                assert (answer.route.endpoint, answer.route.attempt_number) == (SECOND, 2)
                assert answer.route.fallback_reason is row.failure_class
                assert provider.called(model) == [FIRST, SECOND]
                continue
            with pytest.raises(KeyferryError) as caught:
                await client.chat(model=model, messages=messages)
            assert caught.value.failure.failure_class is row.failure_class
            assert provider.called(model) == [FIRST]
