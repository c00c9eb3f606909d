"""What every provider is sent, kind by kind: ids and names, echoed fields, empty texts, the order of turns, values.

The tables here repeat each vendor's documented rule apart from the adapters' own tables.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.usage import RequestKind
from services.provider_worker.adapters.adapter import RefusedByAdapter, UpstreamRequest
from services.provider_worker.adapters.registry import ADAPTERS
from tests.support.providers.attempt_runs import attempt_run

JsonObject = dict[str, Any]
MODELS = {
    "anthropic": "claude-sonnet-4-5",
    "bedrock": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "gemini": "gemini-2.5-flash",
    "vertex": "gemini-2.5-flash",
    "openai": "gpt-4o",
}
OPEN = ("custom", "vllm", "ollama", "llamacpp")
"""Servers whose rules are not known: they get what the caller sends, without what this gateway added."""
CLOSED = sorted(ADAPTERS.keys() - set(OPEN) - {"openrouter"})
HOSTED = sorted(ADAPTERS.keys() - set(OPEN))
NO_BLANK = ("anthropic", "bedrock", "cohere", "gemini", "vertex", "xai", "perplexity")
"""Providers that answer 400 to an empty or blank text."""
HELLO: JsonObject = {"role": "user", "content": "hi"}
FUNCTION: JsonObject = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object", "properties": {}}},
}


def run_of(provider: str, *, drop: bool = False, stream: bool = False, model: str | None = None) -> AttemptRun:
    run = attempt_run(
        provider=provider,
        model=model or MODELS.get(provider, "m"),
        stream=stream,
        base_url="https://example.com/v1",
        kind=RequestKind.CHAT,
        key_fields={"region": "us-east-1", "project": "proj-1", "location": "europe-west4"},
    )
    return run.model_copy(update={"drop_unsupported": drop})


def ask(provider: str, *, drop: bool = True, model: str | None = None, **fields: Any) -> UpstreamRequest:
    body = {"model": "x", "messages": [HELLO], **fields}
    return ADAPTERS[provider].request(run_of(provider, drop=drop, model=model), json.dumps(body).encode())


def sent(provider: str, **fields: Any) -> JsonObject:
    body: JsonObject = json.loads(ask(provider, **fields).content)
    return body


def call(call_id: str, name: str = "f", arguments: str = "{}") -> JsonObject:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calls(*made: JsonObject, **fields: Any) -> JsonObject:
    return {"role": "assistant", "content": None, "tool_calls": list(made), **fields}


def result(call_id: str, content: Any = "ok") -> JsonObject:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def walk(value: Any) -> Iterator[JsonObject]:
    """Yield every object inside `value`."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(inner)


def ids_in(provider: str, body: JsonObject) -> tuple[list[str], list[str]]:
    """Return the ids of calls and those of results, in order."""
    made: list[str] = []
    answered: list[str] = []
    for node in walk(body.get("messages") or body.get("contents")):
        made += [one["id"] for one in node.get("tool_calls") or ()]
        answered += [node["tool_call_id"]] if node.get("role") == "tool" else []
        if node.get("type") == "tool_use":
            made.append(node["id"])
        if node.get("type") == "tool_result":
            answered.append(node["tool_use_id"])
        made += [node["toolUse"]["toolUseId"]] if "toolUse" in node else []
        answered += [node["toolResult"]["toolUseId"]] if "toolResult" in node else []
        made += [node["functionCall"].get("id", "")] if "functionCall" in node else []
        answered += [node["functionResponse"].get("id", "")] if "functionResponse" in node else []
    return made, answered


# --- ids

ID_RULES = {
    "mistral": r"[a-zA-Z0-9]{9}",
    "anthropic": r"[a-zA-Z0-9_-]+",
    "bedrock": r"[a-zA-Z0-9_-]{1,64}",
    "openai": r"[\x21-\x7e]{1,40}",
    "azure": r"[\x21-\x7e]{1,40}",
    "openrouter": r"[a-zA-Z0-9_-]{1,40}",
    "vertex": "",
    "gemini": r"(?s).+",
    "cohere": r"(?s).+",
}
FOREIGN_IDS = ["call_a1b2c3d4e5", "toolu_01A", "functions.weather:0", "abc123XYZ", "ünïcode|id", "x" * 200, "a b", "0"]


