"""The request headers that Keyferry defines: their values, and errors that name the wrong header."""

import pytest

from keyferry.runtime.http.problem import HttpProblem
from services.ingress import request_headers


@pytest.mark.parametrize(
    ("text", "preference"),
    [(None, None), ("true", "first"), ("True", "first"), ("false", "last"), (" only ", "only"), ("ONLY", "only")],
)
def test_key_preference_is_parsed(text: str | None, preference: str | None) -> None:
    assert request_headers.parse_key_preference(text) == preference


@pytest.mark.parametrize("text", ["", "yes", "1", "first", "true,false"])
def test_unknown_key_preference_is_rejected_with_the_valid_values(text: str) -> None:
    with pytest.raises(HttpProblem, match="true, false or only") as raised:
        request_headers.parse_key_preference(text)
    assert (raised.value.status, raised.value.param) == (400, "X-Prefer-BYOK")


def test_tags_are_pairs() -> None:
    assert request_headers.parse_tags("lead_id=42, team=blue") == {"lead_id": "42", "team": "blue"}
    assert request_headers.parse_tags(None) == {}


@pytest.mark.parametrize("text", ["nothing", "a=b=c", "=b", ",".join(f"t{n}=1" for n in range(17))])
def test_malformed_tags_are_rejected(text: str) -> None:
    with pytest.raises(HttpProblem, match="name=value") as raised:
        request_headers.parse_tags(text)
    assert raised.value.param == "x-keyferry-tags"


def test_malformed_operation_is_rejected() -> None:
    assert request_headers.parse_operation("email_generation") == "email_generation"
    assert request_headers.parse_operation(None) is None
    with pytest.raises(HttpProblem) as raised:
        request_headers.parse_operation("a b")
    assert raised.value.param == "X-Operation"


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\x7f", "\x85", "\u2028", "\u202e", "\ufffe"])
def test_tags_with_unsafe_characters_are_rejected(character: str) -> None:
    as_received = f"a=x{character}y".encode().decode("latin-1")
    with pytest.raises(HttpProblem, match="without control characters") as raised:
        request_headers.parse_tags(as_received)
    assert raised.value.param == "x-keyferry-tags"


def test_tags_are_utf_8_or_latin_1() -> None:
    assert request_headers.parse_tags("place=Köln ☃".encode().decode("latin-1")) == {"place": "Köln ☃"}
    assert request_headers.parse_tags("place=Köln") == {"place": "Köln"}


@pytest.mark.parametrize(
    ("text", "level"), [(None, None), ("eco", "eco"), ("Balanced", "balanced"), (" PRECISION ", "precision")]
)
def test_power_level_is_parsed(text: str | None, level: str | None) -> None:
    assert request_headers.parse_power_level(text) == level


@pytest.mark.parametrize("text", ["", "auto", "best", "eco,balanced", "x" * 10_000, "eco\x00"])
def test_unknown_power_level_is_rejected_with_the_levels(text: str) -> None:
    with pytest.raises(HttpProblem, match="eco, balanced, precision") as raised:
        request_headers.parse_power_level(text)
    assert (raised.value.status, raised.value.param) == (400, "X-Power-Level")


def test_conversation_is_an_identifier() -> None:
    assert request_headers.parse_conversation(None) is None
    assert request_headers.parse_conversation("thread-42") == "thread-42"


@pytest.mark.parametrize("text", ["", "a b", "a\x00", "\u202e", "x" * 65, "sk-ant-api03-" + "x4Y7" * 20])
def test_other_conversations_are_rejected(text: str) -> None:
    with pytest.raises(HttpProblem) as raised:
        request_headers.parse_conversation(text)
    assert (raised.value.status, raised.value.param) == (400, "X-Conversation-Id")
