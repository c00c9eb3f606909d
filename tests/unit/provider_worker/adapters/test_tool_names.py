"""Names of functions that a provider does not take: the answer, whole or streamed, calls them by the caller's names again."""

import json
from typing import Any

import pytest

from services.provider_worker.adapters.registry import ADAPTERS
from tests.support.providers.attempt_runs import attempt_run

JsonObject = dict[str, Any]
CALLED = "1c.reload/größe"
FUNCTION: JsonObject = {"type": "function", "function": {"name": CALLED, "parameters": {"type": "object"}}}
FIELDS = {"region": "us-east-1", "project": "proj-1", "location": "europe-west4"}
JSON = {"content-type": "application/json"}
EVENTS = {"content-type": "text/event-stream"}


def openai_answer(name: str) -> JsonObject:
    call = {"id": "a", "type": "function", "function": {"name": name, "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    return {"id": "c", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}


def anthropic_answer(name: str) -> JsonObject:
    content = [{"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}]
    usage = {"input_tokens": 1, "output_tokens": 1}
    return {"type": "message", "role": "assistant", "id": "m", "model": "m", "content": content,
            "stop_reason": "tool_use", "usage": usage}  # fmt: skip


def gemini_answer(name: str) -> JsonObject:
    content = {"role": "model", "parts": [{"functionCall": {"name": name, "args": {}}}]}
    return {"candidates": [{"content": content, "finishReason": "STOP", "index": 0}], "modelVersion": "m"}


def cohere_answer(name: str) -> JsonObject:
    call = {"id": "a", "type": "function", "function": {"name": name, "arguments": "{}"}}
    return {"id": "c", "finish_reason": "TOOL_CALL", "message": {"role": "assistant", "tool_calls": [call]}}


def bedrock_answer(name: str) -> JsonObject:
    message = {"role": "assistant", "content": [{"toolUse": {"toolUseId": "a", "name": name, "input": {}}}]}
    usage = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}
    return {"output": {"message": message}, "stopReason": "tool_use", "usage": usage}


WHOLE = {
    "openai": openai_answer,
    "mistral": openai_answer,
    "anthropic": anthropic_answer,
    "gemini": gemini_answer,
    "vertex": gemini_answer,
    "cohere": cohere_answer,
    "bedrock": bedrock_answer,
}


def openai_stream(name: str) -> list[JsonObject]:
    call = {"index": 0, "id": "a", "type": "function", "function": {"name": name, "arguments": ""}}
    deltas: list[JsonObject] = [{"role": "assistant", "tool_calls": [call]}]
    deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}]
    choices: list[JsonObject] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices += [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]
    return [{"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice]} for choice in choices]


def anthropic_stream(name: str) -> list[JsonObject]:
    begun = {**anthropic_answer(name), "content": [], "stop_reason": None}
    block = {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}
    return [
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]


def gemini_stream(name: str) -> list[JsonObject]:
    return [gemini_answer(name)]


STREAMED = {"openai": openai_stream, "anthropic": anthropic_stream, "gemini": gemini_stream}


def names_of(messages: list[JsonObject]) -> list[str]:
    calls = [call for message in messages for call in message.get("tool_calls") or ()]
    return [call["function"]["name"] for call in calls if "name" in call.get("function", {})]


@pytest.mark.parametrize("provider", WHOLE)
def test_a_whole_answer_has_the_callers_name(provider: str) -> None:
    run = attempt_run(provider=provider, model="m", key_fields=FIELDS, base_url="https://example.com")
    body = json.dumps({"messages": [{"role": "user", "content": "hi"}], "tools": [FUNCTION]}).encode()
    request = ADAPTERS[provider].request(run, body)
    [theirs] = json.loads(request.notes["tool_names"])
    assert theirs.encode() in request.content
    reader = ADAPTERS[provider].reader(run, request, 200, JSON)
    assert reader.feed(json.dumps(WHOLE[provider](theirs)).encode()) == []
    answer = reader.close()
    assert answer.failure is None
    assert names_of([choice["message"] for choice in json.loads(answer.body)["choices"]]) == [CALLED]


@pytest.mark.parametrize("provider", STREAMED)
def test_a_streamed_answer_has_the_callers_name(provider: str) -> None:
    run = attempt_run(provider=provider, model="m", stream=True, base_url="https://example.com")
    body = json.dumps({"messages": [{"role": "user", "content": "hi"}], "tools": [FUNCTION], "stream": True}).encode()
    request = ADAPTERS[provider].request(run, body)
    [theirs] = json.loads(request.notes["tool_names"])
    reader = ADAPTERS[provider].reader(run, request, 200, EVENTS)
    events = [f"event: {event.get('type', 'x')}\ndata: {json.dumps(event)}\n\n" for event in STREAMED[provider](theirs)]
    chunks = reader.feed("".join(events).encode() + (b"data: [DONE]\n\n" if provider == "openai" else b""))
    answer = reader.close()
    assert answer.failure is None
    deltas = [choice["delta"] for chunk in [*chunks, *answer.late] for choice in json.loads(chunk)["choices"]]
    assert names_of(deltas) == [CALLED]


def test_names_that_the_provider_takes_need_no_note() -> None:
    plain = {"type": "function", "function": {"name": "f"}}
    body = json.dumps({"messages": [{"role": "user", "content": "hi"}], "tools": [plain]}).encode()
    for provider in WHOLE:
        run = attempt_run(provider=provider, model="m", key_fields=FIELDS, base_url="https://example.com")
        assert "tool_names" not in ADAPTERS[provider].request(run, body).notes
