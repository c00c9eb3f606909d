"""The adapter's requests to Cohere compared with those of Cohere's own client."""

import json
from collections.abc import Iterator
from typing import Any

import cohere
import httpx
import pytest

from keyferry.contracts.usage import RequestKind
from services.provider_worker.adapters.adapter import UpstreamRequest
from services.provider_worker.adapters.cohere.adapter import CohereAdapter
from tests.support.providers.attempt_runs import attempt_run
from tests.support.providers.upstream import ProviderRequest, Reply, Upstream, pieces_of, running_upstream

JsonObject = dict[str, object]

MODEL = "command-a-03-2025"
IMAGE = "data:image/png;base64,iVBORw0KGgo="
CHAT = {
    "id": "a",
    "finish_reason": "COMPLETE",
    "message": {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]},
}
EMBEDDED = {"id": "a", "embeddings": {"float": [[1.0]]}, "response_type": "embeddings_by_type"}
EVENTS = (
    {"type": "message-start", "id": "a", "delta": {"message": {"role": "assistant"}}},
    {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": {}}},
)


def answer(received: ProviderRequest) -> Reply:
    if received.body.get("stream"):
        events = [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in EVENTS]
        return Reply(200, {"content-type": "text/event-stream"}, pieces_of(*events))
    document = EMBEDDED if received.path.endswith("embed") else CHAT
    return Reply(200, {"content-type": "application/json"}, pieces_of(json.dumps(document).encode()))


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream(answer) as running:
        yield running


@pytest.fixture
def client(upstream: Upstream) -> Iterator[cohere.ClientV2]:
    with httpx.Client() as http:
        yield cohere.ClientV2(api_key="a-word", base_url=f"http://127.0.0.1:{upstream.port}", httpx_client=http)


def build_request(
    upstream: Upstream, kind: RequestKind = RequestKind.CHAT, stream: bool = False, **fields: object
) -> UpstreamRequest:
    run = attempt_run(model=MODEL, stream=stream, base_url=f"http://127.0.0.1:{upstream.port}")
    return CohereAdapter().request(run.model_copy(update={"kind": kind}), json.dumps(fields).encode())


def compare(upstream: Upstream, request: UpstreamRequest) -> None:
    received = upstream.calls[-1].request
    assert json.loads(request.content) == received.body
    assert request.url == f"http://127.0.0.1:{upstream.port}{received.path}"


LOOK_SCHEMA = {"type": "object", "properties": {"x": {"type": "number"}}}
REASONING = [{"type": "reasoning.text", "format": "cohere-tool-plan-v1", "index": 0, "text": "I will look."}]
LOOK_CALL = {"id": "look_1", "type": "function", "function": {"name": "look", "arguments": '{"x": 1.5}'}}
LOOK = {"name": "look", "description": "Looks.", "parameters": LOOK_SCHEMA, "strict": True}
WAIT = {"name": "wait", "strict": True}
FULL_COHERE_CHAT: dict[str, Any] = {
    "messages": [
        cohere.SystemChatMessageV2(content="Be brief."),
        cohere.UserChatMessageV2(
            content=[
                cohere.TextContent(text="What is this?"),
                cohere.ImageUrlContent(image_url=cohere.ImageUrl(url=IMAGE, detail="low")),
            ]
        ),
        cohere.AssistantChatMessageV2(
            tool_plan="I will look.",
            tool_calls=[
                cohere.ToolCallV2(
                    id="look_1",
                    function=cohere.ToolCallV2Function(name="look", arguments='{"x": 1.5}'),
                )
            ],
        ),
        cohere.ToolChatMessageV2(tool_call_id="look_1", content="a cat"),
        cohere.AssistantChatMessageV2(content="A cat."),
        cohere.UserChatMessageV2(content="Sure?"),
    ],
    "tools": [
        cohere.ToolV2(
            function=cohere.ToolV2Function(name="look", description="Looks.", parameters=LOOK_SCHEMA),
        )
    ],
    "strict_tools": True,
    "tool_choice": "REQUIRED",
    "max_tokens": 100,
    "stop_sequences": ["END", "."],
    "temperature": 0.5,
    "seed": 7,
    "frequency_penalty": 0.25,
    "presence_penalty": 0.5,
    "k": 4,
    "p": 0.75,
    "logprobs": True,
    "thinking": cohere.Thinking(type="enabled", token_budget=50),
    "safety_mode": "STRICT",
    "documents": ["A cat is an animal."],
}
FULL_CHAT: dict[str, Any] = {
    "messages": [
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}},
            ],
        },
        {"role": "assistant", "content": None, "tool_calls": [LOOK_CALL], "reasoning_details": REASONING},
        {"role": "tool", "tool_call_id": "look_1", "content": "a cat"},
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": "Sure?"},
    ],
    "tools": [{"type": "function", "function": LOOK}, {"type": "function", "function": WAIT}],
    "tool_choice": {"type": "function", "function": {"name": "look"}},
    "max_tokens": 100,
    "stop": ["END", "."],
    "temperature": 0.5,
    "seed": 7,
    "frequency_penalty": 0.25,
    "presence_penalty": 0.5,
    "top_k": 4,
    "top_p": 0.75,
    "logprobs": True,
    "reasoning_effort": "low",
    "safety_mode": "STRICT",
    "documents": ["A cat is an animal."],
}


