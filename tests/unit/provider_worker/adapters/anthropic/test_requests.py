"""Details of the request that no comparison with the SDK shows: defaults, budgets, schemas, follow-up turns."""

import json

import pytest

from tests.unit.provider_worker.adapters.anthropic.message_events import (
    JsonObject,
    choice_of,
    message,
    read_complete,
    request_body,
    upstream_request,
)

HI: JsonObject = {"role": "user", "content": "hi"}
SCHEMA: JsonObject = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}, "required": ["a"]}
AS_JSON: JsonObject = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
TOOLS: list[JsonObject] = [{"type": "function", "function": {"name": "f"}}]


@pytest.mark.parametrize(
    ("model", "max_tokens"),
    [
        ("claude-3-haiku-20240307", 4096),
        ("claude-3-5-haiku-latest", 8192),
        ("claude-3-7-sonnet-20250219", 32_000),
        ("claude-opus-4-1-20250805", 32_000),
        ("claude-sonnet-4-20250514", 32_000),
        ("claude-fable-5-1", 32_000),
        ("claude-next", 4096),
    ],
)
def test_a_limit_is_always_sent(model: str, max_tokens: int) -> None:
    assert request_body({}, model=model)["max_tokens"] == max_tokens
    assert request_body({"max_tokens": 5}, model=model)["max_tokens"] == 5
    assert request_body({"max_tokens": 5, "max_completion_tokens": 6}, model=model)["max_tokens"] == 6


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "output_config"),
    [
        ("claude-3-7-sonnet-latest", "medium", {"type": "enabled", "budget_tokens": 8192}, None),
        ("claude-haiku-4-5", "minimal", {"type": "enabled", "budget_tokens": 1024}, None),
        ("claude-haiku-4-5", "none", None, None),
        ("claude-sonnet-4-6", "minimal", {"type": "adaptive"}, {"effort": "low"}),
        ("claude-opus-4-6", "max", {"type": "adaptive"}, {"effort": "max"}),
        ("claude-opus-4-7", "xhigh", {"type": "adaptive", "display": "summarized"}, {"effort": "xhigh"}),
        ("claude-opus-4-7", "none", None, None),
        ("claude-sonnet-5", "none", {"type": "disabled"}, None),
        ("claude-sonnet-5-5", "none", {"type": "between_tools"}, None),
        ("claude-fable-5", "low", {"type": "adaptive", "display": "summarized"}, {"effort": "low"}),
    ],
)
def test_effort_is_translated_for_the_model(model: str, effort: str, thinking: object, output_config: object) -> None:
    body = request_body({"reasoning_effort": effort}, model=model)
    assert (body.get("thinking"), body.get("output_config")) == (thinking, output_config)


@pytest.mark.parametrize("effort", ["minimal", "low", "medium", "high", "xhigh", "max"])
@pytest.mark.parametrize("max_tokens", [1025, 1500, 4096, 20_000, 100_000])
def test_a_budget_is_always_below_the_limit(effort: str, max_tokens: int) -> None:
    body = request_body({"reasoning_effort": effort, "max_tokens": max_tokens})
    thinking = body["thinking"]
    assert isinstance(thinking, dict)
    assert 1024 <= thinking["budget_tokens"] < max_tokens


def test_the_callers_own_budget_raises_the_default_limit() -> None:
    body = request_body({"thinking": {"type": "enabled", "budget_tokens": 40_000}})
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 40_000}
    assert body["max_tokens"] == 44_000


def test_a_forced_tool_turns_off_default_thinking() -> None:
    forced: JsonObject = {"tools": TOOLS, "tool_choice": "required"}
    assert request_body(forced, model="claude-sonnet-5")["thinking"] == {"type": "disabled"}
    assert "thinking" not in request_body(forced, model="claude-haiku-4-5")


