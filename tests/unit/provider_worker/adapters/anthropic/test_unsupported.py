"""Fields that Anthropic does not support: rejected by name, or dropped and reported."""

import json

import pytest

from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.usage import RequestKind
from services.provider_worker.adapters.adapter import RefusedByAdapter
from tests.support.providers.attempt_runs import attempt_run
from tests.unit.provider_worker.adapters.anthropic.message_events import (
    ADAPTER,
    JsonObject,
    outcome_of,
    request_body,
    upstream_request,
)

HI: JsonObject = {"role": "user", "content": "hi"}
TOOLS: list[JsonObject] = [{"type": "function", "function": {"name": "f"}}]
AUDIO: JsonObject = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}

UNSUPPORTED: dict[str, tuple[str, JsonObject]] = {
    "n": ("n", {"n": 2}),
    "seed": ("seed", {"seed": 0}),
    "penalty": ("frequency_penalty", {"frequency_penalty": 0.5}),
    "presence": ("presence_penalty", {"presence_penalty": -1}),
    "logprobs": ("logprobs", {"logprobs": True}),
    "top_logprobs": ("top_logprobs", {"top_logprobs": 3}),
    "logit_bias": ("logit_bias", {"logit_bias": {"1": 2}}),
    "store": ("store", {"store": True}),
    "modalities": ("modalities", {"modalities": ["text", "audio"]}),
    "prediction": ("prediction", {"prediction": {"type": "content", "content": "x"}}),
    "metadata": ("metadata", {"metadata": {"team": "a"}}),
    "tier": ("service_tier", {"service_tier": "flex"}),
    "unknown": ("frobnicate", {"frobnicate": False}),
    "temperature": ("temperature", {"temperature": 1.5}),
    "both": ("top_p", {"temperature": 0.5, "top_p": 0.5}),
    "custom tool": ("tools[0]", {"tools": [{"type": "custom", "custom": {"name": "x"}}]}),
    "allowed tools": ("tool_choice", {"tools": TOOLS, "tool_choice": {"type": "allowed_tools"}}),
    "format": ("response_format", {"response_format": {"type": "grammar"}}),
    "audio": ("messages[0].content[1]", {"messages": [{"role": "user", "content": ["x", AUDIO]}]}),
    "name": ("messages[0].name", {"messages": [{**HI, "name": "Bo"}]}),
    "file by id": (
        "messages[0].content[1].file",
        {"messages": [{"role": "user", "content": ["x", {"type": "file", "file": {"file_id": "f"}}]}]},
    ),
    "detail": (
        "messages[0].content[0].image_url.detail",
        {"messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "https://x.test/a.png", "detail": "low"}}]}]},
    ),
    "audio of an answer": (
        "messages[1].audio",
        {"messages": [HI, {"role": "assistant", "content": "x", "audio": {"id": "a"}}]},
    ),
    "thinking twice": (
        "reasoning_effort",
        {"reasoning_effort": "low", "thinking": {"type": "enabled", "budget_tokens": 1024}},
    ),
    "no tokens left to think": ("reasoning_effort", {"reasoning_effort": "low", "max_tokens": 1024}),
    "temperature while thinking": ("temperature", {"reasoning_effort": "low", "temperature": 0.2}),
    "top_k while thinking": ("top_k", {"reasoning_effort": "low", "top_k": 5}),
    "forced while thinking": (
        "reasoning_effort",
        {"reasoning_effort": "low", "tools": TOOLS, "tool_choice": "required"},
    ),
    "JSON while thinking": ("reasoning_effort", {"reasoning_effort": "low", "response_format": {"type": "json_object"}}),
}  # fmt: skip


@pytest.mark.parametrize(("field", "fields"), UNSUPPORTED.values(), ids=UNSUPPORTED.keys())
def test_unsupported_fields_are_rejected_by_name_or_dropped_and_reported(field: str, fields: JsonObject) -> None:
    with pytest.raises(RefusedByAdapter) as caught:
        request_body(fields)
    failure = caught.value.failure
    assert failure.failure_class is FailureClass.BAD_REQUEST
    assert (failure.where, failure.status, failure.param) == (Where.NOT_SENT, 400, field)
    assert f"`{field}`" in failure.message
    request = upstream_request(fields, drop=True)
    assert request.dropped == (field,)
    sent = json.loads(request.content)
    assert sent["messages"]
    if field in fields and field != "tool_choice":
        assert field not in sent
    if field == "reasoning_effort" and "thinking" not in fields:
        assert "thinking" not in sent


MODELS: dict[str, tuple[str, str, JsonObject]] = {
    "an old model does not think": ("claude-3-5-haiku-latest", "reasoning_effort", {"reasoning_effort": "low"}),
    "a new one does not sample": ("claude-opus-4-7", "temperature", {"temperature": 0.2}),
    "nor by top_p": ("claude-sonnet-5", "top_p", {"top_p": 0.2}),
    "nor by top_k": ("claude-sonnet-5", "top_k", {"top_k": 2}),
    "one always thinks": ("claude-fable-5", "reasoning_effort", {"reasoning_effort": "none"}),
    "4.6 has no xhigh": ("claude-opus-4-6", "reasoning_effort", {"reasoning_effort": "xhigh"}),
    "the newest calls no tool by force": (
        "claude-opus-5-5",
        "tool_choice",
        {"tools": TOOLS, "tool_choice": "required"},
    ),
    "so it gives no JSON without a schema": (
        "claude-sonnet-5-5",
        "response_format",
        {"response_format": {"type": "json_object"}},
    ),
    "older ones are not strict": (
        "claude-sonnet-4-0",
        "tools[0].function.strict",
        {"tools": [{"type": "function", "function": {"name": "f", "strict": True}}]},
    ),
}


@pytest.mark.parametrize(("model", "field", "fields"), MODELS.values(), ids=MODELS.keys())
def test_fields_unsupported_by_one_model_are_rejected_for_it(model: str, field: str, fields: JsonObject) -> None:
    with pytest.raises(RefusedByAdapter) as caught:
        request_body(fields, model=model)
    assert caught.value.failure.param == field
    assert upstream_request(fields, model=model, drop=True).dropped == (field,)


NEUTRAL: JsonObject = {
    "n": 1, "seed": None, "frequency_penalty": 0, "presence_penalty": 0.0, "logprobs": False, "top_logprobs": 0,
    "logit_bias": {}, "store": False, "modalities": ["text"], "stream_options": {"include_usage": True}, "tools": [],
    "tool_choice": "auto", "parallel_tool_calls": True, "response_format": {"type": "text"}, "metadata": {}, "stop": None,
    "reasoning_effort": None, "functions": [], "unheard_of": None, "temperature": 1, "top_p": 1.0, "user": None,
    "service_tier": None, "verbosity": "medium", "prediction": None, "max_tokens": None,
}  # fmt: skip


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "claude-opus-4-7", "claude-fable-5"])
def test_neutral_values_are_neither_rejected_nor_sent(model: str) -> None:
    plain, neutral = upstream_request({}, model=model), upstream_request(NEUTRAL, model=model)
    assert neutral.dropped == ()
    assert neutral.content == plain.content
    assert set(json.loads(plain.content)) == {"model", "messages", "max_tokens"}


