"""The HTTP handlers with a scripted caller: which request is sent, and which headers are returned."""

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from keyferry.contracts.chat import ChatRequest, EmbeddingRequest
from keyferry.contracts.frames import Accepted
from keyferry.contracts.limits import RateLimits
from keyferry.contracts.route import ConsideredModel, DecisionSummary, Models
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import ClientToken, Tenant, Tier
from keyferry.contracts.usage import KeySource, RequestKind
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.request.assembly import Piece
from keyferry.runtime.request.backlog import Backlog
from keyferry.runtime.request.inbox import CallInbox
from keyferry.runtime.tracing.span import Span
from keyferry.runtime.tracing.telemetry import Telemetry
from services.ingress.handlers import Authenticate, OpenAIHandlers
from services.ingress.identity import ClientIdentity, Suspended, Unauthenticated, UnreadableTenant
from services.ingress.settings import IngressSettings
from tests.support.vault.grants import new_key


@dataclass
class ScriptedCall:
    accepted: Accepted
    pieces: "deque[bytes]"
    rate_limits: RateLimits | None = None
    cancels: int = 0
    sends: int = 1

    async def start(self) -> None:
        await asyncio.sleep(0)

    async def next_piece(self, timeout_seconds: float | None = None) -> Piece:
        return Piece(self.pieces.popleft(), last=not self.pieces)

    async def cancel(self) -> None:
        await asyncio.sleep(0)
        self.cancels += 1

    def abandon(self) -> None:
        self.pieces.clear()


@dataclass
class ScriptedCaller:
    """Answers every request in the same way."""

    pieces: tuple[bytes, ...]
    dropped: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    decision: DecisionSummary | None = None
    requests: list[tuple[ChatRequest | EmbeddingRequest, bytes]] = field(default_factory=list)
    calls: list[ScriptedCall] = field(default_factory=list)
    backlog: Backlog = field(default_factory=Backlog)

    def call(self, head: ChatRequest | EmbeddingRequest, body: bytes, span: Span) -> ScriptedCall:
        self.requests.append((head, body))
        accepted = Accepted(
            attempt_id="att_1",
            instance_id="inst_1",
            attempt_number=1,
            decision_id="dec_1",
            provider="groq",
            model="m",
            key_source=KeySource.BYOK,
            power_level=head.power_level,
            dropped=list(self.dropped),
            added=list(self.added),
            decision=self.decision if head.explain else None,
        )
        self.calls.append(ScriptedCall(accepted, deque(self.pieces)))
        return self.calls[-1]


NOW = datetime(2026, 11, 1, tzinfo=UTC)
IDENTITY = ClientIdentity(
    Tenant(tenant="acme", name="Acme", tier=Tier.STARTER),
    ClientToken(
        token_id="ct_1", tenant="acme", label="test", last4="abcd", created_at=NOW, team="support", member="alice"
    ),
)
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def settings(tmp_path: Path) -> IngressSettings:
    pepper = tmp_path / "pepper"
    pepper.write_text("pepper-of-an-installation-in-tests")
    pepper.chmod(0o600)
    grant_key = tmp_path / "grant-key"
    grant_key.write_text(new_key().reveal())
    return IngressSettings(nats_url="nats://127.0.0.1:1", token_pepper_file=pepper, grant_key_file=grant_key)


async def post(
    settings: IngressSettings,
    caller: ScriptedCaller,
    path: str,
    body: dict[str, Any] | None = None,
    *,
    content: AsyncIterator[bytes] | None = None,
    identity: ClientIdentity = IDENTITY,
    headers: Mapping[str, str] | None = None,
    authenticate: Authenticate | None = None,
    method: str = "POST",
    bus: object = None,
) -> httpx.Response:
    handlers = OpenAIHandlers(
        settings=settings,
        bus=cast(Bus, bus),
        caller=lambda: cast(CallInbox, caller),
        authenticate=authenticate or (lambda authorization, now: identity),
        telemetry=Telemetry("ingress", {}),
        waiting_for=list,
        draining=lambda: False,
    )
    transport = httpx.ASGITransport(app=cast(Any, handlers))
    async with httpx.AsyncClient(transport=transport, base_url="http://ingress.test") as client:
        usual = {"x-operation": "search", "x-keyferry-tags": "team=blue"}
        return await client.request(method, path, json=body, content=content, headers={**usual, **(headers or {})})


