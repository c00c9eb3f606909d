"""Wrong bodies of OpenAI requests: the exact text and `param` for every field, and bounded work for any number of errors."""

import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from keyferry.contracts.completion import ChatCompletionBody, ChatMessage, EmbeddingBody, StreamOptions
from keyferry.runtime.http.openai_body import read_chat, read_embedding
from keyferry.runtime.http.problem import HttpProblem

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
EMBEDDING: dict[str, Any] = {"model": "m", "input": "hi"}
STRING, INTEGER, NUMBER = "it should be a string", "it should be an integer", "it should be a number"
BOOLEAN, ARRAY, OBJECT = "it should be true or false", "it should be an array", "it should be an object"
LINE = (
    "it should be a text of 1 to 300 characters, on one line, without control characters, unpaired surrogates, noncharacters"
    " and bidirectional controls"
)
ROLES = "it should be 'system', 'developer', 'user', 'assistant', 'tool' or 'function'"


def message(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hi"}, {"role": "user", "content": "hi"} | fields]}


WRONG_CHATS: list[tuple[dict[str, Any], str, str]] = [
    # field, `param`, what the error says
    ({"model": 7}, "model", LINE),
    ({"model": None}, "model", LINE),
    ({"model": ""}, "model", LINE),
    ({"model": "m" * 301}, "model", LINE),
    ({"model": "a\x00b"}, "model", LINE),
    ({"messages": []}, "messages", "it should be an array with at least 1 item"),
    ({"messages": "hi"}, "messages", ARRAY),
    ({"messages": {}}, "messages", ARRAY),
    ({"messages": None}, "messages", ARRAY),
    ({"messages": ["hi"]}, "messages[0]", OBJECT),
    (message(role="boss"), "messages[1].role", ROLES),
    (message(role=None), "messages[1].role", ROLES),
    (message(content=5), "messages[1].content", "it should be a string or an array"),
    (message(content={}), "messages[1].content", "it should be a string or an array"),
    (message(content=["hi"]), "messages[1].content[0]", OBJECT),
    (message(content=[{"type": "text"}, {"type": 5}]), "messages[1].content[1].type", STRING),
    (message(name=5), "messages[1].name", STRING),
    (message(tool_call_id=5), "messages[1].tool_call_id", STRING),
    (message(tool_calls={}), "messages[1].tool_calls", ARRAY),
    (message(tool_calls=[{}, 5]), "messages[1].tool_calls[1]", OBJECT),
    ({"stream": "yes"}, "stream", BOOLEAN),
    ({"stream": 1}, "stream", BOOLEAN),
    ({"stream_options": True}, "stream_options", OBJECT),
    ({"stream": True, "stream_options": {"include_usage": "yes"}}, "stream_options.include_usage", BOOLEAN),
    ({"temperature": "hot"}, "temperature", NUMBER),
    ({"temperature": "0.5"}, "temperature", NUMBER),
    ({"temperature": True}, "temperature", NUMBER),
    ({"temperature": [1]}, "temperature", NUMBER),
    ({"temperature": -1}, "temperature", "it should be at least 0"),
    ({"temperature": 2.5}, "temperature", "it should be at most 2"),
    ({"top_p": "all"}, "top_p", NUMBER),
    ({"top_p": 1.5}, "top_p", "it should be at most 1"),
    ({"n": True}, "n", INTEGER),
    ({"n": 1.5}, "n", INTEGER),
    ({"n": "2"}, "n", INTEGER),
    ({"n": 0}, "n", "it should be at least 1"),
    ({"n": 129}, "n", "it should be at most 128"),
    ({"max_tokens": 1.5}, "max_tokens", INTEGER),
    ({"max_tokens": 0}, "max_tokens", "it should be at least 1"),
    ({"max_completion_tokens": {}}, "max_completion_tokens", INTEGER),
    ({"max_completion_tokens": -5}, "max_completion_tokens", "it should be at least 1"),
    ({"stop": 5}, "stop", "it should be a string or an array"),
    ({"stop": ["a", 5]}, "stop[1]", STRING),
    ({"presence_penalty": "low"}, "presence_penalty", NUMBER),
    ({"presence_penalty": 3}, "presence_penalty", "it should be at most 2"),
    ({"frequency_penalty": []}, "frequency_penalty", NUMBER),
    ({"frequency_penalty": -2.5}, "frequency_penalty", "it should be at least -2"),
    ({"logprobs": 5}, "logprobs", BOOLEAN),
    ({"top_logprobs": "5"}, "top_logprobs", INTEGER),
    ({"top_logprobs": 21}, "top_logprobs", "it should be at most 20"),
    ({"seed": 1.0}, "seed", INTEGER),
    ({"tools": {"type": "function"}}, "tools", ARRAY),
    ({"tools": ["search"]}, "tools[0]", OBJECT),
    ({"tool_choice": 5}, "tool_choice", "it should be a string or an object"),
    ({"parallel_tool_calls": "no"}, "parallel_tool_calls", BOOLEAN),
    ({"response_format": "json"}, "response_format", OBJECT),
    ({"user": 5}, "user", STRING),
    ({"metadata": "team"}, "metadata", OBJECT),
    ({"metadata": {"Team": 5}}, "metadata.Team", STRING),
    ({"metadata": {"a" * 65: 5}}, f"metadata.{'a' * 64}…", STRING),
]
WRONG_EMBEDDINGS: list[tuple[dict[str, Any], str, str]] = [
    ({"model": []}, "model", LINE),
    ({"input": 5}, "input", "it should be a string or an array"),
    ({"input": None}, "input", "it should be a string or an array"),
    ({"input": {}}, "input", "it should be a string or an array"),
    ({"input": ""}, "input", "it should be a string that is not empty"),
    ({"input": []}, "input", "it should be an array with at least 1 item"),
    ({"input": ["a", ""]}, "input[1]", "it should be a string that is not empty"),
    ({"input": [1, "a"]}, "input[1]", INTEGER),
    ({"input": ["a", 1]}, "input[1]", STRING),
    ({"input": [-1]}, "input[0]", "it should be at least 0"),
    ({"input": [1.5]}, "input[0]", "it should be a string, an integer or an array"),
    ({"input": [[]]}, "input[0]", "it should be an array with at least 1 item"),
    ({"input": [[1], [2, -1]]}, "input[1][1]", "it should be at least 0"),
    ({"input": [[["a"]]]}, "input[0][0]", INTEGER),
    ({"input": ["a"] * 2049}, "input", "it should be an array with at most 2048 items"),
    ({"input": [[1]] * 2049}, "input", "it should be an array with at most 2048 items"),
    ({"encoding_format": "hex"}, "encoding_format", "it should be 'float' or 'base64'"),
    ({"encoding_format": 5}, "encoding_format", "it should be 'float' or 'base64'"),
    ({"dimensions": 0}, "dimensions", "it should be at least 1"),
    ({"dimensions": "8"}, "dimensions", INTEGER),
    ({"user": {}}, "user", STRING),
]


def problem_of(body: object, *, embedding: bool) -> HttpProblem:
    read = read_embedding if embedding else read_chat
    with pytest.raises(HttpProblem) as raised:
        read(json.dumps(body).encode())
    return raised.value


@pytest.mark.parametrize(("fields", "param", "reason"), WRONG_CHATS)
def test_a_wrong_chat_is_explained(fields: dict[str, Any], param: str, reason: str) -> None:
    problem = problem_of(CHAT | fields, embedding=False)
    assert (problem.status, problem.type, problem.code) == (400, "invalid_request_error", "invalid_value")
    assert (problem.param, problem.message) == (param, f"invalid value for {param}: {reason}")


@pytest.mark.parametrize(("fields", "param", "reason"), WRONG_EMBEDDINGS)
def test_a_wrong_embedding_is_explained(fields: dict[str, Any], param: str, reason: str) -> None:
    problem = problem_of(EMBEDDING | fields, embedding=True)
    assert (problem.status, problem.type, problem.code) == (400, "invalid_request_error", "invalid_value")
    assert (problem.param, problem.message) == (param, f"invalid value for {param}: {reason}")


@pytest.mark.parametrize(
    ("model", "prefix", "rows"),
    [
        (ChatCompletionBody, "", WRONG_CHATS),
        (ChatMessage, "messages[1].", WRONG_CHATS),
        (StreamOptions, "stream_options.", WRONG_CHATS),
        (EmbeddingBody, "", WRONG_EMBEDDINGS),
    ],
)
def test_every_field_has_a_row(model: type[BaseModel], prefix: str, rows: list[tuple[Any, str, str]]) -> None:
    params = {param.removeprefix(prefix).partition("[")[0] for _, param, _ in rows if param.startswith(prefix)}
    assert model.model_fields.keys() <= params


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": CHAT["messages"]}, "model"),
        ({"model": "m"}, "messages"),
        (CHAT | {"messages": [{"content": "hi"}]}, "messages[0].role"),
        (CHAT | message(content=[{"text": "hi"}]), "messages[1].content[0].type"),
    ],
)
def test_a_missing_field_is_named(body: dict[str, Any], param: str) -> None:
    problem = problem_of(body, embedding=False)
    assert (problem.code, problem.param) == ("missing_required_parameter", param)
    assert problem.message == f"missing required parameter: {param}"


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (ChatCompletionBody, CHAT | {"messages": [5] * 1000}),
        (ChatCompletionBody, CHAT | {"messages": [{"role": "user", "content": [5] * 1000}]}),
        (ChatCompletionBody, CHAT | {"messages": [{"role": "user", "content": "", "tool_calls": [5] * 1000}]}),
        (ChatCompletionBody, CHAT | {"stop": [5] * 1000}),
        (ChatCompletionBody, CHAT | {"tools": [5] * 1000}),
        (ChatCompletionBody, CHAT | {"metadata": {str(number): 5 for number in range(1000)}}),
        (EmbeddingBody, EMBEDDING | {"input": [None] * 1000}),
        (EmbeddingBody, EMBEDDING | {"input": [[None] * 1000] * 2}),
    ],
)
def test_a_body_with_a_thousand_errors_costs_no_more_than_one_with_few(
    model: type[BaseModel], body: dict[str, Any]
) -> None:
    """A body of 6 MB can hold two million errors: collecting them took 20 s and 3 GB."""
    with pytest.raises(ValidationError) as raised:
        model.model_validate_json(json.dumps(body))
    assert raised.value.error_count() <= 4


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("NaN", "NaN is not a number of JSON at line 1 column {}"),
        ("Infinity", "Infinity is not a number of JSON at line 1 column {}"),
        ("-Infinity", "Infinity is not a number of JSON at line 1 column {}"),
        ("1e999", "a number is too large at line 1 column {}"),
        ("-1e400", "a number is too large at line 1 column {}"),
        ("9" * 400, "a number is too large at line 1 column {}"),
        ("01", "number with leading zero is not allowed at line 1 column {}"),
    ],
)
@pytest.mark.parametrize(
    "place",
    [
        '"temperature": @',
        '"n": @',
        '"tools": [{"type": "function", "function": {"name": "f", "parameters": {"default": [1, @]}}}]',
        '"extra_body": {"deep": {"er": @}}',
        '"metadata": {"a": @}',
    ],
)
def test_a_number_that_is_none_is_refused_wherever_it_is(value: str, reason: str, place: str) -> None:
    """A lenient parser reads them, and they became null on the way to the provider."""
    for body, read in ((CHAT, read_chat), (EMBEDDING, read_embedding)):
        start = json.dumps(body)[:-1] + ", "
        with pytest.raises(HttpProblem) as raised:
            read((start + place.replace("@", value) + "}").encode())
        column = len(start) + place.index("@") + 1 + (value == "-Infinity")
        assert (raised.value.status, raised.value.code) == (400, "invalid_json")
        assert raised.value.message == f"the body is not valid JSON: {reason.format(column)}"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is not valid JSON: it is empty at line 1 column 1"),
        (b'{"model": "\xff"}', "the body is not valid JSON: it is not UTF-8 at line 1 column 1"),
        (b'{"model": "m",\n}', "the body is not valid JSON: "),
        (b"[]", "the body must be a JSON object"),
        (b'"text"', "the body must be a JSON object"),
    ],
)
def test_what_is_no_object_is_explained(body: bytes, message: str) -> None:
    with pytest.raises(HttpProblem) as raised:
        read_chat(body)
    assert raised.value.message.startswith(message)