SENSELESS: dict[str, tuple[str | None, JsonObject]] = {
    "no messages": ("messages", {"messages": []}),
    "messages of no kind": ("messages", {"messages": "hi"}),
    "instructions only": ("messages", {"messages": [{"role": "system", "content": "x"}]}),
    "role": ("messages[0].role", {"messages": [{"role": "narrator", "content": "x"}]}),
    "content": ("messages[0].content", {"messages": [{"role": "user", "content": 5}]}),
    "part": ("messages[0].content[0]", {"messages": [{"role": "user", "content": [5]}]}),
    "result of nothing": ("messages[1].tool_call_id", {"messages": [HI, {"role": "tool", "content": "x"}]}),
    "arguments": (
        "messages[1].tool_calls[0].function.arguments",
        {"messages": [HI, {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{"}}]}]},
    ),
    "nameless call": (
        "messages[1].tool_calls[0].function.name",
        {"messages": [HI, {"role": "assistant", "tool_calls": [{"id": "a", "type": "custom", "custom": {}}]}]},
    ),
    "image format": (
        "messages[0].content[0].image_url.url",
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/bmp;base64,AA=="}}]}]},
    ),
    "image address": (
        "messages[0].content[0].image_url.url",
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "ftp://x/a.png"}}]}]},
    ),
    "file format": (
        "messages[0].content[0].file.file_data",
        {"messages": [{"role": "user", "content": [
            {"type": "file", "file": {"file_data": "data:application/zip;base64,AA=="}}]}]},
    ),
    "limit": ("max_tokens", {"max_tokens": "many"}),
    "temperature": ("temperature", {"temperature": "hot"}),
    "stop": ("stop", {"stop": 5}),
    "tools": ("tools", {"tools": {"type": "function"}}),
    "tool": ("tools[0].function.name", {"tools": [{"type": "function", "function": {}}]}),
    "choice": ("tool_choice", {"tool_choice": "required"}),
    "chosen": ("tool_choice.function.name", {"tools": TOOLS, "tool_choice": {"type": "function"}}),
    "schema": ("response_format.json_schema.schema", {"response_format": {"type": "json_schema"}}),
    "effort": ("reasoning_effort", {"reasoning_effort": "huge"}),
    "thinking": ("thinking", {"thinking": True}),
    "output_config": ("output_config", {"output_config": "x"}),
}  # fmt: skip


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize(("field", "fields"), SENSELESS.values(), ids=SENSELESS.keys())
def test_invalid_values_are_rejected_even_if_fields_may_be_dropped(field: str, fields: JsonObject, drop: bool) -> None:
    with pytest.raises(RefusedByAdapter) as caught:
        request_body(fields, drop=drop)
    assert caught.value.failure.param == field
    assert caught.value.failure.message


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null"])
def test_a_body_that_is_not_an_object_is_rejected(body: bytes) -> None:
    with pytest.raises(RefusedByAdapter, match="not a JSON object"):
        ADAPTER.request(attempt_run(), body)