@pytest.mark.parametrize("provider", HOSTED)
def test_ids_of_calls_are_within_the_providers_rule_and_agree_with_their_results(provider: str) -> None:
    turns = [[calls(call(one)), result(one)] for one in [*FOREIGN_IDS, "call_a1b2c3d4e5"]]
    body = sent(provider, tools=[FUNCTION], messages=[HELLO, *(message for turn in turns for message in turn)])
    made, answered = ids_in(provider, body)
    assert len(made) == len(turns)
    assert made == answered
    rule = ID_RULES.get(provider, r"[a-zA-Z0-9_.:-]{1,64}")
    assert [one for one in made if not re.fullmatch(rule, one)] == []
    assert len(set(made)) == (1 if provider == "vertex" else len(made)), "no two calls share an id"


@pytest.mark.parametrize("provider", HOSTED)
def test_ids_are_the_same_in_every_request(provider: str) -> None:
    messages = [HELLO, calls(call("ünïcode|id")), result("ünïcode|id")]
    assert sent(provider, tools=[FUNCTION], messages=messages) == sent(provider, tools=[FUNCTION], messages=messages)


@given(one=st.text(min_size=1, max_size=80), other=st.text(min_size=1, max_size=80))
def test_two_ids_never_become_one(one: str, other: str) -> None:
    if one == other:
        return
    messages = [HELLO, calls(call(one), call(other)), result(other, "second"), result(one, "first")]
    for provider in ("mistral", "anthropic", "bedrock", "openai"):
        made, answered = ids_in(provider, sent(provider, tools=[FUNCTION], messages=messages))
        assert made == answered
        assert made[0] != made[1]


# --- names

NAME_RULES = {
    "gemini": r"[a-zA-Z_][a-zA-Z0-9_.-]{0,63}",
    "vertex": r"[a-zA-Z_][a-zA-Z0-9_.-]{0,63}",
}
FOREIGN_NAMES = ["1c_reload", "my.tool/v1", "größe", "x" * 100, "a b", "a_b", "-dash"]


def names_in(body: JsonObject) -> set[str]:
    """Return every name of a function in a request, in tools, choices, calls and results alike."""
    names: set[str] = set()
    for node in walk(body):
        for key in ("function", "functionCall", "functionResponse", "toolSpec", "toolUse"):
            inner = node.get(key)
            names |= {inner["name"]} if isinstance(inner, dict) and "name" in inner else set()
        names |= {declared["name"] for declared in node.get("functionDeclarations") or ()}
        names |= {node["name"]} if "input_schema" in node or node.get("type") == "tool_use" else set()
        names |= set(node.get("allowedFunctionNames") or ())
    return names


@pytest.mark.parametrize("provider", sorted(set(HOSTED) - {"perplexity"}))
def test_names_of_functions_are_within_the_providers_rule_everywhere(provider: str) -> None:
    tools = [{"type": "function", "function": {**FUNCTION["function"], "name": name}} for name in FOREIGN_NAMES]
    history = [calls(*(call(f"call_{at}", name) for at, name in enumerate(FOREIGN_NAMES)))]
    history += [result(f"call_{at}") for at in range(len(FOREIGN_NAMES))]
    body = sent(provider, tools=tools, messages=[HELLO, *history])
    names = names_in(body)
    assert len(names) == len(FOREIGN_NAMES), "each has one name of its own"
    rule = NAME_RULES.get(provider, r"[a-zA-Z0-9_-]{1,64}")
    assert [name for name in names if not re.fullmatch(rule, name)] == []


@pytest.mark.parametrize("provider", sorted(set(HOSTED) - {"perplexity"}))
def test_a_choice_names_the_function_as_the_tools_do(provider: str) -> None:
    tool = {"type": "function", "function": {**FUNCTION["function"], "name": "1c reload"}}
    choice = {"type": "function", "function": {"name": "1c reload"}}
    body = sent(provider, tools=[tool], tool_choice=choice)
    assert len(names_in(body)) == 1
    chosen = json.dumps([body.get("tool_choice"), body.get("toolConfig")])
    if provider not in ("cohere",):
        assert next(iter(names_in(body))) in chosen


