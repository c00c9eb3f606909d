"""Names are refused and reported text is cleaned, in every field of every message."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, BeforeValidator, ValidationError

from keyferry.contracts.text import (
    BIGINT_MAX,
    MAX_HEADER_CHARACTERS,
    Cleaned,
    Explanation,
    Line,
    Refusing,
    Reported,
    clean,
    header_value,
    is_safe,
    printable,
)
from keyferry.contracts.topology import contracts

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


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def unmarked(annotation: Any, metadata: tuple[Any, ...] = ()) -> Iterator[str]:
    """The parts of a type through which any text, or a number of any size, would pass."""
    if get_origin(annotation) is Annotated:
        inner, *marks = get_args(annotation)
        yield from unmarked(inner, (*metadata, *marks))
    elif annotation is str:
        if not any(isinstance(mark, Refusing | Cleaned) for mark in metadata):
            yield "str"
    elif annotation is int:
        if not has_upper_bound(metadata):
            yield "int"
    elif annotation is float:
        yield "float"
    else:
        optional = metadata if type(None) in get_args(annotation) else ()
        for part in get_args(annotation):
            yield from unmarked(part, optional)


def has_upper_bound(metadata: tuple[Any, ...]) -> bool:
    flat = [inner for mark in metadata for inner in (getattr(mark, "metadata", None) or [mark])]
    return any(getattr(mark, "le", None) is not None and mark.le <= BIGINT_MAX for mark in flat)


@pytest.mark.parametrize("model", models(), ids=lambda model: model.__name__)
def test_every_text_of_a_message_is_refused_or_cleaned_and_every_number_has_a_bound(model: type[BaseModel]) -> None:
    found = {
        name: parts
        for name, field in model.model_fields.items()
        if (model.__name__, name) not in JSON_BODIES
        and (parts := list(unmarked(field.annotation, tuple(field.metadata))))
    }
    assert not found, "give the field a type of keyferry.contracts.text or keyferry.contracts.ids"


def test_the_walk_finds_what_it_looks_for() -> None:
    class Open(BaseModel):
        plain: str
        inside: dict[Line, list[str]] | None = None
        number: int = 0
        real: float = 0.0
        fine: list[Line] | None = None

    found = {name: list(unmarked(f.annotation, tuple(f.metadata))) for name, f in Open.model_fields.items()}
    assert found == {"plain": ["str"], "inside": ["str"], "number": ["int"], "real": ["float"], "fine": []}
    assert len(models()) > 80
