"""JSON as providers send it."""

import json

import pytest

from services.provider_worker.adapters.response.json_text import RepairedObject, parse_object, render, to_one_line


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"a":NaN}', None),
        (b'{"a":-Infinity}', None),
        (b'{"a":1e400}', None),
        (b'{"a":18446744073709551615}', 18446744073709551615),
        (b'{"a":"\\ud83d"}', "\ud83d"),
        (b'{"a":5.829126566113866e-6}', 5.829126566113866e-6),
    ],
)
def test_parsed_documents_render_as_strict_json(text: bytes, value: object) -> None:
    document = parse_object(text)
    assert document == {"a": value}
    assert json.loads(render(document), parse_constant=pytest.fail) == document


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        (b'{"a":NaN}', True),
        (b'{"a":[-Infinity]}', True),
        (b'{"a":"\xed\xa0\xbd"}', True),
        (b'\xef\xbb\xbf{"a":1}', True),
        (b'{"a":"\\ud83d"}', False),
        (b'{"a":1e400}', False),
        (b'{"a":1}', False),
    ],
)
def test_documents_invalid_for_strict_parsers_are_marked_as_repaired(text: bytes, repaired: bool) -> None:
    document = parse_object(text)
    assert document is not None
    assert isinstance(document, RepairedObject) is repaired
    if not repaired:
        assert json.loads(text) is not None


def test_infinity_beside_a_large_integer_is_repaired() -> None:
    document = parse_object(b'{"a":1e400,"b":123456789012345678901234567890}')
    assert document is not None
    assert json.loads(render(document), parse_constant=pytest.fail) == {"a": None, "b": 123456789012345678901234567890}


@pytest.mark.parametrize("text", [b"", b"[]", b"7", b"null", b"{", b"\xff", b"[" * 100_000])
def test_anything_but_an_object_is_null(text: bytes) -> None:
    assert parse_object(text) is None


def test_line_breaks_between_tokens_become_spaces() -> None:
    assert to_one_line(b'{\r\n "a":\n1}') == b'{   "a": 1}'
    assert to_one_line(b'{"a":1}') == b'{"a":1}'