@pytest.mark.parametrize("provider", HOSTED)
def test_a_choice_of_a_function_that_is_no_tool_is_refused(provider: str) -> None:
    with pytest.raises(RefusedByAdapter) as refused:
        ask(provider, tools=[FUNCTION], tool_choice={"type": "function", "function": {"name": "nosuch"}})
    assert refused.value.failure.param == "tool_choice"


@pytest.mark.parametrize("provider", HOSTED)
def test_two_tools_of_one_name_are_refused_and_a_repetition_is_left_out(provider: str) -> None:
    if provider == "perplexity":
        return
    other = {"type": "function", "function": {**FUNCTION["function"], "description": "Another."}}
    with pytest.raises(RefusedByAdapter) as refused:
        ask(provider, tools=[FUNCTION, other])
    assert refused.value.failure.param == "tools[1].function.name"
    assert sent(provider, tools=[FUNCTION, FUNCTION]) == sent(provider, tools=[FUNCTION])


# --- echoed answers

ECHO: JsonObject = {
    "reasoning": "R", "reasoning_content": "R", "reasoning_details": [{"type": "reasoning.text", "text": "R"}],
    "thinking_blocks": [{"type": "thinking", "thinking": "R", "signature": ""}], "content_parts": [{"type": "x"}],
    "annotations": [{"type": "url_citation"}], "citations": ["u"], "images": [], "refusal": None, "audio": None,
    "function_call": None, "tool_calls": [], "provider_specific_fields": {"a": 1}, "usage": {}, "finish_reason": "stop",
}  # fmt: skip
TAKES_BACK = {
    "deepinfra": {"reasoning_content"},
    "fireworks": {"reasoning_content"},
    "together": {"reasoning"},
    "xai": {"reasoning_content"},
    "openrouter": {"reasoning_details", "annotations"},
}
"""What a provider takes of an answer's message beside role and content."""


@pytest.mark.parametrize("provider", sorted(set(HOSTED) - {"anthropic", "bedrock", "cohere", "gemini", "vertex"}))
def test_an_echoed_answer_holds_what_the_provider_takes_and_no_more(provider: str) -> None:
    request = ask(provider, drop=False, messages=[HELLO, {"role": "assistant", "content": "A", **ECHO}, HELLO])
    echoed = json.loads(request.content)["messages"][1]
    assert echoed.keys() - TAKES_BACK.get(provider, set()) == {"role", "content"}
    assert request.dropped == ()


@pytest.mark.parametrize("provider", ["anthropic", "bedrock", "cohere", "gemini", "vertex"])
def test_an_echoed_answer_of_another_provider_is_text_alone(provider: str) -> None:
    body = sent(provider, drop=False, messages=[HELLO, {"role": "assistant", "content": "A", **ECHO}, HELLO])
    plain = sent(provider, messages=[HELLO, {"role": "assistant", "content": "A"}, HELLO])
    assert body == plain


@pytest.mark.parametrize("provider", OPEN)
def test_a_server_of_unknown_rules_gets_back_what_it_sent(provider: str) -> None:
    message = {"role": "assistant", "content": "A", **ECHO, "some_field": 1}
    echoed = sent(provider, messages=[HELLO, message, HELLO])["messages"][1]
    assert echoed == {"role": "assistant", "content": "A", "reasoning": "R", "some_field": 1}


@pytest.mark.parametrize("model", ["openai/gpt-oss-20b", "qwen/qwen3-32b"])
def test_groq_takes_thinking_of_reasoning_models_in_its_own_field(model: str) -> None:
    message = {"role": "assistant", "content": "A", "reasoning_content": "R"}
    assert sent("groq", model=model, messages=[HELLO, message, HELLO])["messages"][1]["reasoning"] == "R"


