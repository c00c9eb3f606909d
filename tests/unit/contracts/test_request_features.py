"""What is read of a body for planning: the same for every sender, bounded, and never an error."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts import request_features
from keyferry.contracts.features import RequestFeatures
from keyferry.contracts.request_features import read_chat_features, read_embedding_features, shows_code
from keyferry.contracts.text import BIGINT_MAX

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "messages",
        "tools",
        "functions",
        "response_format",
        "max_tokens",
        "max_completion_tokens",
        "modalities",
        "input",
        "n",
    ]
)


def read(content: Any = "hi", **fields: Any) -> RequestFeatures:
    document = {"messages": [{"role": "user", "content": content}], **fields}
    return read_chat_features(document, len(json.dumps(document)))


def test_tokens_are_a_quarter_of_the_bytes() -> None:
    document = {"messages": [{"role": "user", "content": "x" * 4000}]}
    assert read_chat_features(document, 4040).input_tokens == 1010


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({}, None),
        ({"max_tokens": 50}, 50),
        ({"max_completion_tokens": 70, "max_tokens": 50}, 70),
        ({"max_tokens": 10**30}, BIGINT_MAX),
        ({"max_tokens": 0}, None),
        ({"max_tokens": True}, None),
        ({"max_tokens": "50"}, None),
        ({"max_tokens": 1.5}, None),
    ],
)
def test_limit_of_the_output(fields: dict[str, Any], limit: int | None) -> None:
    assert read(**fields).max_output_tokens == limit


@pytest.mark.parametrize(("n", "choices"), [(None, 1), (1, 1), (8, 8), (0, 1), (-3, 1), ("2", 2), (10**30, BIGINT_MAX)])
def test_number_of_answers(n: Any, choices: int) -> None:
    assert read(n=n).choices == choices
    assert read().choices == 1


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"tools": [{"type": "function"}]}, {"tools"}),
        ({"functions": [{"name": "f"}]}, {"tools"}),
        ({"tools": []}, set()),
        ({"tools": None}, set()),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, {"json_schema"}),
        ({"response_format": {"type": "json_object"}}, set()),
        ({"modalities": ["text", "audio"]}, {"audio"}),
        ({"modalities": ["text"]}, set()),
    ],
)
def test_what_a_request_needs(fields: dict[str, Any], expected: set[str]) -> None:
    found = read(**fields)
    assert {name for name in ("tools", "json_schema", "images", "audio", "code") if getattr(found, name)} == expected


def test_images_have_a_fixed_estimate_whatever_their_bytes() -> None:
    url = "data:image/png;base64," + "A" * 400_000
    text = {"type": "text", "text": "What is this?"}
    found = read([text, {"type": "image_url", "image_url": {"url": url}}])
    assert found.images
    assert request_features.IMAGE_TOKENS <= found.input_tokens < request_features.IMAGE_TOKENS + 100
    low = read([text, {"type": "image_url", "image_url": {"url": url, "detail": "low"}}])
    assert low.input_tokens < 200


def test_images_are_counted_wherever_they_are() -> None:
    by_reference = {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}}
    found = read([by_reference, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}])
    assert (found.image_count, found.image_tokens) == (2, 1685)
    assert found.image_tokens <= found.input_tokens


def test_audio_and_files_count_by_their_length() -> None:
    audio = read([{"type": "input_audio", "input_audio": {"data": "A" * 64_000, "format": "mp3"}}])
    assert audio.audio
    assert 100 <= audio.input_tokens < 150
    file = read([{"type": "file", "file": {"file_data": "A" * 80_000, "filename": "a.pdf"}}])
    assert not file.images
    assert 2000 <= file.input_tokens < 2100


@pytest.mark.parametrize(
    "text",
    [
        "Look:\n```\nx\n```",
        "def parse(text):\n    return 1",
        "why does this fail?\n    class Parser(Base):\n",
        "#include <stdio.h>",
        "const add = (a, b) => { return a + b }",
        "function add(a, b) { return a + b }",
        "SELECT name, age FROM users WHERE age > 3",
        "Traceback (most recent call last):",
        "fn main() {",
        "Please write a Python function that sorts a list of dictionaries",
        "Refactor this code so that it is shorter",
        "Debug the following script",
    ],
)
def test_code_is_recognised(text: str) -> None:
    assert shows_code(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "Translate this letter (it is short) into French.",
        "What is the dress code for a wedding?",
        "The heart's function is to pump blood.",
        "Select a hotel from the list for me.",
        "His self. Our class meets on Monday.",
        "Explain the function of the heart.",
        "I have to import furniture from Italy.",
    ],
)
def test_prose_is_no_code(text: str) -> None:
    assert not shows_code(text)


def test_code_is_searched_in_the_latest_messages_only() -> None:
    code = {"role": "user", "content": "```x```"}
    talk = {"role": "user", "content": "hello"}
    system = {"role": "system", "content": "```x```"}
    assert read_chat_features({"messages": [code, talk]}, 100).code
    assert not read_chat_features({"messages": [system, talk]}, 100).code
    assert not read_chat_features({"messages": [code, *[talk] * request_features.MAX_SCANNED_MESSAGES]}, 100).code
    long = {"role": "user", "content": "x" * request_features.MAX_SCANNED_CHARACTERS + "```"}
    assert not read_chat_features({"messages": [code, long]}, 100).code


@pytest.mark.parametrize(
    ("given_input", "tokens"),
    [(["a", "b"], 25), ("text", 25), ([1, 2, 3], 3), ([[1, 2], [3]], 3), ([], 25), (None, 25)],
)
def test_tokens_of_embeddings(given_input: Any, tokens: int) -> None:
    assert read_embedding_features({"input": given_input}, 100).input_tokens == tokens


@given(st.dictionaries(FIELDS, JSON, max_size=8) | JSON, st.integers(0, 2**40))
def test_any_document_has_features(document: Any, body_bytes: int) -> None:
    read_chat_features(document, body_bytes)
    read_embedding_features(document, body_bytes)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["role", "content", "type", "text", "image_url"]), JSON, max_size=5) | JSON,
        max_size=4,
    )
)
def test_any_messages_have_features(messages: Any) -> None:
    read_chat_features({"messages": messages}, 100)
    read_chat_features({"messages": [{"role": "user", "content": messages}]}, 100)


@pytest.mark.parametrize(
    ("limits", "longest"),
    [
        ({"max_completion_tokens": 1, "max_tokens": 50_000}, 50_000),
        ({"max_completion_tokens": 50_000, "max_tokens": 1}, 50_000),
        ({"max_completion_tokens": 50_000.0, "max_tokens": 1}, None),
        ({"max_completion_tokens": "50000", "max_tokens": 1}, None),
        ({"max_completion_tokens": -1, "max_tokens": 1}, None),
        ({"max_completion_tokens": None, "max_tokens": 7}, 7),
    ],
)
def test_two_limits_are_read_as_the_larger_one(limits: dict[str, Any], longest: int | None) -> None:
    assert read_chat_features({"messages": [], **limits}, 20).max_output_tokens == longest


@pytest.mark.parametrize(
    ("n", "choices"), [(8, 8), (8.0, 8), ("8", 8), (float("inf"), 1), ("x" * 10**6, 1), (True, 1), ([8], 1), (-3, 1)]
)
def test_the_number_of_answers_is_read_however_it_is_written(n: Any, choices: int) -> None:
    assert read_chat_features({"messages": [], "n": n}, 20).choices == choices


def test_faster_processing_is_seen() -> None:
    assert read_chat_features({"messages": [], "service_tier": "priority"}, 20).priority
    assert not read_chat_features({"messages": [], "service_tier": ["priority"]}, 20).priority


def test_texts_among_token_ids_count_by_their_length() -> None:
    assert read_embedding_features({"input": [[1], "x" * 4000]}, 4020).input_tokens == 1005
