"""The short way of a chunk, past its parsing, gives what the long way gives; what is held back comes in its own chunk."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.secret import Secret
from services.provider_worker.redaction.chunks import ChunkRedactor, JsonRedactor
from services.provider_worker.redaction.secret_forms import MARK, SecretForms
from tests.support.canary.joined_texts import joined_texts

KEY = "correct-horse.battery~staple+42"
FORMS = SecretForms([Secret(KEY)])


class LongWay(ChunkRedactor):
    """Parses every chunk."""

    def redact(self, text: bytes) -> bytes:
        return self._redact_any(text)


def chunk(delta: dict[str, object], index: int = 0, *, spaced: bool = False, **more: object) -> bytes:
    choice = {
        "index": index,
        "delta": delta,
        **({"logprobs": more.pop("logprobs")} if "logprobs" in more else {}),
        "finish_reason": None,
    }
    document = {"id": "c", "model": "m", "choices": [choice], **more}
    return json.dumps(document, separators=None if spaced else (",", ":")).encode()


pieces = st.sampled_from(
    [
        " word",
        "\n",
        'say "it"',
        "50%",
        "a\\b",
        "é",
        "",
        "corr",
        KEY[:8],
        KEY[8:20],
        KEY[20:],
        KEY,
        f"{KEY}{KEY}",
        "\u2028",
    ]
)
deltas = st.one_of(
    st.builds(lambda text: {"content": text}, pieces),
    st.builds(lambda text: {"reasoning_content": text}, pieces),
    st.builds(lambda text: {"content": None, "reasoning_content": text}, pieces),
    st.builds(lambda text: {"role": "assistant", "content": text}, pieces),
    st.builds(lambda text: {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}, pieces),
)
chunks = st.builds(
    chunk,
    deltas,
    st.integers(0, 1),
    logprobs=st.sampled_from([None, {"content": [{"token": KEY}]}]),
    obfuscation=st.sampled_from(["", "a1", "b2c3d4", KEY, "x" * 40]),
)


@given(st.lists(chunks, max_size=12))
def test_the_short_way_gives_what_the_long_way_gives(stream: list[bytes]) -> None:
    results = []
    for way in (ChunkRedactor, LongWay):
        json_redactor = JsonRedactor(FORMS)
        redactor = way(FORMS, json_redactor)
        out = [redactor.redact(text) for text in stream]
        results.append(([json.loads(text) for text in [*out, *redactor.flush()]], json_redactor.found))
        assert not any(KEY in text for text in joined_texts([*out, *redactor.flush()]))
    assert results[0] == results[1]


def test_what_is_held_back_at_the_end_comes_in_a_chunk_of_its_own() -> None:
    redactor = ChunkRedactor(FORMS, JsonRedactor(FORMS))
    call: dict[str, object] = {"tool_calls": [{"index": 3, "function": {"arguments": "{corr"}}]}
    out = [
        redactor.redact(text) for text in (chunk({"content": "it is corr"}), chunk(call, 1), chunk({"refusal": "no"}))
    ]
    assert [json.loads(text)["choices"][0]["delta"] for text in out] == [
        {"content": "it is "},
        {"tool_calls": [{"index": 3, "function": {"arguments": "{"}}]},
        {"refusal": "no"},
    ]
    assert [json.loads(text) for text in redactor.flush()] == [
        {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": "corr"}, "finish_reason": None}]},
        {
            "id": "c",
            "model": "m",
            "choices": [
                {
                    "index": 1,
                    "delta": {"tool_calls": [{"function": {"arguments": "corr"}, "index": 3}]},
                    "finish_reason": None,
                }
            ],
        },
    ]


def test_log_probabilities_do_not_repeat_a_text_that_was_changed() -> None:
    redactor = ChunkRedactor(FORMS, JsonRedactor(FORMS))
    tokens = {"content": [{"token": "correct", "bytes": list(b"correct")}]}
    assert b"logprobs" in redactor.redact(chunk({"content": "well"}, logprobs=tokens))
    assert b"logprobs" not in redactor.redact(chunk({"content": "correct"}, logprobs=tokens))
    assert redactor.redact(chunk({"content": "-horse.battery~staple+42"}, logprobs=tokens)).count(MARK.encode()) == 1


def test_a_key_that_json_writes_with_escapes_is_found() -> None:
    """Its quotation marks are so close that no part of it stands in the text as it is."""
    key = 'a"b"c"d"e"f"g"h"1"2"3'
    text = json.dumps({"choices": [{"message": {"content": f"it is {key}."}}]}).encode()
    clean = JsonRedactor(SecretForms([Secret(key)])).redact(text)
    assert json.loads(clean)["choices"][0]["message"]["content"] == f"it is {MARK}."


def test_a_document_loses_a_key_in_names_lists_and_depths() -> None:
    redactor = JsonRedactor(FORMS)
    document = {KEY: [KEY, {"a": {"b": [[KEY]]}}, 1], "choices": [{"logprobs": {"x": 1}, "message": {"content": KEY}}]}
    clean = json.loads(redactor.redact(json.dumps(document).encode()))
    assert clean == {MARK: [MARK, {"a": {"b": [[MARK]]}}, 1], "choices": [{"message": {"content": MARK}}]}
    assert redactor.found


@pytest.mark.parametrize("written", [KEY, "".join(f"\\u{ord(character):04x}" for character in KEY)])
@pytest.mark.parametrize(
    "text",
    [
        '{"id": "KEY", "id": "c", "choices": []}',
        '{"choices": [{"index": 0, "delta": {"content": "KEY", "content": "x"}}]}',
        '{"choices": [], "usage": {"KEY": ["a:b", {"c\\":": 1}]}, "usage": null}',
    ],
)
def test_a_member_whose_name_comes_again_does_not_carry_a_key_past_the_document(text: str, written: str) -> None:
    sent = text.replace("KEY", written).encode()
    for redact, json_redactor in (
        ((whole := JsonRedactor(FORMS)).redact, whole),
        (ChunkRedactor(FORMS, chunked := JsonRedactor(FORMS)).redact, chunked),
    ):
        clean = redact(sent)
        assert json.loads(clean) == json.loads(sent)
        assert written.encode() not in clean
        assert json_redactor.found


def test_a_repeated_name_and_escapes_without_a_key_stay_as_they_are() -> None:
    redactor = JsonRedactor(FORMS)
    for text in (b'{"a": "50%20", "a": "\\u0041:"}', b'{"a": "\\\\", "b": {"c": "%41:"}}'):
        assert redactor.redact(text) is text
    assert not redactor.found
