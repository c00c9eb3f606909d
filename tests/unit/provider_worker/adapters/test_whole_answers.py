"""A whole answer in place of a stream goes on to the caller: it has been paid for, whatever the provider's own format is."""

import json
from typing import Any

import pytest

from keyferry.contracts.failure import Where
from keyferry.contracts.usage import UsageSource
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.registry import ADAPTERS
from tests.support.providers.attempt_runs import attempt_run

JsonObject = dict[str, Any]
ARGUMENTS = {"n": 1}
OPENAI: JsonObject = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "hi",
                "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"n":1}'}}],
            },
            "finish_reason": "tool_calls",
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
ANTHROPIC: JsonObject = {
    "id": "c",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "hi"}, {"type": "tool_use", "id": "a", "name": "f", "input": ARGUMENTS}],
    "stop_reason": "tool_use",
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
COHERE: JsonObject = {
    "id": "c",
    "finish_reason": "TOOL_CALL",
    "message": {
        "role": "assistant",
        "content": [{"type": "text", "text": "hi"}],
        "tool_calls": OPENAI["choices"][0]["message"]["tool_calls"],
    },
    "usage": {"tokens": {"input_tokens": 3, "output_tokens": 2}},
}
BEDROCK: JsonObject = {
    "output": {
        "message": {
            "role": "assistant",
            "content": [{"text": "hi"}, {"toolUse": {"toolUseId": "a", "name": "f", "input": ARGUMENTS}}],
        }
    },
    "stopReason": "tool_use",
    "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5},
}
GEMINI: JsonObject = {
    "responseId": "c",
    "modelVersion": "m",
    "candidates": [
        {
            "index": 0,
            "content": {
                "role": "model",
                "parts": [{"text": "hi"}, {"functionCall": {"id": "a", "name": "f", "args": ARGUMENTS}}],
            },
            "finishReason": "STOP",
        }
    ],
    "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5},
}
DOCUMENTS = {
    "openai": OPENAI,
    "custom": OPENAI,
    "anthropic": ANTHROPIC,
    "cohere": COHERE,
    "bedrock": BEDROCK,
    "gemini": GEMINI,
    "vertex": GEMINI,
}
FIELDS = {"bedrock": {"region": "eu-west-1"}, "vertex": {"project": "p", "location": "global"}}


def read_stream(provider: str, body: bytes, *, include_usage: bool) -> tuple[list[JsonObject], Answer]:
    run = attempt_run(
        provider=provider,
        stream=True,
        include_usage=include_usage,
        key_fields=FIELDS.get(provider, {}),
        base_url="http://127.0.0.1:9/v1" if provider == "custom" else None,
    )
    content = json.dumps({"model": "m", "messages": [{"role": "user", "content": "a"}], "stream": True}).encode()
    adapter = ADAPTERS[provider]
    reader = adapter.reader(run, adapter.request(run, content), 200, {"content-type": "application/json"})
    chunks = [chunk for start in range(0, len(body), 7) for chunk in reader.feed(body[start : start + 7])]
    answer = reader.close()
    return [json.loads(chunk) for chunk in [*chunks, *answer.late]], answer


@pytest.mark.parametrize("provider", DOCUMENTS)
@pytest.mark.parametrize("include_usage", [True, False])
def test_a_whole_answer_in_place_of_a_stream_is_passed_on(provider: str, include_usage: bool) -> None:
    body = json.dumps(DOCUMENTS[provider], indent=1).encode()
    chunks, answer = read_stream(provider, body, include_usage=include_usage)
    assert (answer.failure, answer.finish_reason, answer.body) == (None, "tool_calls", b"")
    assert (answer.usage_source, answer.token_usage.total) == (UsageSource.REPORTED, 5)
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert all("message" not in choice for choice in choices)
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == "hi"
    calls = [call for choice in choices for call in choice["delta"].get("tool_calls", [])]
    assert {call["index"] for call in calls} == {0}
    assert (calls[0]["id"], calls[0]["function"]["name"]) == ("a", "f")
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == ARGUMENTS
    assert choices[-1]["finish_reason"] == "tool_calls"
    usages = [chunk["usage"]["total_tokens"] for chunk in chunks if chunk.get("usage")]
    assert usages == ([5] if include_usage else [])


@pytest.mark.parametrize("provider", DOCUMENTS)
@pytest.mark.parametrize("body", [b"{", b"{}", b'{"a":', b"[]", b"<html>"])
def test_a_document_that_is_no_answer_is_a_failure(provider: str, body: bytes) -> None:
    chunks, answer = read_stream(provider, body, include_usage=True)
    assert (chunks, answer.late) == ([], ())
    assert answer.failure is not None
    assert answer.failure.where in (Where.HTTP_200_BODY, Where.MID_STREAM)


@pytest.mark.parametrize("provider", ["openai", "custom"])
def test_a_document_too_deep_to_be_written_again_is_a_failure(provider: str) -> None:
    body = json.dumps(OPENAI | {"x": 0}).replace('"x": 0', f'"x": {"[" * 1015}{"]" * 1015}')
    chunks, answer = read_stream(provider, body.encode(), include_usage=True)
    assert (chunks, answer.finish_reason) == ([], None)
    assert answer.failure is not None