def test_deepseek_wants_thinking_in_turns_that_call_tools_and_only_there() -> None:
    messages = [HELLO, calls(call("a"), reasoning_content="R"), result("a"), calls(call("b")), result("b")]
    messages += [{"role": "assistant", "content": "A", "reasoning_content": "R"}, HELLO]
    for model, missing in (("deepseek-reasoner", ""), ("deepseek-chat", None)):
        body = sent("deepseek", model=model, tools=[FUNCTION], messages=messages)["messages"]
        assert [body[at].get("reasoning_content") for at in (1, 3, 5)] == ["R", missing, None]


def test_mistral_takes_thinking_as_parts() -> None:
    message = {"role": "assistant", "content": "A", "reasoning_content": "R"}
    echoed = sent("mistral", model="magistral-medium-latest", messages=[HELLO, message, HELLO])["messages"][1]
    assert echoed["content"] == [
        {"type": "thinking", "thinking": [{"type": "text", "text": "R"}]},
        {"type": "text", "text": "A"},
    ]


@pytest.mark.parametrize("provider", CLOSED)
def test_an_unknown_field_of_a_message_is_refused_by_its_path_or_dropped(provider: str) -> None:
    if provider in ("cohere", "bedrock", "gemini", "vertex"):
        return  # their adapters build messages from the known fields
    messages = [{**HELLO, "somebody_s_field": 1}]
    with pytest.raises(RefusedByAdapter) as refused:
        ask(provider, drop=False, messages=messages)
    assert refused.value.failure.param == "messages[0].somebody_s_field"
    assert ask(provider, messages=messages).dropped == ("messages[0].somebody_s_field",)


@pytest.mark.parametrize("provider", ["anthropic", "bedrock"])
@pytest.mark.parametrize("field", ["content", "thinking_blocks", "reasoning_details"])
def test_signed_thinking_goes_back_to_claude_from_any_field(provider: str, field: str) -> None:
    thinking = {"type": "thinking", "thinking": "R", "signature": "s"}
    detail = {"type": "reasoning.text", "text": "R", "signature": "s", "format": "anthropic-claude-v1"}
    text = {"type": "text", "text": "A"}
    held = {"content": [thinking, text], "thinking_blocks": [thinking], "reasoning_details": [detail]}[field]
    message = {"role": "assistant", "content": "A", field: held}
    blocks = sent(provider, messages=[HELLO, message, HELLO])["messages"][1]["content"]
    assert len(blocks) == 2
    assert "signature" in json.dumps(blocks[0])


@pytest.mark.parametrize("provider", sorted(ADAPTERS))
def test_arguments_that_are_an_object_keep_their_content(provider: str) -> None:
    one: Any = {"id": "a", "type": "function", "function": {"name": "f", "arguments": {"x": "kept"}}}
    assert b"kept" in ask(provider, tools=[FUNCTION], messages=[HELLO, calls(one), result("a")]).content


@pytest.mark.parametrize("provider", sorted(ADAPTERS.keys() - {"openai", "azure"}))
def test_what_was_spoken_is_text_where_speech_cannot_go_back(provider: str) -> None:
    message = {"role": "assistant", "content": None, "audio": {"id": "a1", "data": "UklG", "transcript": "spoken"}}
    content = ask(provider, messages=[HELLO, message, HELLO]).content
    assert b"spoken" in content
    assert b"UklG" not in content


# --- turns

BLANK = ["", " ", "\n", None, [], [{"type": "text", "text": ""}]]


@pytest.mark.parametrize("blank", BLANK, ids=repr)
@pytest.mark.parametrize("provider", NO_BLANK)
def test_no_text_is_blank(provider: str, blank: Any) -> None:
    conversations: list[list[JsonObject]] = [
        [{"role": "system", "content": blank}, HELLO],
        [HELLO, {"role": "user", "content": blank}],
        [HELLO, {"role": "assistant", "content": blank}, HELLO],
        [HELLO, {"role": "assistant", "content": "A"}, {"role": "user", "content": blank}],
        [{"role": "user", "content": blank}, {"role": "assistant", "content": "A"}, HELLO],
        [HELLO, calls(call("a"), content=blank), result("a", blank)],
    ]
    for messages in conversations:
        tools = {"tools": [FUNCTION]} if "tool_calls" in json.dumps(messages) else {}
        body = sent(provider, messages=messages, **tools)
        texts = [
            node[key] for node in walk(body) for key in ("text", "content", "output") if isinstance(node.get(key), str)
        ]
        assert [text for text in texts if not text.strip()] == []
        turns = body.get("messages") or body["contents"]
        assert all(turn.get("content") or turn.get("parts") or turn.get("tool_calls") for turn in turns)
        assert turns[-1]["role"] in ("user", "tool"), "an answer is asked for, not continued"


