"""A document with too many parts is not parsed; the content of its strings does not count."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.provider_worker.adapters.response import json_text as documents
from services.provider_worker.adapters.response.json_text import MAX_PARTS, parse_object


@pytest.mark.parametrize(
    "body",
    [
        b'{"choices":[' + b"{}," * MAX_PARTS + b"{}]}",
        b'{"choices":' + b"[" * (MAX_PARTS + 1) + b"]" * (MAX_PARTS + 1) + b"}",
        b"{" + b",".join(b'"%d":0' % number for number in range(MAX_PARTS + 1)) + b"}",
        b'{"choices":[' + b'"",' * (4 * MAX_PARTS) + b"0]}",
        b'{"choices":[' + b"0.1," * (4 * MAX_PARTS) + b"0]}",
    ],
)
def test_a_document_with_too_many_parts_is_not_parsed(body: bytes) -> None:
    assert parse_object(body) is None


def test_large_regular_documents_are_read() -> None:
    code = json.dumps({"choices": [{"message": {"content": '{"a": [1, 2], "b": {}}\\"' * 200_000}}]}).encode()
    assert code.count(b"{") + code.count(b"[") + code.count(b":") > MAX_PARTS
    assert parse_object(code) == json.loads(code)
    vectors = json.dumps({"data": [{"embedding": [0.0123456789] * 1536} for _ in range(512)]}).encode()
    assert parse_object(vectors) == json.loads(vectors)
    tops = [{"token": "a", "logprob": -0.1, "bytes": [97]}] * 20
    likelihoods = json.dumps({"content": [{"token": "a", "top_logprobs": tops}] * 4000}).encode()
    assert parse_object(likelihoods) == json.loads(likelihoods)


_STRINGS = st.text(st.sampled_from('{[:,"\\ax'))
_DOCUMENTS = st.recursive(
    _STRINGS | st.integers(0, 9),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(_STRINGS, inner, max_size=6),
)


def parts_of(value: object) -> int:
    """Objects, lists and members, counted in the document itself."""
    if isinstance(value, dict):
        return 1 + sum(1 + parts_of(item) for item in value.values())
    return 1 + sum(map(parts_of, value)) if isinstance(value, list) else 0


@given(_DOCUMENTS, st.integers(1, 12), st.integers(0, 40))
def test_content_of_strings_does_not_count_wherever_the_text_is_cut(value: object, step: int, limit: int) -> None:
    text = json.dumps(value).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "_STEP_BYTES", step)
        patch.setattr(documents, "MAX_PARTS", limit)
        patch.setattr(documents, "_MAX_STRINGS", 10**9)
        # Every fourth comma counts, too, in each step for itself: never more than all of them.
        too_many = documents._has_too_many_outside_strings(text)
    assert too_many or parts_of(value) <= limit
    assert not too_many or parts_of(value) + text.count(b",") // 4 > limit
