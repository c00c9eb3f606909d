"""The same request by Anthropic's own SDK, sent to a server on loopback, and by the adapter, compared by meaning."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import anthropic
import pytest

from services.provider_worker.adapters.adapter import HeaderAuth
from tests.support.providers.attempt_runs import attempt_run
from tests.support.providers.upstream import ProviderRequest, Reply, Upstream, pieces_of, running_upstream
from tests.unit.provider_worker.adapters.anthropic.message_events import ADAPTER, message, upstream_request

PNG = "iVBORw0KGgo="
PDF = "JVBERi0xLjQ="
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = {"name": "weather", "description": "Looks it up", "input_schema": SCHEMA}
OPENAI_WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "Looks it up", "parameters": SCHEMA},
}
QUESTION = [{"role": "user", "content": "hi"}]


@dataclass(frozen=True)
class Pair:
    """A request in OpenAI's form and the arguments of Anthropic's SDK for it."""

    openai: dict[str, Any]
    sdk: dict[str, Any]
    model: str = "claude-haiku-4-5"


def tool_turns(tool_id: str) -> list[dict[str, Any]]:
    """A call and its result in Anthropic's form."""
    return [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Let me look."},
                {"type": "tool_use", "id": tool_id, "name": "weather", "input": {"city": "Köln"}},
                {"type": "tool_use", "id": "call_2", "name": "weather", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": tool_id, "content": [{"type": "text", "text": "sunny"}]},
                {
                    "type": "tool_result",
                    "tool_use_id": "call_2",
                    "content": [
                        {"type": "text", "text": "map"},
                        {"type": "image", "source": {"type": "url", "url": "https://example.test/map.png"}},
                    ],
                },
                {"type": "text", "text": "thanks"},
            ],
        },
    ]


PAIRS = {
    "plain": Pair({"max_tokens": 50}, {"max_tokens": 50, "messages": QUESTION}),
    "instructions, turns, stop, user": Pair(
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "b"},
                {"role": "user", "content": "c"},
            ],
            "max_completion_tokens": 9,
            "temperature": 0.5,
            "stop": "END",
            "user": "u-1",
        },
        {
            "system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}],
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "b"},
                {"role": "user", "content": "c"},
            ],
            "max_tokens": 9,
            "extra_body": {"temperature": 0.5},
            "stop_sequences": ["END"],
            "metadata": {"user_id": "u-1"},
        },
    ),
    "images and a document": Pair(
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is this?", "cache_control": {"type": "ephemeral"}},
                        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "high"}},
                        {"type": "image_url", "image_url": {"url": "https://example.test/a.png"}},
                        {
                            "type": "file",
                            "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
                        },
                    ],
                }
            ],
            "max_tokens": 50,
        },
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is this?", "cache_control": {"type": "ephemeral"}},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                        {"type": "image", "source": {"type": "url", "url": "https://example.test/a.png"}},
                        {
                            "type": "document",
                            "title": "a.pdf",
                            "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
                        },
                    ],
                }
            ],
            "max_tokens": 50,
        },
    ),
    "tools, calls and results": Pair(
        {
            "messages": [
                {"role": "user", "content": "hi"},
                {
                    "role": "assistant",
                    "content": "Let me look.",
                    "tool_calls": [
                        {
                            "id": "functions.weather:0",
                            "type": "function",
                            "function": {"name": "weather", "arguments": '{"city": "Köln"}'},
                        },
                        {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": ""}},
                    ],
                },
                {"role": "tool", "tool_call_id": "functions.weather:0", "name": "weather", "content": "sunny"},
                {
                    "role": "tool",
                    "tool_call_id": "call_2",
                    "content": [
                        {"type": "text", "text": "map"},
                        {"type": "image_url", "image_url": {"url": "https://example.test/map.png"}},
                    ],
                },
                {"role": "user", "content": "thanks"},
            ],
            "tools": [OPENAI_WEATHER],
            "tool_choice": "required",
            "parallel_tool_calls": False,
            "max_tokens": 50,
        },
        {
            "messages": tool_turns("functions_weather_0_30819vSD4j"),
            "tools": [WEATHER],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
            "max_tokens": 50,
        },
    ),
    "one tool named, strict": Pair(
        {
            "tools": [{"type": "function", "function": {**OPENAI_WEATHER["function"], "strict": True}}],  # type: ignore[dict-item]
            "tool_choice": {"type": "function", "function": {"name": "weather"}},
            "max_tokens": 50,
        },
        {
            "messages": QUESTION,
            "tools": [{**WEATHER, "strict": True}],
            "tool_choice": {"type": "tool", "name": "weather"},
            "max_tokens": 50,
        },
    ),
    "no tool call": Pair(
        {"tools": [OPENAI_WEATHER], "tool_choice": "none", "parallel_tool_calls": False, "max_tokens": 5},
        {"messages": QUESTION, "tools": [WEATHER], "tool_choice": {"type": "none"}, "max_tokens": 5},
    ),
    "one at a time": Pair(
        {"tools": [OPENAI_WEATHER], "parallel_tool_calls": False, "max_tokens": 5},
        {
            "messages": QUESTION,
            "tools": [WEATHER],
            "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
            "max_tokens": 5,
        },
    ),
    "a schema for the answer": Pair(
        {
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": SCHEMA}},
            "max_tokens": 5,
        },
        {
            "messages": QUESTION,
            "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
            "max_tokens": 5,
        },
    ),
    "thinking by a budget": Pair(
        {"reasoning_effort": "low", "max_tokens": 10_000, "top_p": 0.96},
        {
            "messages": QUESTION,
            "thinking": {"type": "enabled", "budget_tokens": 2048},
            "max_tokens": 10_000,
            "extra_body": {"top_p": 0.96},
        },
    ),
    "adaptive thinking": Pair(
        {"reasoning_effort": "high", "max_tokens": 10_000},
        {
            "messages": QUESTION,
            "thinking": {"type": "adaptive", "display": "summarized"},
            "output_config": {"effort": "high"},
            "max_tokens": 10_000,
        },
        model="claude-opus-4-8",
    ),
    "Anthropic's own fields": Pair(
        {
            "thinking": {"type": "enabled", "budget_tokens": 1024},
            "max_tokens": 2000,
            "service_tier": "standard_only",
            "cache_control": {"type": "ephemeral"},
            "metadata": {"user_id": "u"},
            "tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}],
        },
        {
            "messages": QUESTION,
            "thinking": {"type": "enabled", "budget_tokens": 1024},
            "max_tokens": 2000,
            "service_tier": "standard_only",
            "cache_control": {"type": "ephemeral"},
            "metadata": {"user_id": "u"},
            "tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}],
        },
    ),
    "a stream": Pair(
        {"stream": True, "max_tokens": 5, "stream_options": {"include_usage": True}},
        {"messages": QUESTION, "max_tokens": 5, "stream": True},
    ),
}


