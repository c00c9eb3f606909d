"""What depends on the model, or on what else a request holds, is translated or refused by the name of its field.

The tables here repeat each vendor's documented rule apart from the adapters' own tables.
"""

import json
from typing import Any

import pytest

from services.provider_worker.adapters.adapter import RefusedByAdapter, UpstreamRequest
from services.provider_worker.adapters.registry import ADAPTERS
from tests.unit.provider_worker.adapters.test_request_rules import HELLO, call, calls, run_of

JsonObject = dict[str, Any]
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
LLAMA = "us.meta.llama3-3-70b-instruct-v1:0"
NOVA = "us.amazon.nova-lite-v1:0"
MISTRAL = "mistral.mistral-large-2407-v1:0"
COHERE = "cohere.command-r-plus-v1:0"
TITAN = "amazon.titan-text-express-v1"
PROFILE = "arn:aws:bedrock:us-east-1:000000000000:application-inference-profile/x"
SCHEMA: JsonObject = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
MARK = {"type": "ephemeral"}
MARKED = [{"role": "user", "content": [{"type": "text", "text": "long", "cache_control": MARK}]}]
NAMED = {"type": "function", "function": {"name": "f"}}
AS_JSON = {"type": "json_object"}


def tool(name: str = "f", **function: Any) -> JsonObject:
    return {"type": "function", "function": {"name": name, "parameters": SCHEMA, **function}}


def as_schema(schema: JsonObject) -> JsonObject:
    return {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}


def ask(provider: str, model: str, *, drop: bool = False, stream: bool = False, **fields: Any) -> UpstreamRequest:
    body = {"model": "x", "messages": [HELLO], **fields}
    return ADAPTERS[provider].request(
        run_of(provider, drop=drop, stream=stream, model=model), json.dumps(body).encode()
    )


def sent(provider: str, model: str, **fields: Any) -> JsonObject:
    body: JsonObject = json.loads(ask(provider, model, **fields).content)
    return body


def refused(provider: str, model: str, **fields: Any) -> str | None:
    with pytest.raises(RefusedByAdapter) as caught:
        ask(provider, model, **fields)
    return caught.value.failure.param


TOOLS = {"tools": [tool()]}
REFUSED: list[tuple[str, str, JsonObject, str]] = [
    ("bedrock", LLAMA, {**TOOLS, "tool_choice": "required"}, "tool_choice"),
    ("bedrock", LLAMA, {**TOOLS, "tool_choice": NAMED}, "tool_choice"),
    ("bedrock", COHERE, {**TOOLS, "tool_choice": "required"}, "tool_choice"),
    ("bedrock", LLAMA, {"messages": MARKED}, "messages[0].content[0].cache_control"),
    ("bedrock", "anthropic.claude-3-haiku-20240307-v1:0", {"messages": MARKED}, "messages[0].content[0].cache_control"),
    ("bedrock", NOVA, {"tools": [{**tool(), "cache_control": MARK}]}, "tools[0].cache_control"),
    ("bedrock", LLAMA, {"response_format": as_schema(SCHEMA)}, "response_format"),
    (
        "bedrock",
        "eu.anthropic.claude-sonnet-4-20250514-v1:0",
        {"tools": [tool(strict=True)]},
        "tools[0].function.strict",
    ),
    ("bedrock", LLAMA, {"top_k": 5}, "top_k"),
    ("bedrock", TITAN, TOOLS, "tools"),
    ("bedrock", "us.deepseek.r1-v1:0", TOOLS, "tools"),
    ("bedrock", LLAMA, {**TOOLS, "stream": True}, "tools"),
    ("gemini", "gemini-2.5-flash", {**TOOLS, "response_format": AS_JSON}, "response_format"),
    ("vertex", "gemini-2.0-flash", {**TOOLS, "response_format": as_schema(SCHEMA)}, "response_format"),
    ("gemini", "gemini-2.5-pro", {**TOOLS, "web_search_options": {}}, "web_search_options"),
    ("vertex", "gemini-2.5-pro", {"metadata": {f"k{n}": "v" for n in range(65)}}, "metadata"),
    ("cohere", "command-a-03-2025", {**TOOLS, "response_format": AS_JSON}, "response_format"),
    ("cohere", "command-a-03-2025", {"documents": ["d"], "response_format": AS_JSON}, "response_format"),
    ("cohere", "command-r-08-2024", {**TOOLS, "tool_choice": "required"}, "tool_choice"),
    ("groq", "llama-3.3-70b-versatile", {**TOOLS, "response_format": AS_JSON}, "response_format"),
    ("groq", "qwen/qwen3-32b", {"reasoning_effort": "low"}, "reasoning_effort"),
    ("groq", "openai/gpt-oss-20b", {"reasoning_effort": "none"}, "reasoning_effort"),
    ("openai", "gpt-5", {"reasoning_effort": "none"}, "reasoning_effort"),
    ("openai", "gpt-5.1", {"reasoning_effort": "minimal"}, "reasoning_effort"),
    ("openai", "gpt-5.1", {"reasoning_effort": "xhigh"}, "reasoning_effort"),
    ("openai", "gpt-5-pro", {"reasoning_effort": "low"}, "reasoning_effort"),
    ("openai", "o3-mini", {"reasoning_effort": "minimal"}, "reasoning_effort"),
    ("openai", "gpt-4o-search-preview", {"temperature": 0.5}, "temperature"),
    ("anthropic", "claude-sonnet-4-5", {"messages": MARKED * 5}, "cache_control"),
]