@pytest.mark.parametrize("provider", HOSTED)
def test_results_follow_the_turn_of_their_calls_in_its_order(provider: str) -> None:
    late = [
        HELLO,
        calls(call("a" * 9), call("b" * 9)),
        {"role": "user", "content": "wait"},
        result("b" * 9),
        result("a" * 9),
    ]
    made, answered = ids_in(provider, sent(provider, tools=[FUNCTION], messages=late))
    assert made == answered
    turns = sent(provider, tools=[FUNCTION], messages=late)
    said = turns.get("messages") or turns["contents"]
    assert "wait" in json.dumps(said[2:]), "what was said in between comes after the results"


@pytest.mark.parametrize("provider", HOSTED)
def test_results_without_their_call_are_refused_by_path_and_calls_without_a_result_get_one(provider: str) -> None:
    for messages, param in (
        ([HELLO, result("nobody")], "messages[1].tool_call_id"),
        ([HELLO, calls(call("a")), result("a"), result("a")], "messages[3].tool_call_id"),
    ):
        with pytest.raises(RefusedByAdapter) as refused:
            ask(provider, tools=[FUNCTION], messages=messages)
        assert refused.value.failure.param == param
    made, answered = ids_in(provider, sent(provider, tools=[FUNCTION], messages=[HELLO, calls(call("a")), HELLO]))
    assert len(made) == len(answered) == 1


@pytest.mark.parametrize("provider", ["anthropic", "bedrock", "gemini", "vertex", "perplexity"])
def test_turns_alternate_and_begin_with_the_user(provider: str) -> None:
    messages = [{"role": "assistant", "content": "A"}, {"role": "assistant", "content": "B"}, HELLO, HELLO]
    body = sent(provider, messages=messages)
    roles = [turn["role"] for turn in body.get("messages") or body["contents"]]
    assert len(roles) == 3
    assert roles[0] == roles[2] == "user"


def test_mistral_has_an_assistant_between_result_and_user_and_marks_a_prefix() -> None:
    body = sent("mistral", tools=[FUNCTION], messages=[HELLO, calls(call("a")), result("a"), HELLO])
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "tool", "assistant", "user"]
    body = sent("mistral", messages=[HELLO, {"role": "assistant", "content": "A"}])
    assert body["messages"][-1] == {"role": "assistant", "content": "A", "prefix": True}


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("anthropic", "claude-opus-4-6"),
        ("bedrock", "global.anthropic.claude-opus-4-6-v1"),
        ("bedrock", "meta.llama3-3-70b-instruct-v1:0"),
        ("perplexity", "sonar"),
        ("vertex", "gemini-3.7-flash"),
    ],
)
def test_the_beginning_of_an_answer_is_refused_where_no_model_continues_one(provider: str, model: str) -> None:
    with pytest.raises(RefusedByAdapter) as refused:
        ask(provider, model=model, messages=[HELLO, {"role": "assistant", "content": "The answer is"}])
    assert refused.value.failure.param == "messages[1]"


@pytest.mark.parametrize("provider", ["anthropic", "bedrock", "cohere", "gemini", "vertex", "mistral", "perplexity"])
def test_instructions_alone_are_refused(provider: str) -> None:
    with pytest.raises(RefusedByAdapter) as refused:
        ask(provider, messages=[{"role": "system", "content": "Be brief."}])
    assert refused.value.failure.param == "messages"


# --- values


