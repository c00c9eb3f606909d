"""Names are refused and reported text is cleaned, in every field of every message."""

import re
from datetime import datetime
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, BeforeValidator, TypeAdapter, ValidationError

from keyferry.contracts.content import MAX_CHARACTERS, CallContent
from keyferry.contracts.tenancy import Label
from keyferry.contracts.text import (
    MAX_HEADER_CHARACTERS,
    Cleaned,
    Explanation,
    Line,
    Moment,
    Refusing,
    Reported,
    clean,
    header_value,
    is_safe,
    printable,
)
from keyferry.contracts.topology import contracts
from tests.support.repository.text_marks import models_in, unmarked

UNSAFE = [
    *(chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))),
    *("\u2028", "\u2029", "\u061c", "\u200e", "\u200f", "\u202a", "\u202e", "\u2066", "\u2069", "\ufeff"),
    *("\ud800", "\udbff", "\udc00", "\udfff"),
    *("\ufdd0", "\ufdef", "\ufffe", "\uffff", "\U0001fffe", "\U0010ffff"),
]
SAFE = ["a", "hé llo", "模型", "👩‍👩‍👧", "نمونه\u200cمدل", "\N{NO-BREAK SPACE}", "\U00010000", "\ufffd"]
ANY_TEXT = st.text(st.characters(categories=None), max_size=300)


class Sample(BaseModel):
    name: Line = "x"
    label: Label = "x"
    reported: Reported = ""
    explanation: Explanation = ""


@pytest.mark.parametrize("character", UNSAFE, ids=lambda character: f"U+{ord(character):04X}")
def test_an_unsafe_character_is_refused_in_a_name_and_replaced_in_a_report(character: str) -> None:
    text = f"a{character}b"
    assert not is_safe(text)
    with pytest.raises(ValidationError, match="Input should be a text of 1 to 300 characters"):
        Sample(name=text)
    for kept in (Sample(reported=text).reported, clean(text, 10)):
        assert is_safe(kept)
        assert kept in ("a\ufffdb", "a b")
    header_value(text).encode("ascii")
    assert printable(text) == (text if character in "\t\n" else "a\ufffdb")


@pytest.mark.parametrize("text", SAFE)
def test_other_characters_are_kept(text: str) -> None:
    assert is_safe(text)
    sample = Sample(name=text, reported=text)
    assert (sample.name, sample.reported, printable(text)) == (text, text, text)


BLANK = [
    " ",
    "\u200b",
    "\u200c\u200d",
    "\u2060",
    "\u00ad",
    "\u3000 \u2003",
    "\u3164",
    "\u115f\u1160",
    "\uffa0",
    "\u2800",
]
BLANK += ["\u034f", "\u180e", "\ufe0f", "\U000e0041", "\U000e0100", "\u17b4", "\u202f", "\u1680", "\u00a0"]


@pytest.mark.parametrize("text", BLANK, ids=lambda text: "-".join(f"U+{ord(each):04X}" for each in text))
def test_a_name_that_looks_blank_is_refused(text: str) -> None:
    for name in (text, text * 3, f" {text} "):
        with pytest.raises(ValidationError, match="and not blank"):
            Sample(label=name)
    assert Sample(label=f"{text}a").label == f"{text}a"
    assert Sample(reported=text).reported == text


@given(ANY_TEXT, st.integers(min_value=1, max_value=50))
def test_cleaned_text_is_safe_short_and_stays_as_it_is(text: str, limit: int) -> None:
    cleaned = clean(text, limit)
    assert is_safe(cleaned)
    assert len(cleaned) <= limit
    assert clean(cleaned, limit) == cleaned
    sample = Sample(reported=text)
    assert sample.reported == clean(text, 200)
    assert Sample.model_validate_json(sample.model_dump_json()) == sample