def answer(received: ProviderRequest) -> Reply:
    if received.body.get("stream"):
        return Reply(200, {"content-type": "text/event-stream"}, pieces_of(b'data: {"type":"message_stop"}\n\n'))
    body = json.dumps(message({"type": "text", "text": "hello"})).encode()
    return Reply(200, {"content-type": "application/json"}, pieces_of(body))


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream(answer) as running:
        yield running


@pytest.fixture
def sdk_request(upstream: Upstream) -> Callable[..., ProviderRequest]:
    def send(**arguments: Any) -> ProviderRequest:
        base_url = upstream.base_url.removesuffix("/v1")
        with anthropic.Anthropic(api_key="k", base_url=base_url, max_retries=0) as client:
            made = client.messages.create(**arguments)
            if isinstance(made, anthropic.Stream):
                made.close()
        return upstream.calls[-1].request

    return send


def meaning(body: dict[str, Any]) -> dict[str, Any]:
    """`body` with texts as the blocks that they are short for."""
    messages = [
        {**turn, "content": [{"type": "text", "text": turn["content"]}]} if isinstance(turn["content"], str) else turn
        for turn in body["messages"]
    ]
    return {**body, "messages": messages}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
def test_the_sdk_sends_the_same_request(pair: Pair, sdk_request: Callable[..., ProviderRequest]) -> None:
    received = sdk_request(model=pair.model, **pair.sdk)
    ours = upstream_request(pair.openai, model=pair.model, stream=bool(pair.openai.get("stream")))
    assert meaning(json.loads(ours.content)) == meaning(received.body)
    assert ours.dropped == ()
    assert ours.url.endswith(received.path)


def test_headers_match_the_sdk_except_the_version(
    sdk_request: Callable[..., ProviderRequest],
) -> None:
    received = sdk_request(model="claude-haiku-4-5", max_tokens=5, messages=QUESTION)
    ours = upstream_request({})
    assert set(ours.headers) <= {name.lower() for name in received.headers}
    assert ours.headers["anthropic-version"] == "2023-06-01"
    assert ours.auth == HeaderAuth("x-api-key", "")


@pytest.mark.parametrize("base_url", ["https://x.test", "https://x.test/", "https://x.test/v1", "https://x.test/v1/"])
def test_a_base_url_may_end_with_its_version(base_url: str) -> None:
    run = attempt_run(model="claude-haiku-4-5", base_url=base_url)
    request = ADAPTER.request(run, b'{"messages":[{"role":"user","content":"x"}]}')
    assert request.url == "https://x.test/v1/messages"
    assert upstream_request({}).url == "https://api.anthropic.com/v1/messages"