def bodies_with_containers(number: int) -> list[bytes]:
    start = b'{"model":"m","messages":[{"role":"user","content":"x"}],"x":['  # four of them
    return [
        start + b",".join([inner] * ((number - 4) // inner.count(b"]" if b"[" in inner else b"}"))) + b"]}"
        for inner in (b"[]", b"{}", b"[[]]", b'{"a":{"b":"c"}}')
    ]


def test_arrays_and_objects_are_limited_in_number() -> None:
    """A million of them kept a process from its other requests for seconds."""
    for body in bodies_with_containers(50_000):
        assert read_chat(body).model == "m"
    for body in bodies_with_containers(50_002):
        with pytest.raises(HttpProblem) as raised:
            read_chat(body)
        assert (raised.value.status, raised.value.code) == (400, "request_too_complex")
        assert raised.value.message == "the body has more than 50000 arrays and objects, the limit of the gateway"


@pytest.mark.parametrize("body", ["[" + "1," * 500_001 + "1]", '{"a":1' + ',"a":1' * 500_001 + "}"])
def test_values_are_limited_in_number(body: str) -> None:
    with pytest.raises(HttpProblem) as raised:
        read_chat(body.encode())
    assert (raised.value.status, raised.value.code) == (400, "request_too_complex")
    assert raised.value.message == "the body has more than 500000 values, the limit of the gateway"


@pytest.mark.parametrize("place", [b'"x":{@}', b"@", b'"logit_bias":{@},"y":"\\u003a"'])
def test_members_of_objects_are_limited_in_number(place: bytes) -> None:
    """A body of 499,000 names, fewer than the values that are allowed, took a second to read."""
    start = b'{"model":"m","messages":[{"role":"user","content":"x"}],'
    for number in (149_990, 150_001):  # and the members around them
        body = start + place.replace(b"@", b",".join(b'"%x":0' % index for index in range(number))) + b"}"
        if number < 150_000:
            assert read_chat(body).model == "m"
            continue
        with pytest.raises(HttpProblem) as raised:
            read_chat(body)
        assert (raised.value.status, raised.value.code) == (400, "request_too_complex")
        assert raised.value.message == "the body has more than 150000 members of objects, the limit of the gateway"


@pytest.mark.parametrize("text", ["," * 600_000, ":" * 160_000, '":' * 160_000, '\\":{[' * 160_000])
def test_punctuation_in_texts_does_not_count(text: str) -> None:
    body = CHAT | {"messages": [{"role": "user", "content": text}]}
    assert read_chat(json.dumps(body).encode()).model == "m"


@pytest.mark.parametrize("depth", [190, 210, 300, 2_000])
@pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"a":[', "]}")])
def test_nested_bodies_are_read_or_refused_as_such(depth: int, start: str, end: str) -> None:
    levels = start.count("[") + start.count("{")
    nested = start * (depth // levels) + end * (depth // levels)
    body = json.dumps(CHAT)[:-1] + f', "x": {nested}}}'
    if depth < 200:
        assert read_chat(body.encode()).model == "m"
        return
    with pytest.raises(HttpProblem) as raised:
        read_chat(body.encode())
    assert (raised.value.status, raised.value.code) == (400, "request_too_complex")
    message = "the body has more than 200 levels of arrays and objects, the limit of the gateway"
    assert raised.value.message == message


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ('"model": "other"', "model"),
        ('"m\\u006fdel": "other"', "model"),
        ('"model": "a:b", "user": "\\u003a"', "model"),
        ('"user": "a", "user": "\\u003A\\u003a"', "user"),
        ('"extra_body": {"deep": [0, {"er": 1, "b": {"c": 1}, "er": {"c": 2}}]}', "extra_body.deep[1].er"),
        ('"tools": [{"type": "function", "function": {"name": "f", "name": "g"}}]', "tools[0].function.name"),
        ('"x": {"y": 1, "y": 1}, "x": 2', "x"),
        ('"x": {"' + "a" * 65 + '": 1, "' + "a" * 65 + '": 1}', f"x.{'a' * 64}…"),
    ],
)
def test_a_repeated_name_is_refused_wherever_it_is(members: str, param: str) -> None:
    """Parsers take the first or the last: what is checked here could differ from what a provider reads."""
    for body, read in ((CHAT, read_chat), (EMBEDDING, read_embedding)):
        with pytest.raises(HttpProblem) as raised:
            read((json.dumps(body)[:-1] + f", {members}}}").encode())
        problem = raised.value
        assert (problem.status, problem.code, problem.param) == (400, "repeated_parameter", param)
        assert problem.message == f"the body has {param} more than once: send each parameter once"


@pytest.mark.parametrize("text", [":", "\\u003a", "\\\\u003a", "\\u003a:", '\\":', "\\u0022\\u003a1"])
def test_colons_in_texts_repeat_nothing(text: str) -> None:
    body = f'{{"model": "m", "messages": [{{"role": "user", "content": "{text}"}}], "user": "{text}"}}'
    assert read_chat(body.encode()).model == "m"


@pytest.mark.parametrize("text", ["[{" * 40_000, '\\"[{' * 40_000, "\\\\[" * 80_000, '"' + "[" * 60_000 + '"'])
def test_brackets_in_texts_do_not_count(text: str) -> None:
    body = CHAT | {"messages": [{"role": "user", "content": text}]}
    assert read_chat(json.dumps(body).encode()).model == "m"


@pytest.mark.parametrize(
    "rest", [b'"' * 100_001, b'\\"' * 60_000, b'"' + b'\\"' * 60_000, b'"\\' * 60_001, b'"' + b"\\" * 60_001]
)
def test_counting_ends_soon_whatever_is_sent(rest: bytes) -> None:
    with pytest.raises(HttpProblem) as raised:
        read_chat(b'{"model": "m", "x": [' + b"[" * 50_100 + rest)
    assert raised.value.code == "request_too_complex"
