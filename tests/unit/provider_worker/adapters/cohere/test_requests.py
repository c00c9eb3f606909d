"""Requests to Cohere: rejected and dropped fields, and follow-up turns."""

import json

import pytest

from keyferry.contracts.failure import FailureClass, Where
from services.provider_worker.adapters.adapter import BEARER, RefusedByAdapter
from tests.unit.provider_worker.adapters.cohere.exchanges import ADAPTER, HELLO, cohere_run, read_complete, sent_body

JsonObject = dict[str, object]

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
STRICT = {"type": "function", "function": {"name": "g", "strict": True}}


def rejection(**fields: object) -> tuple[str | None, str]:
    with pytest.raises(RefusedByAdapter) as caught:
        sent_body(**fields)
    failure = caught.value.failure
    assert (failure.failure_class, failure.where, failure.status) == (FailureClass.BAD_REQUEST, Where.NOT_SENT, 400)
    return failure.param, failure.message


def test_requests_go_to_the_documented_url() -> None:
    body = json.dumps({"messages": HELLO, "input": "x"}).encode()
    for run, path, accept in (
        (cohere_run(), "v2/chat", "application/json"),
        (cohere_run(stream=True), "v2/chat", "text/event-stream"),
    ):
        request = ADAPTER.request(run, json.dumps({"messages": HELLO}).encode())
        assert (request.url, request.auth) == (f"https://api.cohere.com/{path}", BEARER)
        assert request.headers["accept"] == accept
    run = cohere_run(embedding=True, drop=True)
    assert ADAPTER.request(run, body).url == "https://api.cohere.com/v2/embed"
    own = cohere_run().model_copy(update={"base_url": "http://127.0.0.1:9/"})
    assert ADAPTER.request(own, json.dumps({"messages": HELLO}).encode()).url == "http://127.0.0.1:9/v2/chat"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 2),
        ("top_logprobs", 2),
        ("logit_bias", {"1": 1}),
        ("user", "u1"),
        ("metadata", {"a": "b"}),
        ("parallel_tool_calls", False),
        ("service_tier", "flex"),
        ("store", True),
        ("verbosity", "low"),
        ("modalities", ["audio"]),
        ("somebody_s_field", {"x": 1}),
    ],
    ids=lambda value: str(value),
)
def test_unsupported_fields_are_rejected_by_name_or_dropped_and_reported(name: str, value: object) -> None:
    param, message = rejection(**{name: value})
    assert param == name
    assert name in message
    body = json.dumps({"messages": HELLO, name: value}).encode()
    request = ADAPTER.request(cohere_run(drop=True), body)
    assert request.dropped == (name,)
    assert json.loads(request.content) == sent_body()


@pytest.mark.parametrize(
    ("name", "value"),
    [("n", 1), ("user", None), ("logit_bias", {}), ("parallel_tool_calls", True), ("store", False), ("stop", [])],
    ids=lambda value: str(value),
)
def test_neutral_fields_are_not_rejected(name: str, value: object) -> None:
    assert sent_body(**{name: value}) == sent_body()


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "user", "content": [{"type": "file", "file": {}}]}, "messages[0].content[0].type"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "messages[0].content[0].type"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "messages[0].content[0].image_url.url"),
        ({"role": "system", "content": [{"type": "image_url"}]}, "messages[0].content[0]"),
        ({"role": "tool", "content": "x"}, "messages[0].tool_call_id"),
        ({"role": "user", "content": "x", "name": "Anna"}, "messages[0].name"),
        ({"role": "nobody"}, "messages[0].role"),
    ],
)
def test_untranslatable_messages_are_rejected_by_path(message: object, param: str) -> None:
    assert rejection(messages=[message])[0] == param


def test_strict_applies_to_all_tools_or_none() -> None:
    assert "strict_tools" not in sent_body(tools=[TOOL])
    assert sent_body(tools=[STRICT])["strict_tools"] is True
    assert rejection(tools=[TOOL, STRICT])[0] == "tools[].function.strict"


def test_json_response_format_and_efforts() -> None:
    assert sent_body(response_format={"type": "json_object"})["response_format"] == {"type": "json_object"}
    assert sent_body(reasoning_effort="high")["thinking"] == {"type": "enabled"}
    assert sent_body(reasoning_effort="medium", max_tokens=1000)["thinking"] == {"type": "enabled", "token_budget": 500}
    own = {"type": "enabled", "token_budget": 7}
    assert sent_body(reasoning_effort="none", thinking=own)["thinking"] == own


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": [[1, 2]]}, "input"),
        ({"input": []}, "input"),
        ({"input": "x", "embedding_types": ["int8"]}, "embedding_types"),
        ({"input": "x", "encoding_format": "binary"}, "encoding_format"),
        ({"input": "x", "user": "u"}, "user"),
    ],
)
def test_unsupported_embedding_fields_are_rejected_by_name(fields: JsonObject, param: str) -> None:
    with pytest.raises(RefusedByAdapter) as caught:
        ADAPTER.request(cohere_run(embedding=True), json.dumps(fields).encode())
    assert caught.value.failure.param == param


def test_an_echoed_answer_is_sent_back_unchanged() -> None:
    """Hand-made: a model that plans, thinks, speaks and calls."""
    function = {"name": "f", "arguments": '{"x":1}'}
    said: JsonObject = {
        "role": "assistant",
        "tool_plan": "I will look.",
        "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "One moment."}],
        "tool_calls": [{"id": "c1", "type": "function", "function": function}],
    }
    answer = read_complete({"message": said, "finish_reason": "TOOL_CALL"})
    message = json.loads(answer.body)["choices"][0]["message"]
    assert message["reasoning_content"] == "I will look.Hm."
    result = {"role": "tool", "tool_call_id": "c1", "content": "2"}
    assert sent_body(messages=[*HELLO, message, result], tools=[TOOL])["messages"] == [HELLO[0], said, result]


def test_a_client_with_only_reasoning_text_still_repeats_the_plan() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "reasoning_content": "I will look.", "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": "c1", "content": "ok"}
    assert sent_body(messages=[*HELLO, message, result], tools=[TOOL])["messages"] == [
        HELLO[0],
        {"role": "assistant", "tool_plan": "I will look.", "tool_calls": [call]},
        result,
    ]
    foreign = message | {
        "reasoning_details": [{"type": "reasoning.text", "format": "anthropic-claude-v1", "text": "x"}]
    }
    messages = sent_body(messages=[*HELLO, foreign], tools=[TOOL])["messages"]
    assert isinstance(messages, list)
    assert "tool_plan" not in messages[1]
