"""Converse requests: rejected and dropped fields, and details that boto3 does not show."""

import json

import pytest

from keyferry.contracts.failure import FailureClass, Where
from services.provider_worker.adapters.adapter import RefusedByAdapter, SigV4Auth
from tests.unit.provider_worker.adapters.bedrock.exchanges import (
    ADAPTER,
    CLAUDE,
    HELLO,
    NOVA,
    bedrock_run,
    sent_body,
)

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
CALLED = [*HELLO, {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "tool_call_id": "c1", "content": "2"}]


def rejection(model: str = CLAUDE, /, **fields: object) -> tuple[str | None, str]:
    with pytest.raises(RefusedByAdapter) as caught:
        sent_body(bedrock_run(model=model), **fields)
    failure = caught.value.failure
    assert (failure.failure_class, failure.where, failure.status) == (FailureClass.BAD_REQUEST, Where.NOT_SENT, 400)
    return failure.param, failure.message


def dropped_fields(model: str = CLAUDE, /, **fields: object) -> tuple[tuple[str, ...], dict[str, object]]:
    request = ADAPTER.request(bedrock_run(drop=True, model=model), json.dumps({"messages": HELLO} | fields).encode())
    return request.dropped, json.loads(request.content)


def test_requests_go_to_the_documented_url() -> None:
    body = json.dumps({"messages": HELLO}).encode()
    whole = ADAPTER.request(bedrock_run(), body)
    assert whole.url == (
        "https://bedrock-runtime.eu-central-1.amazonaws.com"
        "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse"
    )
    assert whole.auth == SigV4Auth("bedrock", "eu-central-1")
    streamed = ADAPTER.request(bedrock_run(stream=True), body)
    assert streamed.url.endswith("/converse-stream")
    assert streamed.headers["accept"] == "application/vnd.amazon.eventstream"
    arn = "arn:aws:bedrock:us-east-1:000000000000:inference-profile/x.y"
    own = ADAPTER.request(bedrock_run(model=arn, base_url="http://127.0.0.1:9/"), body)
    assert own.url.startswith(
        "http://127.0.0.1:9/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A000000000000%3Ainference-profile%2Fx.y/"
    )
    china = ADAPTER.request(bedrock_run(region="cn-north-1"), body)
    assert china.url.startswith("https://bedrock-runtime.cn-north-1.amazonaws.com.cn/")


@pytest.mark.parametrize("region", [None, "", "evil.example/#", "EU-CENTRAL-1"])
def test_a_key_without_a_region_is_rejected(region: str | None) -> None:
    with pytest.raises(RefusedByAdapter, match="region"):
        ADAPTER.request(bedrock_run(region=region), b'{"messages":[]}')


UNSUPPORTED = [
    ("seed", 7),
    ("n", 2),
    ("n", True),
    ("presence_penalty", 0.5),
    ("frequency_penalty", -1),
    ("logprobs", True),
    ("top_logprobs", 3),
    ("logit_bias", {"1": 1}),
    ("modalities", ["text", "audio"]),
    ("prediction", {"type": "content", "content": "x"}),
    ("web_search_options", {"search_context_size": "low"}),
    ("store", True),
    ("service_tier", "scale"),
    ("somebody_s_field", 1),
]


