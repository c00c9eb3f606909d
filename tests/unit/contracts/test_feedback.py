"""Ratings: stars or a word, and a comment that is one safe line without keys."""

from typing import Any

import pytest
from pydantic import ValidationError

from keyferry.contracts.feedback import LOWEST, MAX_COMMENT_CHARACTERS, SaveFeedback


def save(**fields: Any) -> SaveFeedback:
    return SaveFeedback.model_validate({"tenant": "acme", "request_id": "req_1", "rating": 5} | fields)


@pytest.mark.parametrize(("given", "stars"), [(1, 1), (5, 5), ("up", 5), ("down", LOWEST)])
def test_rating_is_stars_or_a_word(given: Any, stars: int) -> None:
    assert save(rating=given).rating == stars


@pytest.mark.parametrize("given", [0, 6, -1, 2**80, 4.5, True, None, "5", "Up", "", "\x00", "x" * 10**6, [5]])
def test_other_ratings_are_refused(given: Any) -> None:
    with pytest.raises(ValidationError):
        save(rating=given)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("good", "good"),
        ("  two\r\nlines\t", "two lines"),
        ("a\x00b\u202ec\ud800", "a\ufffdb\ufffdc\ufffd"),
        ("x" * MAX_COMMENT_CHARACTERS, "x" * MAX_COMMENT_CHARACTERS),
    ],
)
def test_comment_becomes_one_safe_line(given: str, kept: str) -> None:
    assert save(comment=given).comment == kept


@pytest.mark.parametrize(
    "given", ["", " ", "\u200b", "x" * (MAX_COMMENT_CHARACTERS + 1), "x" * 10**6, 5, "sk-ant-api03-" + "x4Y7" * 20]
)
def test_other_comments_are_refused(given: Any) -> None:
    with pytest.raises(ValidationError) as raised:
        save(comment=given)
    assert "x4Y7" not in str(raised.value.errors(include_input=False))


@pytest.mark.parametrize("given", ["", "a b", "a\x00", "x" * 65, "\ud800", "sk-ant-api03-" + "x4Y7" * 12])
def test_other_raters_and_operations_are_refused(given: str) -> None:
    for name in ("rater", "operation"):
        with pytest.raises(ValidationError):
            save(**{name: given})