def test_a_schema_is_enforced_natively_where_the_model_can() -> None:
    body = request_body({"response_format": AS_JSON, "reasoning_effort": "low"}, model="claude-opus-4-8")
    assert body["output_config"] == {
        "effort": "low",
        "format": {
            "type": "json_schema",
            "schema": {
                "type": "object",
                "properties": {"a": {"type": "integer", "description": 'Constraints: {"minimum": 1}'}},
                "required": ["a"],
                "additionalProperties": False,
            },
        },
    }
    assert "tools" not in body


def test_schemas_keep_enforceable_constraints_and_describe_the_rest() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "description": "A thing",
        "properties": {
            "when": {"type": "string", "format": "date"},
            "sku": {"type": "string", "format": "sku", "pattern": "^A"},
            "list": {"type": "array", "items": {"oneOf": [{"$ref": "#/$defs/x"}, {"type": "null"}]}, "minItems": 1},
            "more": {"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "string"}},
        },
        "$defs": {"x": {"type": "object", "properties": {"a": {}}, "additionalProperties": True}},
    }
    fields = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    config = request_body({"response_format": fields})["output_config"]
    assert isinstance(config, dict)
    assert config["format"]["schema"] == {
        "type": "object",
        "description": "A thing",
        "properties": {
            "when": {"type": "string", "format": "date"},
            "sku": {"type": "string", "description": 'Constraints: {"format": "sku", "pattern": "^A"}'},
            "list": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/x"}, {"type": "null"}]}, "minItems": 1},
            "more": {
                "type": "object",
                "properties": {"a": {}},
                "additionalProperties": False,
                "description": 'Constraints: {"additionalProperties": {"type": "string"}}',
            },
        },
        "$defs": {"x": {"type": "object", "properties": {"a": {}}, "additionalProperties": False}},
        "additionalProperties": False,
    }


def test_a_schema_is_a_forced_tool_on_other_models() -> None:
    request = upstream_request({"response_format": AS_JSON}, model="claude-sonnet-4-0")
    body = json.loads(request.content)
    assert body["tools"] == [
        {"name": "json_answer", "description": "Answers in the requested form.", "input_schema": SCHEMA}
    ]
    assert body["tool_choice"] == {"type": "tool", "name": "json_answer", "disable_parallel_tool_use": True}
    assert request.notes == {"json_tool": "json_answer"}


def test_the_json_tool_is_added_to_the_callers_tools() -> None:
    tools = [*TOOLS, {"type": "function", "function": {"name": "json_answer"}}]
    fields: JsonObject = {"tools": tools, "response_format": {"type": "json_object"}}
    request = upstream_request(fields)
    body = json.loads(request.content)
    assert [tool["name"] for tool in body["tools"]] == ["f", "json_answer", "json_answer_"]
    assert body["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}
    assert request.notes == {"json_tool": "json_answer_"}
    only = json.loads(upstream_request(fields | {"tool_choice": "none"}).content)
    assert only["tool_choice"]["name"] == "json_answer_"
    forced = upstream_request(fields | {"tool_choice": "required"})
    assert forced.notes == {}


def test_text_files_are_documents_of_text() -> None:
    file = {"file_data": "data:text/markdown;charset=utf-8;base64,R3LDvMOfZQ==", "filename": "a.md"}
    body = request_body({"messages": [{"role": "user", "content": [{"type": "file", "file": file}]}]})
    source = {"type": "text", "media_type": "text/plain", "data": "Grüße"}
    assert body["messages"] == [{"role": "user", "content": [{"type": "document", "title": "a.md", "source": source}]}]


def test_a_message_may_mark_the_end_of_a_cached_prefix() -> None:
    mark = {"type": "ephemeral", "ttl": "1h"}
    body = request_body(
        {
            "messages": [
                {"role": "system", "content": "x", "cache_control": mark},
                {**HI, "cache_control": mark},
            ],
            "tools": [{**TOOLS[0], "cache_control": mark}],
        }
    )
    assert body["system"] == [{"type": "text", "text": "x", "cache_control": mark}]
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": mark}]}]
    (tool,) = body["tools"]
    assert tool["cache_control"] == mark


def test_empty_texts_and_turns_are_dropped_and_turns_alternate() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    body = request_body(
        {
            "messages": [
                HI,
                {"role": "user", "content": ""},
                {"role": "assistant", "content": None},
                HI,
                {"role": "assistant", "content": "", "tool_calls": [call], "function_call": None, "audio": None},
                {"role": "tool", "tool_call_id": "a", "content": ""},
            ]
        }
    )
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "text", "text": "hi"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a"}]},
    ]


