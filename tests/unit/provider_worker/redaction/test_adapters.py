"""No adapter lets through a key that its provider repeats, in whatever field and form; without the redactor they do."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyferry.contracts.secret import Secret
from keyferry.contracts.usage import RequestKind
from services.provider_worker.adapters.adapter import AnswerReader
from services.provider_worker.adapters.registry import adapter_for
from services.provider_worker.redaction.reader import ResponseRedactor
from services.provider_worker.redaction.secret_forms import MARK, SecretForms
from tests.support.canary.joined_texts import joined_texts
from tests.support.canary.provider_documents import (
    RESPONSES,
    Document,
    Path,
    Response,
    data_events,
    text_paths,
    with_text,
)
from tests.support.canary.searcher import Canary, Searcher
from tests.support.canary.written_forms import WRITTEN_FORMS
from tests.support.providers.attempt_runs import attempt_run

KEY = "correct-horse-battery_staple-42-Zq7w-it"
"""No pattern knows it."""
_CHAT = b'{"messages":[{"role":"user","content":"Hi"}]}'
SEARCHER = Searcher([Canary("key", KEY)])
FORMS = SecretForms([Secret(KEY)])
SOME_FORMS = ("as it is", "percent-encoded in full", "JSON escapes", "base64 of user and key", "upper-case hex")


def name_of(value: object) -> str | None:
    return f"{value.provider} {value.name}" if isinstance(value, Response) else None


def reader_of(response: Response, *, guarded: bool = True) -> tuple[AnswerReader, ResponseRedactor]:
    run = attempt_run(
        stream=response.stream,
        include_usage=True,
        provider=response.provider,
        kind=response.kind,
        model=response.model,
        key_fields={"region": "eu-central-1", "project": "p", "location": "europe-west4"},
    )
    adapter = adapter_for(response.provider)
    request = adapter.request(run, b'{"input":"Hi"}' if response.kind is RequestKind.EMBEDDING else _CHAT)
    reader = adapter.reader(run, request, response.status, {"content-type": response.content_type})
    redactor = ResponseRedactor(FORMS)
    return (redactor.guard(reader, response.status) if guarded else reader), redactor


def output_of(reader: AnswerReader, pieces: Sequence[bytes]) -> str:
    """All that leaves the worker: chunks, their texts joined, the answer and what is recorded of it."""
    chunks: list[bytes] = []
    for piece in pieces:
        chunks += reader.feed(piece)
        if reader.over:
            break
    answer = reader.close()
    chunks += answer.late
    return "\n".join([*(chunk.decode() for chunk in chunks), *joined_texts(chunks), repr(answer), answer.body.decode()])


def leaks(text: str) -> bool:
    return bool(SEARCHER.found(text.encode()))


@pytest.mark.parametrize("response", RESPONSES, ids=name_of)
def test_no_field_lets_a_repeated_key_through(response: Response) -> None:
    leaked = {False: 0, True: 0}
    for path in text_paths(list(response.documents)):
        for form in SOME_FORMS if path else ():
            body = response.encode(with_text(response.documents, path, WRITTEN_FORMS[form](KEY)))
            for guarded in (True, False):
                found = leaks(output_of(reader_of(response, guarded=guarded)[0], [body]))
                leaked[guarded] += found
                assert not (guarded and found), f"{form} at {path}"
    assert leaked[True] == 0
    assert leaked[False] > 0 or response.name == "embeddings", "the response shows nothing without the redactor either"


@pytest.mark.parametrize("form", WRITTEN_FORMS)
@pytest.mark.parametrize(
    "response",
    [one for one in RESPONSES if one.name in ("chat", "stream", "error") and one.provider != "vertex"],
    ids=name_of,
)
def test_no_form_gets_through(response: Response, form: str) -> None:
    for path in _text_leaves(response):
        body = response.encode(with_text(response.documents, path, f"see {WRITTEN_FORMS[form](KEY)}, or not"))
        reader, redactor = reader_of(response)
        output = output_of(reader, [body])
        assert not leaks(output)
        assert redactor.found
        assert MARK in output or "see" not in output, "what surrounds the key is lost"


def _text_leaves(response: Response) -> list[Path]:
    """Return the paths of the texts that people read."""
    return [
        path
        for path in text_paths(list(response.documents))
        if path and path[-1] in ("text", "content", "message", "thinking") and _text_at(response.documents, path)
    ]


def _text_at(documents: Sequence[Document], path: Path) -> bool:
    value: Any = documents
    for step in path:
        value = value[step]
    return isinstance(value, str) and value != ""


STREAMS = [one for one in RESPONSES if one.name == "stream"]


@pytest.mark.parametrize("response", STREAMS, ids=name_of)
@given(data=st.data())
@settings(max_examples=30)
def test_a_key_that_is_split_over_events_does_not_get_through(response: Response, data: st.DataObject) -> None:
    leaf = data.draw(st.sampled_from(_split_leaves(response)))
    written = WRITTEN_FORMS[data.draw(st.sampled_from(list(WRITTEN_FORMS)))](KEY)
    cuts = sorted(data.draw(st.lists(st.integers(1, len(written) - 1), min_size=1, max_size=8, unique=True)))
    pieces = [written[start:end] for start, end in zip([0, *cuts], [*cuts, len(written)], strict=True)]
    at = leaf[0]
    assert isinstance(at, int)
    events = list(response.documents)
    events[at : at + 1] = [with_text([events[at]], (0, *leaf[1:]), piece)[0] for piece in pieces]
    output = output_of(reader_of(response)[0], [response.encode(events)])
    assert not leaks(output)
    body = response.encode(events)
    assert not leaks(output_of(reader_of(response)[0], [body[at : at + 1] for at in range(len(body))]))


def _split_leaves(response: Response) -> list[Path]:
    names: tuple[str, ...] = ("text", "content", "thinking", "reasoning", "refusal", "partial_json", "tool_plan")
    if response.provider in ("gemini", "vertex"):
        names = ("text",)
    return [
        path
        for path in text_paths(list(response.documents))
        if path and path[-1] in names and _text_at(response.documents, path)
    ]


@pytest.mark.parametrize("place", ["comment", "event name", "event id", "plain text"])
def test_the_rest_of_an_event_stream_lets_nothing_through(place: str) -> None:
    response = next(one for one in RESPONSES if one.name == "stream" and one.encode is data_events)
    extra: dict[str, str] = {
        "comment": f": {KEY}\n\n",
        "event name": f"event: {KEY}\n",
        "event id": f"id: {KEY}\nretry: {KEY}\n",
        "plain text": f"data: {KEY}\n\n",
    }
    for before in (True, False):
        body = response.encode(response.documents)
        body = extra[place].encode() + body if before else body.replace(b"data:", extra[place].encode() + b"data:", 3)
        assert not leaks(output_of(reader_of(response)[0], [body]))


@pytest.mark.parametrize(
    "form", [*WRITTEN_FORMS.values(), str.upper, str.lower], ids=[*WRITTEN_FORMS, "upper", "lower"]
)
def test_headers_lose_the_key(form: Callable[[str], str]) -> None:
    redactor = ResponseRedactor(FORMS)
    written = form(KEY)
    headers = {
        "x-request-id": written,
        "location": f"https://a.example/?key={written}&x=1",
        "retry-after": "3",
        written: "x",
    }
    clean = redactor.redact_headers(headers)
    assert not leaks(repr(clean))
    assert KEY.lower() not in repr(clean).lower()
    assert clean["retry-after"] == "3"
    assert redactor.found


@pytest.mark.parametrize("response", RESPONSES, ids=name_of)
def test_a_response_without_the_key_stays_byte_for_byte(response: Response) -> None:
    body = response.encode(response.documents)
    (guarded, redactor), (bare, _) = reader_of(response), reader_of(response, guarded=False)
    assert (guarded.feed(body), guarded.close()) == (bare.feed(body), bare.close())
    assert not redactor.found


def test_the_part_of_a_key_before_which_an_error_is_cut_off_is_not_shown() -> None:
    response = next(one for one in RESPONSES if one.name == "error")
    for length in (560, 570, 575, 580, 590, 8180):
        body = response.encode([{"error": {"message": f"{'x ' * (length // 2)}{KEY}"}}])
        reader, _ = reader_of(response)
        output = output_of(reader, [body[:100], body[100:]])
        assert not any(KEY[at : at + 8] in output for at in range(len(KEY) - 7))


@pytest.mark.parametrize(
    "model",
    [
        "x" * 170 + KEY,
        "x" * 185 + KEY,
        KEY[:20] + "\u200b" + KEY[20:],
        KEY[:20] + "\x00" + KEY[20:],
        f"\u202e{KEY}",
        "\ufffd".join(KEY),
    ],
)
@pytest.mark.parametrize(
    "response", [one for one in RESPONSES if one.provider == "custom" and one.name in ("chat", "stream")], ids=name_of
)
def test_a_name_is_recorded_without_the_key_however_it_is_cut_or_cleaned(response: Response, model: str) -> None:
    documents = [with_text([one], (0, "model"), model)[0] if "model" in one else one for one in response.documents]
    reader, redactor = reader_of(response)
    reader.feed(response.encode(documents))
    served = reader.close().model_served
    assert served is not None
    assert redactor.found
    plain = "".join(character for character in served if character.isascii() and character.isprintable())
    assert not any(KEY[at : at + 16] in plain for at in range(len(KEY) - 15))
