"""Whole and streamed answers parse to the same result, and malformed ones are rejected."""

import json

import pytest

from keyferry.client.parsing import MalformedAnswer, StreamAssembly, parse_answer, parse_embeddings, parse_object
from keyferry.client.results import CompletionUsage, Delta, JsonObject, Route, ToolCall, ToolCallPiece
from keyferry.contracts.usage import KeySource

ROUTE = Route("custom", "mine", "m", KeySource.CUSTOM, "att_1", 1, "dec_1")


def chunk(delta: dict[str, object] | None, finish_reason: str | None = None, index: int = 0, **more: object) -> bytes:
    choices = [] if delta is None else [{"index": index, "delta": delta, "finish_reason": finish_reason}]
    return json.dumps(
        {"id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "m-1", "choices": choices, **more}
    ).encode()


def tool(index: int, arguments: str, **first: str) -> dict[str, object]:
    name = {"name": first["name"]} if first else {}
    return {"index": index, **({"id": first["id"]} if first else {}), "function": {**name, "arguments": arguments}}


def assemble(*chunks: bytes) -> tuple[list[Delta], JsonObject]:
    assembly = StreamAssembly()
    deltas = [delta for piece in chunks for delta in assembly.add(piece)]
    return deltas, assembly.completion()


def test_whole_answer_is_parsed() -> None:
    document = {
        "id": "c1",
        "model": "m-1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": 9,
            "completion_tokens": 4,
            "total_tokens": 13,
            "prompt_tokens_details": {"cached_tokens": 5},
            "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": None},
        },
        "extra": [1],
    }
    answer = parse_answer(parse_object(json.dumps(document).encode()), request_id="req_1", route=ROUTE)
    assert (answer.text, answer.finish_reason, answer.model, answer.request_id) == ("Hi", "stop", "m-1", "req_1")
    assert answer.usage == CompletionUsage(9, 4, 13, cached_tokens=5, reasoning_tokens=3)
    assert answer.raw == document


def test_chunks_assemble_to_the_same_answer() -> None:
    deltas, raw = assemble(
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "hm"}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        chunk({"tool_calls": [tool(0, "{", id="call_1", name="look"), tool(1, "[]", id="call_2", name="find")]}),
        chunk({"tool_calls": [tool(0, "}")]}),
        chunk({}, "tool_calls"),
        chunk(None, usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}),
    )
    assert [delta.text for delta in deltas] == ["", "Hel", "lo", "", ""]
    assert deltas[0].reasoning == "hm"
    assert deltas[3].tool_calls[1] == ToolCallPiece(1, "call_2", "find", "[]")
    assert deltas[4].tool_calls == (ToolCallPiece(0, None, None, "}"),)
    answer = parse_answer(raw, request_id="req_1", route=ROUTE)
    assert (answer.text, answer.reasoning, answer.finish_reason) == ("Hello", "hm", "tool_calls")
    assert answer.tool_calls == (ToolCall("call_1", "look", "{}"), ToolCall("call_2", "find", "[]"))
    assert answer.usage == CompletionUsage(1, 2, 3)
    assert (raw["object"], raw["id"], raw["model"]) == ("chat.completion", "c1", "m-1")


def test_several_choices_stay_apart() -> None:
    deltas, raw = assemble(chunk({"content": "a"}), chunk({"content": "b"}, index=1), chunk({"content": "c"}))
    assert [(delta.choice, delta.text) for delta in deltas] == [(0, "a"), (1, "b"), (0, "c")]
    choices = raw["choices"]
    assert isinstance(choices, list)
    assert len(choices) == 2
    assert parse_answer(raw, request_id="r", route=ROUTE).text == "ac"


@pytest.mark.parametrize(
    "data", [b"", b"nothing", b"[]", b'{"choices": []}', b'{"choices": [{"message": {"content": 3}}]}']
)
def test_malformed_completion_is_rejected(data: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        parse_answer(parse_object(data), request_id="r", route=ROUTE)


@pytest.mark.parametrize("data", [b"x", b"3", b'{"choices": 3}'])
def test_malformed_chunk_is_rejected(data: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        StreamAssembly().add(data)


def test_vectors_are_parsed_in_index_order_from_numbers_and_base64() -> None:
    raw: JsonObject = {"data": [{"index": 1, "embedding": [0.5, 1]}, {"index": 0, "embedding": "AAAAPwAAAMA="}]}
    answer = parse_embeddings(raw, request_id="req_1", route=ROUTE)
    assert answer.vectors == ((0.5, -2.0), (0.5, 1.0))
    assert (answer.model, answer.usage) == (ROUTE.model, None)


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"data": [{"index": 0}]},
        {"data": [{"embedding": "not base64!"}]},
        {"data": [{"embedding": "AAA="}]},
        {"data": 1},
    ],
)
def test_malformed_embeddings_are_rejected(raw: JsonObject) -> None:
    with pytest.raises(MalformedAnswer):
        parse_embeddings(raw, request_id="req_1", route=ROUTE)
