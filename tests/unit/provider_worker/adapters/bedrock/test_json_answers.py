"""Models that Bedrock does not hold to a schema answer in JSON by a tool, and the caller reads it as the content."""

import json
from typing import Any

import pytest

from keyferry.contracts.chat import AttemptRun
from services.provider_worker.adapters.adapter import Answer, RefusedByAdapter
from services.provider_worker.adapters.bedrock.adapter import BedrockAdapter
from tests.support.providers.attempt_runs import attempt_run
from tests.support.providers.aws_event_stream import event

JsonObject = dict[str, Any]
ADAPTER = BedrockAdapter()
CLAUDE = "us.anthropic.claude-sonnet-4-20250514-v1:0"
NOVA = "us.amazon.nova-lite-v1:0"
MISTRAL = "mistral.mistral-large-2407-v1:0"
SCHEMA: JsonObject = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
FORMAT = {"type": "json_schema", "json_schema": {"name": "a", "description": "An a.", "schema": SCHEMA}}
TOOL = {"type": "function", "function": {"name": "json_answer", "parameters": SCHEMA}}


def run_of(model: str, *, stream: bool = False) -> AttemptRun:
    return attempt_run(provider="bedrock", model=model, stream=stream, key_fields={"region": "eu-west-1"})


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "x", "messages": [{"role": "user", "content": "a"}], **fields}).encode()


def sent(model: str, **fields: Any) -> JsonObject:
    content: JsonObject = json.loads(ADAPTER.request(run_of(model), body(**fields)).content)
    return content


def read(data: bytes, *, stream: bool, **fields: Any) -> tuple[list[JsonObject], Answer]:
    run = run_of(CLAUDE, stream=stream)
    reader = ADAPTER.reader(run, ADAPTER.request(run, body(**fields)), 200, {})
    chunks = reader.feed(data)
    answer = reader.close()
    return [json.loads(text) for text in [*chunks, *answer.late]], answer


@pytest.mark.parametrize("model", [CLAUDE, NOVA, MISTRAL])
@pytest.mark.parametrize("wanted", [FORMAT, {"type": "json_object"}])
def test_the_model_has_to_call_the_tool_of_the_answer(model: str, wanted: JsonObject) -> None:
    content = sent(model, response_format=wanted)
    (tool,) = content["toolConfig"]["tools"]
    assert tool["toolSpec"]["name"] == "json_answer"
    schema = tool["toolSpec"]["inputSchema"]["json"]
    assert (schema == SCHEMA) is (wanted is FORMAT)
    forced = {"any": {}} if model == MISTRAL else {"tool": {"name": "json_answer"}}
    assert content["toolConfig"]["toolChoice"] == forced
    assert "outputConfig" not in content


def test_what_no_tool_can_answer_is_refused() -> None:
    listed = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "array", "items": {}}}}
    for fields in (
        {"response_format": listed},
        {"response_format": FORMAT, "tools": [TOOL]},
    ):
        with pytest.raises(RefusedByAdapter) as caught:
            sent(CLAUDE, **fields)
        assert caught.value.failure.param == "response_format"
    with pytest.raises(RefusedByAdapter) as caught:
        sent("us.meta.llama3-3-70b-instruct-v1:0", response_format=FORMAT)
    assert caught.value.failure.param == "response_format"


def test_a_model_that_is_held_to_the_schema_needs_no_tool() -> None:
    content = sent("us.anthropic.claude-sonnet-4-5-20250929-v1:0", response_format=FORMAT)
    assert "toolConfig" not in content
    assert content["outputConfig"]["textFormat"]["type"] == "json_schema"


def converse(*inputs: JsonObject) -> bytes:
    uses = [
        {"toolUse": {"toolUseId": f"t{at}", "name": "json_answer", "input": value}} for at, value in enumerate(inputs)
    ]
    return json.dumps(
        {
            "output": {"message": {"role": "assistant", "content": uses}},
            "stopReason": "tool_use",
            "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5},
        }
    ).encode()


@pytest.mark.parametrize("inputs", [[{"a": "b"}], [{"a": "b"}, {"a": "c"}]])
def test_the_arguments_are_the_content(inputs: list[JsonObject]) -> None:
    _, answer = read(converse(*inputs), stream=False, response_format=FORMAT)
    (choice,) = json.loads(answer.body)["choices"]
    assert json.loads(choice["message"]["content"]) == {"a": "b"}
    assert "tool_calls" not in choice["message"]
    assert (choice["finish_reason"], answer.finish_reason) == ("stop", "stop")


def test_the_arguments_of_a_stream_are_the_content() -> None:
    events: list[tuple[str, JsonObject]] = [
        ("messageStart", {"role": "assistant"}),
        (
            "contentBlockStart",
            {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "t", "name": "json_answer"}}},
        ),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolUse": {"input": '{"a":'}}}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolUse": {"input": '"b"}'}}}),
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("messageStop", {"stopReason": "tool_use"}),
        ("metadata", {"usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}}),
    ]
    data = b"".join(event(name, payload) for name, payload in events)
    chunks, answer = read(data, stream=True, response_format=FORMAT)
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert json.loads("".join(choice["delta"].get("content") or "" for choice in choices)) == {"a": "b"}
    assert all("tool_calls" not in choice["delta"] for choice in choices)
    assert (choices[-1]["finish_reason"], answer.finish_reason, answer.failure) == ("stop", "stop", None)


def test_a_callers_tool_of_that_name_is_called() -> None:
    _, answer = read(converse({"a": "b"}), stream=False, tools=[TOOL])
    (choice,) = json.loads(answer.body)["choices"]
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "json_answer"
    assert choice["finish_reason"] == "tool_calls"
