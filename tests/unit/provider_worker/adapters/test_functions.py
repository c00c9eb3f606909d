"""Callers that still send `functions` get their function called, at every provider, and read the call where they look for it."""

import json
from typing import Any

import pytest

from services.provider_worker.adapters.adapter import Answer, RefusedByAdapter
from services.provider_worker.adapters.registry import ADAPTERS
from tests.unit.provider_worker.adapters.test_request_rules import HELLO, run_of
from tests.unit.provider_worker.adapters.test_whole_answers import DOCUMENTS, OPENAI

JsonObject = dict[str, Any]
FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}}}
KNOW_FUNCTIONS = {"openai", "azure"}
OTHERS = sorted(ADAPTERS.keys() - KNOW_FUNCTIONS - {"perplexity"})
HISTORY: list[JsonObject] = [
    HELLO,
    {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"n":1}'}},
    {"role": "function", "name": "f", "content": "one"},
    {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"n":2}'}},
    {"role": "function", "name": "f", "content": "two"},
]


def as_tools(messages: list[JsonObject]) -> list[JsonObject]:
    """Return `HISTORY` as a caller of tools would write it."""
    translated: list[JsonObject] = []
    for position, message in enumerate(messages):
        if message["role"] == "function":
            call_id = f"call_{position - 1}"
            translated.append({"role": "tool", "tool_call_id": call_id, "content": message["content"]})
        elif "function_call" in message:
            call = {"id": f"call_{position}", "type": "function", "function": message["function_call"]}
            translated.append({"role": "assistant", "content": None, "tool_calls": [call]})
        else:
            translated.append(message)
    return translated


def content(provider: str, **fields: Any) -> bytes:
    body = {"model": "x", "messages": [HELLO], **fields}
    return ADAPTERS[provider].request(run_of(provider, drop=False), json.dumps(body).encode()).content


def refused(provider: str, **fields: Any) -> str | None:
    with pytest.raises(RefusedByAdapter) as caught:
        content(provider, **fields)
    return caught.value.failure.param


def read(provider: str, document: JsonObject, *, stream: bool, **fields: Any) -> tuple[list[JsonObject], Answer]:
    run = run_of(provider, stream=stream)
    body = json.dumps({"model": "x", "messages": [HELLO], "stream": stream, **fields}).encode()
    request = ADAPTERS[provider].request(run, body)
    reader = ADAPTERS[provider].reader(run, request, 200, {})
    chunks = reader.feed(json.dumps(document).encode())
    answer = reader.close()
    return [json.loads(text) for text in [*chunks, *answer.late]], answer


@pytest.mark.parametrize("provider", OTHERS)
@pytest.mark.parametrize("choice", [None, "auto", "none", {"name": "f"}])
def test_functions_are_sent_as_tools(provider: str, choice: Any) -> None:
    tool_choice = choice if not isinstance(choice, dict) else {"type": "function", "function": choice}
    if provider == "ollama" and choice not in (None, "auto"):
        assert refused(provider, functions=[FUNCTION], function_call=choice) == "tool_choice"
        return
    old: JsonObject = {"functions": [FUNCTION]} | ({} if choice is None else {"function_call": choice})
    new: JsonObject = {"tools": [{"type": "function", "function": FUNCTION}]}
    new |= {} if choice is None else {"tool_choice": tool_choice}
    assert json.loads(content(provider, **old)) == json.loads(content(provider, **new))


@pytest.mark.parametrize("provider", OTHERS)
def test_earlier_calls_and_results_are_sent_as_those_of_tools(provider: str) -> None:
    tools = [{"type": "function", "function": FUNCTION}]
    sent = [json.loads(content(provider, messages=messages, tools=tools)) for messages in (HISTORY, as_tools(HISTORY))]
    assert sent[0] == sent[1]


@pytest.mark.parametrize("provider", sorted(KNOW_FUNCTIONS))
def test_who_knows_functions_gets_them(provider: str) -> None:
    sent = json.loads(content(provider, messages=HISTORY, functions=[FUNCTION], function_call={"name": "f"}))
    assert (sent["functions"], sent["function_call"], sent["messages"]) == ([FUNCTION], {"name": "f"}, HISTORY)


@pytest.mark.parametrize("provider", sorted(DOCUMENTS.keys() - {"openai"}))
def test_the_answer_calls_the_function_in_the_older_form(provider: str) -> None:
    _, answer = read(provider, DOCUMENTS[provider], stream=False, functions=[FUNCTION])
    (choice,) = json.loads(answer.body)["choices"]
    assert choice["finish_reason"] == "function_call"
    assert choice["message"]["content"] == "hi"
    assert "tool_calls" not in choice["message"]
    called = choice["message"]["function_call"]
    assert (called["name"], json.loads(called["arguments"])) == ("f", {"n": 1})


@pytest.mark.parametrize("provider", sorted(DOCUMENTS.keys() - {"openai"}))
def test_a_stream_calls_the_function_in_the_older_form(provider: str) -> None:
    chunks, _ = read(provider, DOCUMENTS[provider], stream=True, functions=[FUNCTION])
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    pieces = [choice["delta"]["function_call"] for choice in choices if "function_call" in choice["delta"]]
    assert "".join(piece.get("name", "") for piece in pieces) == "f"
    assert json.loads("".join(piece.get("arguments", "") for piece in pieces)) == {"n": 1}
    assert choices[-1]["finish_reason"] == "function_call"
    assert all("tool_calls" not in choice["delta"] for choice in choices)


def test_a_second_call_is_not_lost() -> None:
    document = json.loads(json.dumps(OPENAI))
    calls = document["choices"][0]["message"]["tool_calls"]
    calls.append({"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}})
    _, answer = read("groq", document, stream=False, functions=[FUNCTION])
    message = json.loads(answer.body)["choices"][0]["message"]
    assert message["function_call"]["name"] == "f"
    assert [call["function"]["name"] for call in message["tool_calls"]] == ["g"]


def test_a_caller_of_tools_reads_tool_calls() -> None:
    tools = [{"type": "function", "function": FUNCTION}]
    _, answer = read("groq", OPENAI, stream=False, tools=tools, messages=HISTORY, function_call="auto")
    (choice,) = json.loads(answer.body)["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert "function_call" not in choice["message"]


@pytest.mark.parametrize("provider", ["groq", "anthropic", "gemini", "bedrock", "cohere", "custom"])
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"functions": [FUNCTION], "tools": [{"type": "function", "function": FUNCTION}]}, "functions"),
        ({"functions": "f"}, "functions"),
        ({"functions": ["f"]}, "functions"),
        ({"functions": [FUNCTION], "function_call": {"name": "g"}}, "function_call"),
        ({"functions": [FUNCTION], "function_call": "required"}, "function_call"),
        ({"function_call": {"name": "f"}}, "function_call"),
        ({"messages": [HELLO, {"role": "function", "name": "f", "content": "x"}]}, "messages[1].name"),
        (
            {"messages": [HELLO, {**HISTORY[1], "tool_calls": [{"id": "a"}]}, HISTORY[2]]},
            "messages[1].function_call",
        ),
    ],
)
def test_what_has_no_meaning_is_refused_by_its_name(provider: str, fields: JsonObject, param: str) -> None:
    assert refused(provider, **fields) == param


@pytest.mark.parametrize("provider", OTHERS)
def test_what_asks_for_nothing_is_left_out(provider: str) -> None:
    asking: list[JsonObject] = [
        {"functions": []},
        {"functions": None, "function_call": None},
        {"function_call": "none"},
    ]
    for fields in asking:
        assert content(provider, **fields) == content(provider)