@pytest.mark.parametrize(("name", "value"), UNSUPPORTED, ids=lambda value: str(value))
def test_unsupported_fields_are_rejected_by_name_or_dropped_and_reported(name: str, value: object) -> None:
    param, message = rejection(**{name: value})
    assert param == name
    assert name in message
    names, body = dropped_fields(**{name: value})
    assert names == (name,)
    assert body == sent_body()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 1),
        ("seed", None),
        ("presence_penalty", 0),
        ("frequency_penalty", 0.0),
        ("logprobs", False),
        ("logit_bias", {}),
        ("stop", []),
        ("tools", []),
        ("tool_choice", "auto"),
        ("metadata", {}),
        ("parallel_tool_calls", True),
        ("store", False),
        ("stream_options", {"include_usage": True}),
        ("response_format", {"type": "text"}),
        ("service_tier", "auto"),
        ("modalities", ["text"]),
        ("user", ""),
        ("reasoning_effort", None),
        ("anything", None),
    ],
    ids=lambda value: str(value),
)
def test_neutral_fields_are_not_rejected(name: str, value: object) -> None:
    assert sent_body(**{name: value}) == sent_body()


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}]},
         "messages[0].content[0].image_url.url"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/tiff;base64,QQ=="}}]},
         "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]},
         "messages[0].content[0].file.file_data"),
        ({"role": "user", "content": [{"type": "video_url"}]}, "messages[0].content[0].type"),
        ({"role": "user", "content": [{"text": "x"}]}, "messages[0].content[0]"),
        ({"role": "user", "content": 7}, "messages[0].content"),
        ({"role": "user", "content": "x", "name": "Anna"}, "messages[0].name"),
        ({"role": "critic", "content": "x"}, "messages[0].role"),
        ({"role": "tool", "content": "x"}, "messages[0].tool_call_id"),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}, "messages[0].tool_calls[0]"),
        ({"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": '{"x"'}}]},
         "messages[0].tool_calls[0].function.arguments"),
        ({"role": "system", "content": "Only this."}, "messages"),
    ],
)  # fmt: skip
def test_untranslatable_messages_are_rejected_by_path(message: object, param: str) -> None:
    assert rejection(messages=[message])[0] == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": "many"}, "max_completion_tokens"),
        ({"stop": [1]}, "stop"),
        ({"reasoning_effort": "hard"}, "reasoning_effort"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"guardrailConfig": "strict"}, "guardrailConfig"),
        ({"messages": CALLED}, "tools"),
        ({"messages": CALLED, "tools": [TOOL], "tool_choice": "none"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False}, "parallel_tool_calls"),
        ({"reasoning_effort": "low", "max_tokens": 500}, "reasoning_effort"),
    ],
)
def test_untranslatable_fields_are_rejected_by_name(fields: dict[str, object], param: str) -> None:
    assert rejection(**fields)[0] == param


def test_a_body_that_is_not_an_object_is_rejected() -> None:
    for body in (b"", b"[]", b"{", b'"x"'):
        with pytest.raises(RefusedByAdapter):
            ADAPTER.request(bedrock_run(), body)


def test_tool_choice_none_sends_no_tools() -> None:
    assert "toolConfig" not in sent_body(tools=[TOOL], tool_choice="none")


def test_only_claude_can_be_kept_from_parallel_calls() -> None:
    body = sent_body(tools=[TOOL], parallel_tool_calls=False)
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    assert body["additionalModelRequestFields"] == {"tool_choice": choice}
    assert rejection(NOVA, tools=[TOOL], parallel_tool_calls=False)[0] == "parallel_tool_calls"
    assert "additionalModelRequestFields" not in sent_body(bedrock_run(model=NOVA), parallel_tool_calls=False)


@pytest.mark.parametrize(
    ("model", "effort", "more", "expected"),
    [
        (CLAUDE, "high", {}, {"thinking": {"type": "enabled", "budget_tokens": 16384}}),
        (CLAUDE, "high", {"max_tokens": 4000}, {"thinking": {"type": "enabled", "budget_tokens": 2000}}),
        (CLAUDE, "none", {}, None),
        ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", "low", {}, {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        ("anthropic.claude-opus-4-1-20250805-v1:0", "low", {}, {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        ("global.anthropic.claude-opus-4-6-v1", "high", {}, {"thinking": {"type": "adaptive"}}),
        ("anthropic.claude-sonnet-5", "low", {}, {"thinking": {"type": "adaptive"}}),
        ("us.amazon.nova-2-lite-v1:0", "minimal", {}, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}),
        ("us.amazon.nova-2-lite-v1:0", "none", {}, {"reasoningConfig": {"type": "disabled"}}),
        ("openai.gpt-oss-120b-1:0", "medium", {}, {"reasoning_effort": "medium"}),
    ],
)  # fmt: skip
def test_reasoning_effort_is_translated_by_family(
    model: str, effort: str, more: dict[str, object], expected: object
) -> None:
    body = sent_body(bedrock_run(model=model), reasoning_effort=effort, **more)
    assert body.get("additionalModelRequestFields") == expected
    adaptive = expected == {"thinking": {"type": "adaptive"}}
    assert body.get("outputConfig") == ({"effort": effort} if adaptive else None)