@pytest.mark.parametrize(("provider", "model", "fields", "field"), REFUSED)
def test_what_a_model_does_not_take_is_refused_or_dropped_by_name(
    provider: str, model: str, fields: JsonObject, field: str
) -> None:
    stream = fields.get("stream") is True
    assert refused(provider, model, **{**fields, "stream": stream}) == field
    assert ask(provider, model, drop=True, **{**fields, "stream": stream}).dropped == (field,)


@pytest.mark.parametrize(
    ("provider", "model", "fields"),
    [
        ("bedrock", CLAUDE, {**TOOLS, "tool_choice": NAMED}),
        ("bedrock", NOVA, {**TOOLS, "tool_choice": "required"}),
        ("bedrock", PROFILE, {**TOOLS, "tool_choice": NAMED, "top_k": 5, "messages": MARKED}),
        ("bedrock", NOVA, {"messages": MARKED}),
        ("bedrock", "openai.gpt-oss-120b-1:0", {"response_format": as_schema(SCHEMA)}),
        ("bedrock", LLAMA, TOOLS),
        ("gemini", "gemini-3-pro-preview", {**TOOLS, "response_format": AS_JSON, "web_search_options": {}}),
        ("gemini", "gemini-flash-latest", {**TOOLS, "response_format": AS_JSON}),
        ("vertex", "gemini-2.5-pro", {"metadata": {f"k{n}": "v" for n in range(64)}}),
        ("cohere", "command-r7b-12-2024", {**TOOLS, "tool_choice": "required"}),
        ("groq", "qwen/qwen3-32b", {"reasoning_effort": "none"}),
        ("groq", "openai/gpt-oss-20b", {"reasoning_effort": "high", **TOOLS}),
        ("openai", "gpt-5", {"reasoning_effort": "minimal"}),
        ("openai", "gpt-5.1", {"reasoning_effort": "none"}),
        ("openai", "gpt-5.2", {"reasoning_effort": "xhigh"}),
        ("anthropic", "claude-sonnet-4-5", {"messages": MARKED * 4}),
    ],
)
def test_what_a_model_takes_is_not_refused(provider: str, model: str, fields: JsonObject) -> None:
    assert ask(provider, model, **fields).dropped == ()


def test_a_model_without_instructions_gets_none() -> None:
    messages = [{"role": "system", "content": "s"}, HELLO]
    assert refused("bedrock", TITAN, messages=messages) == "messages"
    assert refused("bedrock", "mistral.mistral-7b-instruct-v0:2", messages=messages) == "messages"


def test_a_function_that_cannot_be_named_is_the_only_one() -> None:
    config = sent("bedrock", MISTRAL, tools=[tool("f"), tool("g")], tool_choice=NAMED)["toolConfig"]
    assert [entry["toolSpec"]["name"] for entry in config["tools"]] == ["f"]
    assert config["toolChoice"] == {"any": {}}


@pytest.mark.parametrize(("model", "fields"), [(CLAUDE, {"top_k": 5}), (MISTRAL, {"top_k": 5}), (COHERE, {"k": 5})])
def test_top_k_has_each_familys_name(model: str, fields: JsonObject) -> None:
    assert sent("bedrock", model, top_k=5)["additionalModelRequestFields"] == fields


def test_greedy_sampling_goes_without_top_p() -> None:
    assert "top_p" not in sent("mistral", "mistral-small-latest", temperature=0, top_p=0.9)
    assert sent("mistral", "mistral-small-latest", temperature=0.1, top_p=0.9)["top_p"] == 0.9