@pytest.mark.parametrize("depth", [100, 300, 900, 1010, 3000, 100_000])
@pytest.mark.parametrize("field", ["cache_control", "tools", "output_config"])
def test_a_deeply_nested_body_is_sent_or_rejected(field: str, depth: int) -> None:
    deep = '{"a":' * depth + "1" + "}" * depth
    value = f'[{{"type":"web_search_20250305","x":{deep}}}]' if field == "tools" else deep
    body = f'{{"messages":[{{"role":"user","content":"x"}}],"{field}":{value}}}'.encode()
    outcome = outcome_of(attempt_run(), body)
    if isinstance(outcome, Failure):
        assert depth > 300
        assert "nested too deeply" in outcome.message or "not a JSON object" in outcome.message
    else:
        assert outcome.content.count(b'{"a":') == depth


def test_a_too_deeply_nested_schema_is_rejected() -> None:
    schema: JsonObject = {"type": "string"}
    for _ in range(100):
        schema = {"type": "object", "properties": {"a": schema}}
    with pytest.raises(RefusedByAdapter, match="nested too deeply"):
        request_body({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}})


def test_embeddings_are_rejected() -> None:
    with pytest.raises(RefusedByAdapter, match="no embeddings"):
        ADAPTER.request(attempt_run(kind=RequestKind.EMBEDDING), b'{"input":"x"}')