@pytest.mark.parametrize("user", ["someone@example.com", "+49 170 1234567", "(555) 123-4567", "x" * 300, "John Smith"])
def test_a_user_is_named_to_anthropic_by_a_hash(user: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", sent("anthropic", user=user)["metadata"]["user_id"])


@pytest.mark.parametrize("user", ["u-1", "5f2b6c1e-0f5e-4e0c-9f3a-1d2e3f4a5b6c", "x" * 256])
def test_an_opaque_user_is_named_to_anthropic_as_it_is(user: str) -> None:
    assert sent("anthropic", user=user)["metadata"]["user_id"] == user


@pytest.mark.parametrize("provider", ["openai", "azure"])
def test_long_ids_of_users_are_hashed(provider: str) -> None:
    body = sent(provider, user="u" * 65, safety_identifier="s" * 64, prompt_cache_key="p" * 65)
    assert [len(body[name]) for name in ("user", "safety_identifier", "prompt_cache_key")] == [64, 64, 64]
    assert body["safety_identifier"] == "s" * 64


MOST_STOPS = {"gemini": 5, "vertex": 5, "cohere": 5, "deepseek": 16, "deepinfra": 16, "anthropic": 20, "bedrock": 20}
UNBOUNDED = {*OPEN, "mistral", "anthropic", "bedrock"}


@pytest.mark.parametrize("provider", sorted(ADAPTERS.keys() - {"perplexity"}))
def test_stop_sequences_are_distinct_not_empty_and_not_too_many(provider: str) -> None:
    asked = ["", "a", "a", *(f"s{number}" for number in range(18))]
    request = ask(provider, stop=asked)
    body = json.loads(request.content)
    kept = next(
        node[name] for node in walk(body) for name in ("stop", "stop_sequences", "stopSequences") if name in node
    )
    most = 19 if provider in UNBOUNDED else MOST_STOPS.get(provider, 4)
    assert kept == [text for text in dict.fromkeys(asked) if text][:most]
    assert request.dropped[0] == "stop[0]"
    assert len(request.dropped) == 1 + 19 - len(kept)


UNION = {"anyOf": [{"required": ["a"]}, {"properties": {"c": {"type": "string"}}}]}
ROOTS: dict[str, Any] = {
    "anyOf": {"type": "object", "properties": {"a": {"type": "string"}}, **UNION},
    "oneOf": {"oneOf": [{"type": "object", "properties": {"a": {"type": "string"}}}]},
    "allOf": {"allOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]}]},
    "a reference": {"$ref": "#/$defs/X", "$defs": {"X": {"type": "object", "properties": {"a": {"type": "string"}}}}},
    "no type": {"properties": {"a": {"type": "string"}}},
}


@pytest.mark.parametrize("root", ROOTS.values(), ids=ROOTS.keys())
@pytest.mark.parametrize("provider", sorted(set(HOSTED) - {"perplexity"}))
def test_the_root_of_a_tools_schema_is_a_plain_object(provider: str, root: JsonObject) -> None:
    body = sent(provider, tools=[{"type": "function", "function": {"name": "f", "parameters": root}}])
    [schema] = [
        node[key]["json"] if key == "inputSchema" else node[key]
        for node in walk(body.get("tools") or body["toolConfig"])
        for key in ("parameters", "parametersJsonSchema", "input_schema", "inputSchema")
        if key in node
    ]
    assert schema["type"] == "object"
    assert "a" in schema["properties"]
    assert not {"anyOf", "oneOf", "allOf", "$ref"} & schema.keys()


SCHEMA: JsonObject = {
    "type": "object",
    "properties": {
        "a": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}},
        "b": {"anyOf": [{"type": "object", "properties": {}}, {"type": "null"}]},
    },
    "$defs": {
        "X": {"type": ["object", "null"], "properties": {"p": {"type": "string", "pattern": "x", "maxLength": 3}}}
    },
}