def test_effort_is_rejected_or_dropped_without_reasoning() -> None:
    assert rejection(NOVA, reasoning_effort="low")[0] == "reasoning_effort"
    assert dropped_fields(NOVA, reasoning_effort="low")[0] == ("reasoning_effort",)


def test_native_fields_override_translated_ones() -> None:
    body = sent_body(
        top_k=5,
        reasoning_effort="low",
        additionalModelRequestFields={"thinking": {"type": "disabled"}},
        guardrailConfig={"guardrailIdentifier": "g", "guardrailVersion": "1"},
        metadata={"team": "a"},
        requestMetadata={"stage": "b"},
        user="u1",
    )
    assert body["additionalModelRequestFields"] == {"top_k": 5, "thinking": {"type": "disabled"}}
    assert body["guardrailConfig"] == {"guardrailIdentifier": "g", "guardrailVersion": "1"}
    assert body["requestMetadata"] == {"team": "a", "user": "u1", "stage": "b"}
    assert sent_body(bedrock_run(model=NOVA), top_k=5)["additionalModelRequestFields"] == {
        "inferenceConfig": {"topK": 5}
    }


def test_invalid_call_ids_change_alike_in_call_and_result() -> None:
    strange = "call/ü" + "x" * 80
    call = {"id": strange, "type": "function", "function": {"name": "f", "arguments": ""}}
    messages = [
        *HELLO,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": strange, "content": ""},
    ]
    body = sent_body(messages=messages, tools=[TOOL])
    made = body["messages"]
    assert isinstance(made, list)
    use, result = made[1]["content"][0]["toolUse"], made[2]["content"][0]["toolResult"]
    assert use["toolUseId"] == result["toolUseId"]
    assert len(use["toolUseId"]) <= 64
    assert use["toolUseId"].isascii()
    assert use["input"] == {}


def test_documents_with_one_name_get_unique_names() -> None:
    url = "data:application/pdf;base64,JVBERi0="
    part = {"type": "file", "file": {"filename": "Q3_report (final).pdf", "file_data": url}}
    body = sent_body(messages=[{"role": "user", "content": [{"type": "text", "text": "Compare."}, part, part]}])
    messages = body["messages"]
    assert isinstance(messages, list)
    names = [block["document"]["name"] for block in messages[0]["content"][1:]]
    assert names == ["Q3 report (final)", "Q3 report (final) (2)"]


def test_cache_control_becomes_a_cache_point() -> None:
    ephemeral = {"type": "ephemeral"}
    body = sent_body(
        messages=[
            {"role": "system", "content": [{"type": "text", "text": "Long.", "cache_control": ephemeral}]},
            {"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {**ephemeral, "ttl": "1h"}}]},
        ],
        tools=[{**TOOL, "cache_control": ephemeral}],
    )
    assert body["system"] == [{"text": "Long."}, {"cachePoint": {"type": "default"}}]
    assert body["messages"] == [
        {"role": "user", "content": [{"text": "Hi"}, {"cachePoint": {"type": "default", "ttl": "1h"}}]}
    ]
    config = body["toolConfig"]
    assert isinstance(config, dict)
    assert config["tools"][1:] == [{"cachePoint": {"type": "default"}}]
    wrong = [{"type": "text", "text": "x", "cache_control": {"type": "forever"}}]
    assert rejection(messages=[{"role": "user", "content": wrong}])[0] == "messages[0].content[0].cache_control"