async def test_embedding_request_carries_the_callers_bytes(settings: IngressSettings) -> None:
    caller = ScriptedCaller((b'{"object":', b'"list"}'))
    response = await post(settings, caller, "/v1/embeddings", {"model": "m", "input": ["a", "b"]})
    assert (response.status_code, response.json()) == (200, {"object": "list"})
    head, body = caller.requests[0]
    assert isinstance(head, EmbeddingRequest)
    assert (head.kind, head.stream, head.model, head.tenant) == (RequestKind.EMBEDDING, False, "m", "acme")
    assert (head.operation, head.tags, head.client_token_id) == ("search", {"team": "blue"}, "ct_1")
    assert (head.team, head.member) == ("support", "alice"), "their preferences may limit it"
    assert json.loads(body) == {"model": "m", "input": ["a", "b"]}
    assert response.headers["x-keyferry-provider"] == "groq"


async def test_a_request_behind_too_many_is_refused_at_once(settings: IngressSettings) -> None:
    caller = ScriptedCaller((b"{}",))
    for number in range(300):
        caller.backlog.add(str(number), "acme", time.monotonic() - 10)
    response = await post(settings, caller, "/v1/chat/completions", CHAT)
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert "more requests than it can pass on" in response.json()["error"]["message"]
    assert not caller.requests


@pytest.mark.parametrize("allowed_models", [None, ["gpt-4o", "m"]])
async def test_the_client_tokens_models_are_sent_with_every_request(
    settings: IngressSettings, allowed_models: list[str] | None
) -> None:
    caller = ScriptedCaller((b"{}",))
    scoped = ClientIdentity(IDENTITY.tenant, IDENTITY.token.model_copy(update={"allowed_models": allowed_models}))
    await post(settings, caller, "/v1/chat/completions", CHAT, identity=scoped)
    await post(settings, caller, "/v1/embeddings", {"model": "m", "input": "a"}, identity=scoped)
    assert [head.allowed_models for head, _ in caller.requests] == [allowed_models, allowed_models]


@pytest.mark.parametrize("stream", [False, True])
async def test_dropped_fields_are_listed_in_a_header(settings: IngressSettings, stream: bool) -> None:
    caller = ScriptedCaller((b'{"object":"x"}',), dropped=("n", "messages[0].content[1].file"))
    response = await post(settings, caller, "/v1/chat/completions", {**CHAT, "stream": stream})
    assert response.headers["x-keyferry-dropped"] == "n,messages[0].content[1].file"


async def test_what_was_sent_beside_the_callers_words_is_listed_in_a_header(settings: IngressSettings) -> None:
    caller = ScriptedCaller((b"{}",), added=("(no output)", "(results received)"))
    response = await post(settings, caller, "/v1/chat/completions", CHAT)
    assert response.headers["x-keyferry-added"] == "(no output),(results received)"
    response = await post(settings, ScriptedCaller((b"{}",)), "/v1/chat/completions", CHAT)
    assert "x-keyferry-added" not in response.headers


async def test_embedding_response_lists_dropped_fields(settings: IngressSettings) -> None:
    caller = ScriptedCaller((b"{}",), dropped=("dimensions",))
    response = await post(settings, caller, "/v1/embeddings", {"model": "m", "input": "a", "dimensions": 2})
    assert response.headers["x-keyferry-dropped"] == "dimensions"