@given(ANY_TEXT)
def test_a_header_value_is_printable_ascii(text: str) -> None:
    value = header_value(text)
    assert re.fullmatch(r"[\x20-\x7e]*", value)
    assert value == value.strip()
    assert len(value) <= MAX_HEADER_CHARACTERS


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("gpt-4o", "gpt-4o"),
        (" a b ", "a b"),
        ("", ""),
        ("é\r\nx", "%C3%A9%0D%0Ax"),
        ("x" * 1025, "x" * 1024),
        ("é" * 1024, "%C3%A9" * 170 + "%C3%"),
    ],
)
def test_a_header_value_is_trimmed_encoded_and_cut(text: str, value: str) -> None:
    assert header_value(text) == value


def test_a_megabyte_is_refused_or_cut() -> None:
    text = "x" * 1_000_000
    with pytest.raises(ValidationError):
        Sample(name=text)
    assert len(Sample(reported=text).reported) == 200
    assert len(Sample(explanation=text).explanation) == 4000


@pytest.mark.parametrize("value", [3, None, b"\xff", ["x"], {"x": "x"}])
def test_what_is_no_text_is_refused_in_one_error(value: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        Sample(name="x", reported=value)
    assert [fault["loc"] for fault in refused.value.errors()] == [("reported",)]


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1969-12-31T23:59:59Z"])
def test_a_moment_that_some_time_zone_cannot_show_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="Input should be"):
        TypeAdapter(Moment).validate_python(text)


def test_validators_beside_a_mark_are_kept() -> None:
    def strip(value: object) -> object:
        return value.strip() if isinstance(value, str) else value

    class Stripping(BaseModel):
        name: Annotated[str, BeforeValidator(strip), Refusing(3)]
        report: Annotated[str, BeforeValidator(strip), Cleaned(3)]

    sample = Stripping(name="  a\n", report=" abcdef ")
    assert (sample.name, sample.report) == ("a", "ab…")
    assert sample.model_dump_json() == '{"name":"a","report":"ab…"}'
    with pytest.raises(ValidationError, match="Input should be a text of 1 to 3 characters"):
        Stripping(name="a\x00", report="")


# --- every message

JSON_BODIES = {("Data", "payload"), ("End", "payload")}
"""Bytes of the caller's own dialect, which pass through."""
CONTENT = {
    *(("AttemptContent", name) for name in ("request", "answer")),
    *(("ReportMail", name) for name in ("text", "html", "csv")),
}
"""Texts of people, which keep their line breaks; cleaned and cut by a validator of their own."""


def models() -> list[type[BaseModel]]:
    """Every message and every model inside one."""
    found: dict[str, type[BaseModel]] = {}
    waiting: list[type[BaseModel]] = list(contracts())
    while waiting:
        model = waiting.pop()
        if model.__name__ not in found:
            found[model.__name__] = model
            waiting += [inner for field in model.model_fields.values() for inner in models_in(field.annotation)]
    return [found[name] for name in sorted(found)]


@pytest.mark.parametrize("model", models(), ids=lambda model: model.__name__)
def test_every_text_of_a_message_is_refused_or_cleaned_and_every_number_has_a_bound(model: type[BaseModel]) -> None:
    found = {
        name: parts
        for name, field in model.model_fields.items()
        if (model.__name__, name) not in JSON_BODIES | CONTENT
        and (parts := list(unmarked(field.annotation, tuple(field.metadata))))
    }
    assert not found, "give the field a type of keyferry.contracts.text or keyferry.contracts.ids"


def test_stored_content_keeps_line_breaks_and_nothing_that_no_table_can_hold() -> None:
    content = CallContent(request="a\n\tb\x00\ud800\u202e", answer="x" * (MAX_CHARACTERS + 1))
    assert content.request == "a\n\tb\ufffd\ufffd\ufffd"
    assert content.answer == "x" * MAX_CHARACTERS


def test_the_walk_finds_what_it_looks_for() -> None:
    class Open(BaseModel):
        plain: str
        inside: dict[Line, list[str]] | None = None
        number: int = 0
        real: float = 0.0
        when: datetime | None = None
        fine: list[Line | Moment] | None = None

    found = {name: list(unmarked(f.annotation, tuple(f.metadata))) for name, f in Open.model_fields.items()}
    assert found == {
        "plain": ["str"],
        "inside": ["str"],
        "number": ["int"],
        "real": ["float"],
        "when": ["datetime"],
        "fine": [],
    }
    assert len(models()) > 80