@pytest.mark.parametrize("provider", ["anthropic", "bedrock"])
def test_schemas_of_structured_outputs_are_closed_and_hold_known_keywords(provider: str) -> None:
    asked = {"type": "json_schema", "json_schema": {"name": "r", "schema": SCHEMA}}
    body = sent(provider, response_format=asked)
    schema = (
        body["output_config"]["format"]["schema"]
        if provider == "anthropic"
        else json.loads(body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"])
    )
    for node in walk(schema):
        if node.get("type") in ("object", ["object", "null"]):
            assert node["additionalProperties"] is False
        assert not {"minimum", "maxLength"} & node.keys()


@pytest.mark.parametrize("provider", ["openai", "azure", "groq"])
def test_a_strict_schema_is_closed_or_strictness_is_refused_by_its_path(provider: str) -> None:
    def asked(**changes: Any) -> JsonObject:
        schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], **changes}
        return {"type": "json_schema", "json_schema": {"name": "r", "strict": True, "schema": schema}}

    closed = sent(provider, drop=False, response_format=asked())["response_format"]["json_schema"]
    assert (closed["strict"], closed["schema"]["additionalProperties"]) == (True, False)
    looser: list[JsonObject] = [{"required": []}, {"additionalProperties": True}]
    for changes in looser:
        with pytest.raises(RefusedByAdapter) as refused:
            ask(provider, drop=False, response_format=asked(**changes))
        assert refused.value.failure.param == "response_format.json_schema.strict"
        assert sent(provider, response_format=asked(**changes))["response_format"]["json_schema"]["strict"] is False


@pytest.mark.parametrize(
    ("provider", "fields", "param"),
    [
        ("anthropic", {"temperature": 1.5}, "temperature"),
        ("bedrock", {"temperature": 1.5}, "temperature"),
        ("bedrock", {"temperature": 0.5, "top_p": 0.5}, "top_p"),
        ("bedrock", {"temperature": 0.5, "reasoning_effort": "low"}, "temperature"),
        ("bedrock", {"top_k": 5, "reasoning_effort": "low"}, "top_k"),
        ("bedrock", {"tools": [FUNCTION], "tool_choice": "required", "reasoning_effort": "low"}, "reasoning_effort"),
        ("bedrock", {"metadata": {"a": "ä"}}, "metadata.a"),
        ("cohere", {"temperature": 1.5}, "temperature"),
        ("cohere", {"top_p": 0}, "top_p"),
        ("cohere", {"presence_penalty": -1}, "presence_penalty"),
        ("cohere", {"seed": -1}, "seed"),
        ("mistral", {"temperature": 1.9}, "temperature"),
        ("mistral", {"seed": -1}, "seed"),
        ("perplexity", {"temperature": 2}, "temperature"),
        ("gemini", {"seed": 2**40}, "seed"),
        ("gemini", {"n": 9}, "n"),
        ("groq", {"messages": [{**HELLO, "name": "Anna"}]}, "messages[0].name"),
        ("groq", {"service_tier": "priority"}, "service_tier"),
        ("xai", {"reasoning_effort": "minimal"}, "reasoning_effort"),
        ("perplexity", {"reasoning_effort": "max"}, "reasoning_effort"),
        ("openai", {"messages": [{**HELLO, "name": "John Smith"}]}, "messages[0].name"),
        ("openai", {"tools": [{**FUNCTION, "cache_control": {"type": "ephemeral"}}]}, "tools[0].cache_control"),
    ],
)  # fmt: skip
def test_a_value_outside_the_providers_range_is_refused_or_dropped_by_name(
    provider: str, fields: JsonObject, param: str
) -> None:
    with pytest.raises(RefusedByAdapter) as refused:
        ask(provider, drop=False, **fields)
    assert refused.value.failure.param == param
    assert ask(provider, **fields).dropped == (param,)


@pytest.mark.parametrize(
    ("provider", "model", "fields", "param"),
    [
        ("openai", "o3", {"temperature": 0.5}, "temperature"),
        ("openai", "gpt-5", {"stop": ["x"]}, "stop"),
        ("openai", "gpt-4o", {"reasoning_effort": "low"}, "reasoning_effort"),
        ("xai", "grok-4", {"presence_penalty": 0.5}, "presence_penalty"),
        ("xai", "grok-4", {"reasoning_effort": "low"}, "reasoning_effort"),
        ("groq", "llama-3.1-8b-instant", {"reasoning_effort": "low"}, "reasoning_effort"),
        ("deepseek", "deepseek-reasoner", {"tools": [FUNCTION], "tool_choice": "required"}, "tool_choice"),
    ],
)
def test_what_a_model_does_not_take_is_refused_or_dropped_by_name(
    provider: str, model: str, fields: JsonObject, param: str
) -> None:
    with pytest.raises(RefusedByAdapter) as refused:
        ask(provider, drop=False, model=model, **fields)
    assert refused.value.failure.param == param
    assert ask(provider, model=model, **fields).dropped == (param,)


