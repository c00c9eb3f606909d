"""A provider cannot make the redactor fill memory or take for ever."""

import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from keyferry.contracts.secret import Secret
from services.provider_worker.redaction.chunks import ChunkRedactor, JsonRedactor
from services.provider_worker.redaction.escapes import EscapeBudget
from services.provider_worker.redaction.secret_forms import MARK, SEGMENT_CHARACTERS, SecretForms

KEY = "correct-horse.battery~staple+42"
FORMS = SecretForms([Secret(KEY)])
SIZE = 300_000
"""Characters; several segments."""
LIMIT_BYTES = 9 * 1024 * 1024
"""Lists of the places of all characters would take more."""


@contextmanager
def memory_below(limit_bytes: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit_bytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("filler", ["%41", "\\u0041 ", "corr", "\\\\"])
def test_a_long_text_is_redacted_within_bounds(filler: str) -> None:
    text = filler * (SIZE // len(filler))
    at = SEGMENT_CHARACTERS - 10
    document = json.dumps({"a": f"{text[:at]}{KEY}{text[at:]}{KEY}"}).encode()
    with memory_below(LIMIT_BYTES):
        clean = JsonRedactor(FORMS).redact(document)
    assert KEY.encode() not in clean
    assert clean.count(MARK.encode()) == 2
    assert json.loads(clean)["a"].endswith(MARK)


def test_a_long_delta_is_redacted_within_bounds() -> None:
    document = {"choices": [{"index": 0, "delta": {"content": "%41" * (SIZE // 3) + KEY}}]}
    with memory_below(LIMIT_BYTES):
        clean = ChunkRedactor(FORMS, JsonRedactor(FORMS)).redact(json.dumps(document).encode())
    assert clean.count(MARK.encode()) == 1


def test_endless_new_texts_of_a_stream_are_not_kept() -> None:
    redactor = ChunkRedactor(FORMS, JsonRedactor(FORMS))
    with memory_below(2 * 1024 * 1024):
        for number in range(5_000):
            redactor.redact(json.dumps({"choices": [{"index": 0, "delta": {f"text {number}": "corr"}}]}).encode())
    (chunk,) = redactor.flush()
    assert len(json.loads(chunk)["choices"][0]["delta"]) <= 1024, "each further text would be kept until the end"


def test_a_document_that_is_too_deep_to_be_rendered_loses_the_key_too() -> None:
    deep = '{"a":' * 900 + f'"{KEY}"' + "}" * 900
    assert KEY.encode() not in JsonRedactor(FORMS).redact(deep.encode())
    redactor = ChunkRedactor(FORMS, JsonRedactor(FORMS))
    chunk = f'{{"choices":[{{"index":0,"delta":{{"content":"{KEY}","x":{deep}}}}}]}}'
    assert KEY.encode() not in redactor.redact(chunk.encode())


@pytest.mark.parametrize("filler", ["corr\n", "corr\x00", "corr\u200b"])
def test_characters_that_are_not_visible_count_as_escapes(filler: str) -> None:
    budget = EscapeBudget(100)
    assert not budget.take(filler * 101)
    assert budget.take(filler * 100)
    assert not budget.take(filler)
