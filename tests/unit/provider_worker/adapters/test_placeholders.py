"""What is sent beside the caller's own words is named, so that a caller can read of it."""

import json
from typing import Any

import pytest

from services.provider_worker.adapters.openai_format.placeholders import PLACEHOLDERS, find_added
from tests.unit.provider_worker.adapters.test_model_rules import ask
from tests.unit.provider_worker.adapters.test_request_rules import HELLO, call, calls, run_of

JsonObject = dict[str, Any]
CALLED = [HELLO, calls(call("abcdefghi"))]
RESULT = {"role": "tool", "tool_call_id": "abcdefghi", "content": "x"}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]


def added(provider: str, messages: list[JsonObject], **fields: Any) -> list[str]:
    request = ask(provider, run_of(provider).model, messages=messages, **fields)
    return list(find_added(request.content, json.dumps({"messages": messages, **fields}).encode()))


def test_the_turn_that_mistral_wants_between_a_result_and_the_user() -> None:
    messages = [*CALLED, RESULT, {"role": "user", "content": "Go on."}]
    assert added("mistral", messages, tools=TOOLS) == ["(results received)"]
    assert added("openai", messages, tools=TOOLS) == []


@pytest.mark.parametrize("provider", ["openai", "anthropic", "bedrock", "gemini", "cohere", "mistral", "groq"])
def test_a_result_that_the_caller_left_out(provider: str) -> None:
    messages = [*CALLED, {"role": "user", "content": "Go on."}]
    assert "(this call has no result)" in added(provider, messages, tools=TOOLS)


@pytest.mark.parametrize("provider", ["anthropic", "bedrock", "gemini"])
def test_the_start_of_a_conversation_that_the_assistant_begins(provider: str) -> None:
    messages = [{"role": "assistant", "content": "Hi."}, HELLO]
    assert added(provider, messages) == ["(the conversation begins with the assistant)"]


@pytest.mark.parametrize("provider", ["anthropic", "bedrock", "gemini", "cohere", "mistral"])
def test_what_the_caller_wrote_is_not_added(provider: str) -> None:
    messages = [{"role": "user", "content": f"What is {text}?"} for text in PLACEHOLDERS]
    assert added(provider, messages) == []


def test_one_more_than_the_caller_wrote_is_added() -> None:
    assert find_added(b"(no output) (no output)", b"(no output)") == ("(no output)",)


def test_a_value_without_effect_that_mistral_refuses_is_named_as_dropped() -> None:
    assert ask("mistral", "mistral-small-latest", temperature=0, top_p=0.9).dropped == ("top_p",)
