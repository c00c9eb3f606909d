"""Estimated token usage: rough, bounded, and never a crash."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.provider_worker.estimate import estimate


def test_four_characters_are_a_token_and_a_delta_is_one() -> None:
    body = {
        "messages": [
            {"role": "user", "content": "x" * 40},
            {"role": "user", "content": [{"type": "text", "text": "y" * 8}]},
        ]
    }
    token_usage = estimate(json.dumps(body).encode(), deltas=7)
    assert (token_usage.input, token_usage.output) == (12, 7)


def test_a_whole_answer_is_counted_by_its_text() -> None:
    answer = {"choices": [{"message": {"content": "a" * 12, "reasoning_content": "b" * 4}}]}
    assert estimate(b"{}", deltas=0, answer_body=json.dumps(answer).encode()).output == 4


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"messages":5}', b'{"messages":[1,null,{"content":3}]}'])
def test_an_unreadable_body_counts_nothing(body: bytes) -> None:
    assert estimate(body, deltas=0, answer_body=body).total == 0


@given(st.binary(max_size=200), st.integers(0, 1000))
def test_no_bytes_break_it(body: bytes, deltas: int) -> None:
    assert estimate(body, deltas=deltas, answer_body=body).total >= deltas


@pytest.mark.parametrize("texts", ["x" * 40, ["x" * 20, "y" * 20]])
def test_the_texts_of_an_embedding_request_are_its_prompt(texts: object) -> None:
    token_usage = estimate(json.dumps({"model": "m", "input": texts}).encode(), deltas=0)
    assert (token_usage.input, token_usage.output) == (10, 0)
