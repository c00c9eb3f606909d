"""The text of OpenAI answers."""

import json

import pytest

from keyferry.cli.completion_text import CompletionText
from keyferry.cli.problem import Problem


def _chunk(delta: dict[str, object], finish_reason: str | None = None) -> bytes:
    return json.dumps(
        {"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}
    ).encode()


def test_chunks_add_up() -> None:
    answer = CompletionText()
    chunks = [
        _chunk({"role": "assistant", "content": None}),
        _chunk({"content": "Hel"}),
        _chunk({"content": "lo"}),
        _chunk({}, "stop"),
        json.dumps({"choices": [], "usage": {"total_tokens": 3}}).encode(),
    ]
    assert [answer.add(chunk) for chunk in chunks] == ["", "Hel", "lo", "", ""]
    assert (answer.text, answer.finish_reason, answer.model) == ("Hello", "stop", "m")


def test_completion_is_one_text() -> None:
    answer = CompletionText()
    completion = {
        "model": "m",
        "choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    }
    assert answer.add(json.dumps(completion).encode(), "completion") == "Hi"
    assert answer.finish_reason == "stop"


def test_error_inside_a_stream_is_a_problem() -> None:
    with pytest.raises(Problem, match="broke off: too busy"):
        CompletionText().add(json.dumps({"choices": [], "error": {"message": "too busy"}}).encode())


@pytest.mark.parametrize("data", [b"", b"not json", b"[]", b'{"choices": 3}'])
def test_malformed_answer_is_a_problem(data: bytes) -> None:
    with pytest.raises(Problem, match="not what the OpenAI API defines"):
        CompletionText().add(data)