THINKING: JsonObject = {"type": "thinking", "thinking": "hm", "signature": "s1"}
REDACTED: JsonObject = {"type": "redacted_thinking", "data": "opaque"}
CALL: JsonObject = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}
SEARCH: list[JsonObject] = [
    {"type": "text", "text": "I look. "},
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"type": "web_search_result"}]},
    {"type": "text", "text": "Found.", "citations": [{"type": "web_search_result_location", "url": "https://x.test"}]},
]
ANSWERS: dict[str, list[JsonObject]] = {
    "thinking and a tool call": [THINKING, REDACTED, {"type": "text", "text": "so"}, CALL],
    "hidden thinking only": [REDACTED, CALL],
    "thinking without text": [{"type": "thinking", "thinking": "", "signature": "s"}, {"type": "text", "text": "a"}],
    "a server tool": SEARCH,
    "thinking between": [THINKING, {"type": "text", "text": "a"}, {**THINKING, "signature": "s2"}, CALL],
}


@pytest.mark.parametrize("blocks", ANSWERS.values(), ids=ANSWERS.keys())
def test_an_echoed_answer_is_restored_block_by_block(blocks: list[JsonObject]) -> None:
    """Hand-made answers in the documented shapes."""
    completion, _ = read_complete(message(*blocks))
    choice = choice_of(completion)
    body = request_body({"messages": [HI, choice["message"], HI]})
    assert body["messages"][1] == {"role": "assistant", "content": blocks}


def test_an_edited_answer_is_sent_as_edited() -> None:
    completion, _ = read_complete(message(*SEARCH))
    choice = choice_of(completion)
    edited = choice["message"] | {"content": "Something else."}
    body = request_body({"messages": [HI, edited]})
    assert body["messages"][1]["content"] == [{"type": "text", "text": "Something else."}]


@pytest.mark.parametrize(
    ("details", "blocks"),
    [
        ([{"type": "reasoning.text", "text": "a", "index": 0}], []),
        ([{"type": "reasoning.text", "text": "a", "signature": "s", "format": "google-gemini-v1"}], []),
        ([{"type": "reasoning.summary", "summary": "a"}], []),
        ([{"type": "reasoning.text", "text": "hm", "signature": "s1"}], [THINKING]),
        ([THINKING, REDACTED], [THINKING, REDACTED]),
        (
            [
                {"type": "reasoning.text", "text": "h", "index": 0},
                {"type": "reasoning.text", "text": "m", "index": 0},
                {"type": "reasoning.text", "signature": "s1", "index": 0},
                {"type": "reasoning.encrypted", "data": "opaque", "index": 1},
            ],
            [THINKING, REDACTED],
        ),
    ],
    ids=["unsigned", "another model's", "summary", "whole", "native", "in pieces"],
)
def test_only_claudes_signed_thinking_is_sent_back(details: list[JsonObject], blocks: list[JsonObject]) -> None:
    answer: JsonObject = {"role": "assistant", "content": "x", "reasoning_content": "hm", "reasoning_details": details}
    body = request_body({"messages": [HI, answer]})
    assert body["messages"][1]["content"] == [*blocks, {"type": "text", "text": "x"}]


def test_an_echoed_refusal_is_the_assistants_text() -> None:
    body = request_body({"messages": [HI, {"role": "assistant", "content": None, "refusal": "No."}, HI]})
    assert body["messages"][1]["content"] == [{"type": "text", "text": "No."}]