async def test_header_is_absent_if_nothing_was_dropped(settings: IngressSettings) -> None:
    response = await post(settings, ScriptedCaller((b"{}",)), "/v1/chat/completions", CHAT)
    assert "x-keyferry-dropped" not in response.headers


async def test_invalid_embedding_request_is_not_sent(settings: IngressSettings) -> None:
    caller = ScriptedCaller((b"{}",))
    response = await post(settings, caller, "/v1/embeddings", {"model": "m", "input": []})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "input")
    assert caller.requests == []


async def test_key_preference_is_sent_with_the_request(settings: IngressSettings) -> None:
    caller = ScriptedCaller((b"{}",))
    assert (await post(settings, caller, "/v1/chat/completions", CHAT)).status_code == 200
    assert (
        await post(settings, caller, "/v1/chat/completions", CHAT, headers={"X-Prefer-BYOK": "only"})
    ).status_code == 200
    assert [head.prefer_own_keys for head, _ in caller.requests] == [None, "only"]
    wrong = await post(settings, caller, "/v1/chat/completions", CHAT, headers={"X-Prefer-BYOK": "maybe"})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "X-Prefer-BYOK")
    assert len(caller.requests) == 2


async def test_power_level_conversation_and_features_are_sent_with_the_request(settings: IngressSettings) -> None:
    caller = ScriptedCaller((b"{}",))
    headers = {"X-Power-Level": "eco", "X-Conversation-Id": "thread-42"}
    answer = await post(settings, caller, "/v1/chat/completions", CHAT, headers=headers)
    assert (answer.status_code, answer.headers["x-keyferry-power-level"]) == (200, "eco")
    head = caller.requests[0][0]
    assert (head.power_level, head.conversation) == ("eco", "thread-42")
    assert head.features is not None
    assert head.features.input_tokens > 0
    wrong = await post(settings, caller, "/v1/chat/completions", CHAT, headers={"X-Power-Level": "best"})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "X-Power-Level")
    assert len(caller.requests) == 1
    plain = await post(settings, ScriptedCaller((b"{}",)), "/v1/chat/completions", CHAT)
    assert "x-keyferry-power-level" not in plain.headers


async def test_either_header_carries_the_token_and_a_conflict_is_a_401(settings: IngressSettings) -> None:
    seen: list[str | None] = []

    def authenticate(authorization: str | None, now: datetime) -> ClientIdentity:
        seen.append(authorization)
        return IDENTITY

    caller = ScriptedCaller((b"{}",))
    for headers in ({"authorization": "Bearer kf_1"}, {"x-api-key": "kf_1"}, {"api-key": "kf_1"}):
        response = await post(
            settings, caller, "/v1/chat/completions", CHAT, authenticate=authenticate, headers=headers
        )
        assert response.status_code == 200
    assert seen == ["Bearer kf_1"] * 3
    both = {"authorization": "Bearer kf_1", "x-api-key": "kf_2"}
    response = await post(settings, caller, "/v1/chat/completions", CHAT, authenticate=authenticate, headers=both)
    assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_api_key")
    assert "different credentials" in response.json()["error"]["message"]
    assert response.headers["www-authenticate"] == "Bearer"
    assert len(caller.requests) == 3


async def test_options_is_answered_with_what_is_allowed(settings: IngressSettings) -> None:
    response = await post(settings, ScriptedCaller((b"{}",)), "/v1/models", {}, method="OPTIONS")
    assert (response.status_code, response.headers["allow"], response.content) == (200, "GET, HEAD, OPTIONS", b"{}")


@pytest.mark.parametrize("stream", [False, True])
async def test_the_worker_is_cancelled_however_a_request_fails(settings: IngressSettings, stream: bool) -> None:
    caller = ScriptedCaller(())  # reading from it fails in a way that nobody expects
    response = await post(settings, caller, "/v1/chat/completions", {**CHAT, "stream": stream})
    assert (response.status_code, response.json()["error"]["code"]) == (500, "internal_error")
    assert [call.cancels for call in caller.calls] == [1]