MAPS: list[JsonObject] = [
    {"type": "object", "additionalProperties": {"type": "number"}},
    {"type": "object", "properties": {}, "additionalProperties": True},
    {"type": "object", "patternProperties": {"^S_": {"type": "string"}}},
    {"type": ["object", "null"]},
]


@pytest.mark.parametrize("inner", MAPS)
def test_an_object_of_any_names_is_not_closed_to_an_empty_one(inner: JsonObject) -> None:
    schema = {"type": "object", "properties": {"scores": inner}, "required": ["scores"]}
    asked = as_schema(schema)
    assert refused("bedrock", CLAUDE, response_format=asked) == "response_format.json_schema.schema"
    by_tool = sent("anthropic", "claude-sonnet-4-5", response_format=asked)
    assert by_tool["tools"][0]["input_schema"] == schema
    assert "output_config" not in by_tool
    strict = [tool(strict=True, parameters=schema)]
    for provider, model in (("anthropic", "claude-sonnet-4-5"), ("bedrock", CLAUDE)):
        assert refused(provider, model, tools=strict) == "tools[0].function.strict"
        assert "strict" not in json.dumps(sent(provider, model, tools=strict, drop=True))


def test_names_of_properties_are_ones_that_anthropic_takes() -> None:
    for name in ("$filter", "a b", "x" * 65, "filter[id]"):
        tools = [tool(parameters={"type": "object", "properties": {name: {"type": "string"}}})]
        assert (
            refused("anthropic", "claude-sonnet-4-5", tools=tools) == f"tools[0].function.parameters.properties.{name}"
        )


def test_properties_that_are_null_are_none() -> None:
    tools = [tool(parameters={"type": "object", "properties": None})]
    assert sent("anthropic", "claude-sonnet-4-5", tools=tools)["tools"][0]["input_schema"]["properties"] == {}


def test_marks_of_the_cache_beyond_the_fourth_are_the_first_to_go() -> None:
    body = sent("anthropic", "claude-sonnet-4-5", messages=MARKED * 6, drop=True)
    assert ["cache_control" in block for block in body["messages"][0]["content"]] == [
        False,
        False,
        True,
        True,
        True,
        True,
    ]


def test_a_mark_of_the_cache_outlives_its_blank_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": " ", "cache_control": MARK}]
    body = sent("anthropic", "claude-sonnet-4-5", messages=[{"role": "user", "content": parts}])
    assert body["messages"][0]["content"] == [{"type": "text", "text": "a", "cache_control": MARK}]


@pytest.mark.parametrize("provider", sorted(ADAPTERS.keys() - {"perplexity"}))
@pytest.mark.parametrize("arguments", ["", " ", "null", '""', None])
def test_a_call_without_arguments_has_an_empty_object(provider: str, arguments: str | None) -> None:
    made = {"id": "abcdefghi", "type": "function", "function": {"name": "f", "arguments": arguments}}
    same = call("abcdefghi", "f", "{}")
    results = {"role": "tool", "tool_call_id": "abcdefghi", "content": "x"}
    model = "command-a-03-2025" if provider == "cohere" else run_of(provider).model
    bodies = [sent(provider, model, messages=[HELLO, calls(each), results], tools=[tool()]) for each in (made, same)]
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize("provider", ["ollama", "vllm", "llamacpp", "custom"])
def test_no_message_to_an_own_server_holds_a_null_but_the_assistants(provider: str) -> None:
    messages = [
        {"role": "user", "content": None},
        calls(call("c")),
        {"role": "tool", "tool_call_id": "c", "content": None},
    ]
    contents = [message["content"] for message in sent(provider, "m", messages=messages)["messages"]]
    assert contents == ["", None, ""]


def test_texts_of_the_system_stay_apart() -> None:
    parts = [{"type": "text", "text": "be"}, {"type": "text", "text": "brief"}]
    messages = [{"role": "system", "content": parts}, HELLO]
    assert sent("gemini", "gemini-2.5-flash", messages=messages)["systemInstruction"]["parts"] == [
        {"text": "be"},
        {"text": "brief"},
    ]
    assert sent("cohere", "command-a-03-2025", messages=messages)["messages"][0]["content"] == parts


def test_an_image_may_be_a_text_for_gemini_as_for_others() -> None:
    part = {"type": "image_url", "image_url": "data:image/png;base64,iVBORw0KGgo="}
    contents = sent("gemini", "gemini-2.5-flash", messages=[{"role": "user", "content": [part]}])["contents"]
    assert contents[0]["parts"] == [{"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}]
