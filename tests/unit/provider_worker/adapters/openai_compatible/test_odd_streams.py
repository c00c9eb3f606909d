"""Streams of servers that repeat, quote or number what OpenAI sends in pieces and words. All bodies here are hand-made."""

import json
from typing import Any

import pytest

from tests.unit.provider_worker.adapters.openai_compatible.stream_bodies import DONE, delta, read, tool
from tests.unit.provider_worker.adapters.openai_compatible.test_stream import sdk, sdk_calls

ARGUMENTS = '{"l":[1,{"b":2}]}'


def read_without_finish(*pieces: bytes) -> str:
    """Return the arguments as a client joins them that needs no finish reason."""
    early, answer = read(*pieces, DONE)
    assert answer.failure is None
    chunks: list[Any] = [*early, *map(json.loads, answer.late)]
    assert {chunk["id"] for chunk in chunks} == {"c1"}
    calls = [piece for chunk in chunks for piece in chunk["choices"][0]["delta"].get("tool_calls", [])]
    return "".join(piece["function"].get("arguments", "") for piece in calls)


@pytest.mark.parametrize("cut", range(1, len(ARGUMENTS)))
def test_arguments_repeated_with_every_piece_are_joined_once(cut: int) -> None:
    first, rest = tool(0, "a", "f", ARGUMENTS[:cut]), tool(0, None, None, ARGUMENTS)
    for end in (delta("tool_calls"), delta("tool_calls") + delta("stop")):
        assert sdk_calls(read(first, rest, end, DONE)[0]) == [("a", "f", ARGUMENTS)]
    assert read_without_finish(first, rest) == ARGUMENTS


@pytest.mark.parametrize("size", [1, 5, 100])
def test_arguments_in_a_text_are_the_object(size: int) -> None:
    text = json.dumps(ARGUMENTS)
    pieces = [tool(0, None, None, text[at : at + size]) for at in range(0, len(text), size)]
    chunks, _ = read(tool(0, "a", "f", ""), *pieces, delta("tool_calls"), DONE)
    assert sdk_calls(chunks) == [("a", "f", ARGUMENTS)]
    assert read_without_finish(tool(0, "a", "f", ""), *pieces) == ARGUMENTS


@pytest.mark.parametrize("sent", [1, 2, 7.0, True, {"type": "stop"}, {"type": "eos", "matched": 1}])
def test_a_finish_reason_that_is_no_word_ends_the_answer(sent: object) -> None:
    chunks, answer = read(delta(None, content="x"), delta(sent), DONE)
    assert (answer.failure, answer.finish_reason) == (None, "stop")
    assert sdk(chunks).choices[0].finish_reason == "stop"
    chunks, answer = read(tool(0, "a", "f", "{}"), delta(sent), DONE)
    assert answer.finish_reason == ("stop" if sent == {"type": "stop"} else "tool_calls")


@pytest.mark.parametrize("sent", [0, False, -1, {}, {"type": None}, []])
def test_what_stands_for_no_finish_reason_ends_nothing(sent: object) -> None:
    piece = delta(sent, content="x")
    chunks, answer = read(piece, delta("length"), DONE)
    first: Any = chunks[0]
    assert (first["choices"][0]["finish_reason"], answer.finish_reason) == (None, "length")