async def test_a_stream_says_that_it_is_done_once_and_last(settings: IngressSettings) -> None:
    caller = ScriptedCaller((b'{"n":1}', b'{"n":2}', b'{"n":3}'))
    response = await post(settings, caller, "/v1/chat/completions", {**CHAT, "stream": True})
    events = [event.removeprefix("data: ") for event in response.text.split("\n\n") if event]
    assert events == ['{"n":1}', '{"n":2}', '{"n":3}', "[DONE]"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings"])
async def test_no_body_is_read_of_a_caller_who_is_not_known(settings: IngressSettings, path: str) -> None:
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        read += 1
        yield b"{}"

    def reject(authorization: str | None, now: datetime) -> ClientIdentity:
        raise Unauthenticated("this token is not known")

    response = await post(settings, ScriptedCaller((b"{}",)), path, content=body(), authenticate=reject)
    assert (response.status_code, read) == (401, 0)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(Suspended("x"), 403, "tenant_suspended"), (UnreadableTenant("x"), 503, "unavailable")],
)
async def test_a_known_caller_that_may_not_call_now_is_not_an_unknown_one(
    settings: IngressSettings, error: Exception, status: int, code: str
) -> None:
    def reject(authorization: str | None, now: datetime) -> ClientIdentity:
        raise error

    response = await post(settings, ScriptedCaller((b"{}",)), "/v1/chat/completions", CHAT, authenticate=reject)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


async def test_a_list_of_models_that_the_router_refuses_is_unavailable(settings: IngressSettings) -> None:
    async def ask(*arguments: object, **options: object) -> Models:
        raise Refused(ErrorCode.UNAVAILABLE, "nothing was sent: damaged")

    response = await post(settings, ScriptedCaller((b"{}",)), "/v1/models", method="GET", bus=SimpleNamespace(ask=ask))
    assert (response.status_code, response.json()["error"]["message"]) == (503, "nothing was sent: damaged")


DECISION = DecisionSummary(
    request_id="req_1",
    decision_id="dec_1",
    model_asked="auto",
    models=[ConsideredModel(model="m", detail="the cheapest that fits")],
)


async def test_an_answer_carries_the_decision_only_if_the_request_asks_for_it(settings: IngressSettings) -> None:
    caller = ScriptedCaller((b'{"object":"chat.', b'completion"}'), decision=DECISION)
    plain = await post(settings, caller, "/v1/chat/completions", CHAT)
    explained = await post(settings, caller, "/v1/chat/completions", CHAT, headers={"x-keyferry-explain": "true"})
    assert plain.json() == {"object": "chat.completion"}
    assert explained.json() == {
        "object": "chat.completion",
        "keyferry": DECISION.model_dump(mode="json", exclude_none=True),
    }
    assert explained.headers["content-length"] == str(len(explained.content))


async def test_the_first_chunk_of_a_stream_carries_the_decision(settings: IngressSettings) -> None:
    caller = ScriptedCaller((b'{"id":1}\n{"id":2}', b'{"id":3}'), decision=DECISION)
    body = {**CHAT, "stream": True}
    response = await post(settings, caller, "/v1/chat/completions", body, headers={"x-keyferry-explain": "TRUE"})
    events = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    assert [chunk["id"] for chunk in chunks] == [1, 2, 3]
    assert [chunk.get("keyferry", {}).get("model_asked") for chunk in chunks] == ["auto", None, None]


@pytest.mark.parametrize("value", ["yes", "1", "", "true,true", "\x7f", "x" * 10_000])
async def test_another_wish_for_an_explanation_is_a_400(settings: IngressSettings, value: str) -> None:
    caller = ScriptedCaller((b"{}",))
    response = await post(settings, caller, "/v1/chat/completions", CHAT, headers={"x-keyferry-explain": value})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "X-Keyferry-Explain"
    assert caller.requests == []