def test_a_request_with_every_field(upstream: Upstream, client: cohere.ClientV2) -> None:
    client.chat(model=MODEL, **FULL_COHERE_CHAT)
    compare(upstream, build_request(upstream, **FULL_CHAT))


def test_a_json_answer(upstream: Upstream, client: cohere.ClientV2) -> None:
    wanted = cohere.JsonObjectResponseFormatV2(json_schema={"type": "object"})
    client.chat(model=MODEL, messages=[cohere.UserChatMessageV2(content="Hi")], response_format=wanted)
    schema = {"type": "json_schema", "json_schema": {"name": "cat", "schema": {"type": "object"}}}
    messages = [{"role": "user", "content": "Hi"}]
    compare(upstream, build_request(upstream, messages=messages, response_format=schema))


def test_echoed_thinking_and_tool_results_in_parts(upstream: Upstream, client: cohere.ClientV2) -> None:
    client.chat(
        model=MODEL,
        messages=[
            cohere.UserChatMessageV2(content="Look."),
            cohere.AssistantChatMessageV2(
                content=[
                    cohere.ThinkingAssistantMessageV2ContentOneItem(thinking="Hm."),
                    cohere.TextAssistantMessageV2ContentOneItem(text="Yes."),
                ],
                tool_calls=[
                    cohere.ToolCallV2(id="c1", function=cohere.ToolCallV2Function(name="look", arguments="{}"))
                ],
            ),
            cohere.ToolChatMessageV2(
                tool_call_id="c1", content=[cohere.TextToolContent(text="a"), cohere.TextToolContent(text="b")]
            ),
        ],
        tools=[
            cohere.ToolV2(function=cohere.ToolV2Function(name="look", parameters={"type": "object", "properties": {}}))
        ],
        tool_choice="NONE",
    )
    details = [{"type": "reasoning.text", "format": "cohere-thinking-v1", "index": 0, "text": "Hm."}]
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": ""}}
    request = build_request(
        upstream,
        messages=[
            {"role": "user", "content": "Look."},
            {"role": "assistant", "content": "Yes.", "tool_calls": [call], "reasoning_details": details},
            {
                "role": "tool",
                "tool_call_id": "c1",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            },
        ],
        tools=[{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
        tool_choice="none",
    )
    compare(upstream, request)


def test_a_stream(upstream: Upstream, client: cohere.ClientV2) -> None:
    kinds = [
        one.type
        for one in client.chat_stream(
            model=MODEL,
            messages=[cohere.UserChatMessageV2(content="Hi")],
            thinking=cohere.Thinking(type="disabled"),
        )
    ]
    assert kinds == ["message-start", "message-end"]
    request = build_request(
        upstream, stream=True, messages=[{"role": "user", "content": "Hi"}], reasoning_effort="none"
    )
    compare(upstream, request)


def test_embeddings(upstream: Upstream, client: cohere.ClientV2) -> None:
    client.embed(
        model=MODEL,
        input_type="search_query",
        texts=["a", "b"],
        embedding_types=["float"],
        output_dimension=256,
        truncate="END",
    )
    request = build_request(
        upstream,
        RequestKind.EMBEDDING,
        input=["a", "b"],
        dimensions=256,
        encoding_format="base64",
        input_type="search_query",
        truncate="END",
    )
    compare(upstream, request)
    client.embed(model=MODEL, input_type="search_document", texts=["a"], embedding_types=["float"])
    compare(upstream, build_request(upstream, RequestKind.EMBEDDING, input="a"))