@pytest.mark.parametrize("provider", sorted(ADAPTERS.keys() - {"mistral", "cohere", "gemini", "vertex"}))
def test_defaults_that_are_spelled_out_are_refused_by_no_provider(provider: str) -> None:
    spelled: JsonObject = {
        "temperature": 1,
        "top_p": 1,
        "n": 1,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "stop": None,
        "user": "u1",
    }
    spelled |= {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "response_format": {"type": "text"}}
    assert ask(provider, drop=False, **spelled).dropped == ()


def test_reasoning_models_of_openai_get_their_limit_by_its_newer_name() -> None:
    assert sent("openai", model="o3", max_tokens=5)["max_completion_tokens"] == 5
    body = sent("openai", model="gpt-5.2", max_tokens=5, max_completion_tokens=7)
    assert (body["max_completion_tokens"], "max_tokens" in body) == (7, False)
    assert sent("openai", model="gpt-4o", max_tokens=5)["max_tokens"] == 5
    assert sent("openai", model="gpt-5.2", temperature=0.5)["temperature"] == 0.5


@pytest.mark.parametrize(("provider", "model"), [("anthropic", "claude-sonnet-4-5"), ("bedrock", MODELS["bedrock"])])
def test_claude_thinks_in_a_tool_loop_only_if_the_loop_began_with_thinking(provider: str, model: str) -> None:
    details = [{"type": "reasoning.text", "text": "R", "signature": "s", "format": "anthropic-claude-v1"}]
    for extra, dropped in (({}, ("reasoning_effort",)), ({"reasoning_details": details}, ())):
        messages = [HELLO, calls(call("a"), **extra), result("a")]
        assert ask(provider, messages=messages, tools=[FUNCTION], reasoning_effort="low").dropped == dropped
    over = [HELLO, calls(call("a")), result("a"), {"role": "assistant", "content": "A"}, HELLO]
    assert ask(provider, messages=over, tools=[FUNCTION], reasoning_effort="low").dropped == ()


def test_a_limit_above_the_models_own_is_the_models_own() -> None:
    assert sent("anthropic", max_tokens=10**6)["max_tokens"] == 64_000
    assert sent("bedrock", max_tokens=10**6)["inferenceConfig"]["maxTokens"] == 64_000
    assert sent("bedrock", model="us.amazon.nova-pro-v1:0", max_tokens=10**6)["inferenceConfig"]["maxTokens"] == 10_000


@pytest.mark.parametrize("provider", ["gemini", "vertex"])
def test_enumerations_hold_no_empty_text(provider: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "enum": ["", "x"]}}}
    body = sent(provider, tools=[{"type": "function", "function": {"name": "f", "parameters": schema}}])
    assert [node["enum"] for node in walk(body) if "enum" in node] == [["x"]]


def test_documents_on_bedrock_have_distinct_names_and_a_text() -> None:
    data = "data:application/pdf;base64,JVBERi0xLjQK"
    names = ["a.pdf", "a.pdf", "a (2).pdf", "b__c  d.pdf", "ü.pdf", ""]
    parts = [{"type": "file", "file": {"filename": name, "file_data": data}} for name in names]
    [message] = sent("bedrock", messages=[{"role": "user", "content": parts}])["messages"]
    made = [block["document"]["name"] for block in message["content"] if "document" in block]
    assert len(set(made)) == len(names)
    assert [name for name in made if not re.fullmatch(r"(?:[a-zA-Z0-9()\[\]-]| (?! )){1,200}", name)] == []
    assert sum("text" in block for block in message["content"]) == 1
