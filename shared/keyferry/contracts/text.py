"""Text from outside: what a caller, a provider, a program on the bus or a file may put into a record, header, label or log.

A name that somebody chooses is refused when it holds a character that another program cannot keep (PostgreSQL has no NUL,
UTF-8 has no surrogates), that ends a line, or that changes how the text around it is shown. What a provider reports is
cleaned instead: by then the call is paid, and its record must not be lost over its spelling. Sources: the Unicode Standard,
chapter 23 (control codes, surrogates, noncharacters); Unicode Technical Report 36 (bidirectional controls). Pure.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from keyferry.contracts.misplaced_key import SHORTEST, may_be_key, replace_keys

_NONCHARACTERS = r"\ufdd0-\ufdef\ufffe\uffff" + "".join(
    rf"\U{plane:04X}FFFE\U{plane:04X}FFFF" for plane in range(1, 17)
)
_UNSAFE = (
    r"\x00-\x1f\x7f-\x9f"  # control codes: C0, DEL, C1
    r"\u2028\u2029"  # line and paragraph separators
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional controls
    r"\ufeff"  # byte order mark
) + _NONCHARACTERS
"""For a character class; surrogates come on top, where the regular expressions know them."""
_SAFE_PATTERN = f"^[^{_UNSAFE}]*$"
_VISIBLE_PATTERN = rf"^[^{_UNSAFE}]*[^{_UNSAFE}\s\p{{Z}}\p{{Cf}}\p{{Default_Ignorable_Code_Point}}\u2800][^{_UNSAFE}]*$"
"""A safe text with at least one character that is seen: no space, zero-width character or filler (Unicode, section 5.21).

U+2800 is the Braille pattern without dots. For pydantic's core only: Python's `re` has no properties.
"""
_UNSAFE_CHARACTER = re.compile(rf"[{_UNSAFE}\ud800-\udfff]")
_UNSAFE_EXCEPT_LINES = re.compile(rf"(?![\n\t])[{_UNSAFE}\ud800-\udfff]")
_SPACES = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]+")
_OUTSIDE_HEADERS = re.compile(r"[^\x20-\x7e]+")
_DIGITS = re.compile(r"[0-9]+")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_ELLIPSIS = "…"

MAX_HEADER_CHARACTERS = 1024
NOT_A_KEY = (
    "a text without keys, since it is recorded: this may be a provider key or a client token. Provider keys belong into"
    " `keyferry keys add`, client tokens into the header Authorization"
)
"""What a text should be that may be a key."""
BIGINT_MAX = 2**63 - 1
"""The largest integer of PostgreSQL's `bigint`, and of most JSON readers that know 64 bits."""


def is_safe(text: str) -> bool:
    """Return whether `text` is one line without control codes, surrogates, noncharacters and bidirectional controls."""
    return (text.isascii() and text.isprintable()) or _UNSAFE_CHARACTER.search(text) is None


def clean(text: str, max_characters: int) -> str:
    """Return `text` on one line, with U+FFFD for each unsafe character, and cut to `max_characters`."""
    text = text[: max_characters + 1]
    if not is_safe(text):
        text = _UNSAFE_CHARACTER.sub(_REPLACEMENT, _SPACES.sub(" ", text))
    return text if len(text) <= max_characters else text[: max_characters - 1] + _ELLIPSIS


def printable(text: str) -> str:
    """Return `text` as a terminal may show it: line breaks and tabs stay, U+FFFD replaces other unsafe characters."""
    return _UNSAFE_EXCEPT_LINES.sub(_REPLACEMENT, text)


def header_value(text: str) -> str:
    """Return `text` as the value of an HTTP header (RFC 9110, section 5.5), at most MAX_HEADER_CHARACTERS long.

    Characters outside printable ASCII are percent-encoded as UTF-8, so that any client can read the value.
    """
    if len(text) <= MAX_HEADER_CHARACTERS and text.isascii() and text.isprintable() and text == text.strip():
        return text
    cut = text[:MAX_HEADER_CHARACTERS]
    return _OUTSIDE_HEADERS.sub(_percent_encode, cut).strip()[:MAX_HEADER_CHARACTERS]


def parse_digits(text: str, max_digits: int = 18) -> int | None:
    """Return the number that `text` writes in one to `max_digits` ASCII digits, or None for anything else.

    `str.isdigit` and `int` accept digits of every script, and `int` takes quadratic time for long ones.
    """
    return int(text) if _DIGITS.fullmatch(text) is not None and len(text) <= max_digits else None


def _percent_encode(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class Refusing:
    """Marks a `str` that is refused unless it is safe and `min_characters` to `max_characters` long.

    With `visible` it needs a character that can be seen, as a name has for people.

    With a `pattern` (`form` describes it to people) it has to match that as well. With `no_key` it is also refused if it may be a
    provider key: for what a person or a caller chooses, and is recorded. All other checks run in pydantic's core.
    """

    max_characters: int
    min_characters: int = 1
    pattern: str | None = None
    form: str | None = None
    no_key: bool = False
    visible: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema of the checks, whose only error says what the text should be."""
        inner = handler(source)
        checks = core_schema.str_schema(
            min_length=self.min_characters,
            max_length=self.max_characters,
            pattern=self.pattern or (_VISIBLE_PATTERN if self.visible else _SAFE_PATTERN),
            strict=_is_strict(inner) or None,
        )
        named = core_schema.custom_error_schema(
            checks, custom_error_type="text", custom_error_message=f"Input should be {self._describe()}"
        )
        return _after(inner, core_schema.no_info_after_validator_function(_refuse_key, named) if self.no_key else named)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the lengths, and the pattern where there is one of its own."""
        limits: dict[str, Any] = {"type": "string", "maxLength": self.max_characters}
        if self.min_characters:
            limits["minLength"] = self.min_characters
        return limits | ({"pattern": self.pattern} if self.pattern else {})

    def _describe(self) -> str:
        length = (
            f"{self.min_characters} to {self.max_characters}"
            if self.min_characters
            else f"at most {self.max_characters}"
        )
        if self.form:
            return f"{length} characters: {self.form}"
        return (
            f"a text of {length} characters, on one line, without control characters, unpaired surrogates, noncharacters"
            f" and bidirectional controls{', and not blank' if self.visible else ''}"
        )


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Marks a `str` that is cleaned, cut to `max_characters`, and recorded without what may be a provider key.

    All but the search for keys is done in pydantic's core if the text is safe already.
    """

    max_characters: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return a schema that passes a safe text and cleans any other."""
        safe = core_schema.str_schema(max_length=self.max_characters, pattern=_SAFE_PATTERN)
        cleaned = core_schema.no_info_plain_validator_function(self._clean)
        either = core_schema.custom_error_schema(
            core_schema.union_schema([safe, cleaned], mode="left_to_right"),
            custom_error_type="text",
            custom_error_message="Input should be a text",
            serialization=core_schema.simple_ser_schema("str"),
        )
        return _after(handler(source), core_schema.no_info_after_validator_function(_without_keys, either))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return a string of that length."""
        return {"type": "string", "maxLength": self.max_characters}

    def _clean(self, value: object) -> str:
        if not isinstance(value, str):
            raise ValueError("it should be a text")
        return clean(value, self.max_characters)


def _after(inner: CoreSchema, checks: CoreSchema) -> CoreSchema:
    """Return the checks, after the validators that stand before the mark in the annotation, if there are any."""
    return checks if inner["type"] == "str" else core_schema.chain_schema([inner, checks])


def _is_strict(schema: CoreSchema) -> bool:
    return schema["type"] == "str" and schema.get("strict") is True


def _without_keys(text: str) -> str:
    return text if len(text) < SHORTEST else replace_keys(text)


def _refuse_key(text: str) -> str:
    if len(text) >= SHORTEST and may_be_key(text):
        raise PydanticCustomError("text", f"Input should be {NOT_A_KEY}")
    return text


_PRINTABLE_ASCII = r"^[\x21-\x7e]+$"
_ASCII_FORM = "printable ASCII without spaces"

Identifier = Annotated[str, Refusing(200, pattern=_PRINTABLE_ASCII, form=_ASCII_FORM)]
"""An id, or the name of a process: printable ASCII without spaces."""
Url = Annotated[str, Refusing(2000, pattern=_PRINTABLE_ASCII, form=_ASCII_FORM)]
"""A URL or an origin that was checked: printable ASCII without spaces."""
GivenUrl = Annotated[str, Refusing(2000, no_key=True)]
"""A URL as somebody wrote it; `origin.check_url` says what is wrong with it."""
Mark = Annotated[str, Refusing(200, 0, pattern=r"^[\x21-\x7e]*$", form=_ASCII_FORM)]
"""A digest or signature; empty where there is none yet."""
Line = Annotated[str, Refusing(300)]
"""One line that a person or a program chose."""
RequestedModel = Annotated[str, Refusing(300, no_key=True)]
"""A caller's name for a model."""
Reported = Annotated[str, Cleaned(200)]
"""A name, word or code that a provider reports, or that is made of one."""
Explanation = Annotated[str, Cleaned(4000)]
"""A text for people that may repeat one from outside."""
Trace = Annotated[str, Cleaned(64)]
"""A `traceparent` (W3C Trace Context); its readers ignore a malformed one."""


def to_zoned(moment: datetime) -> datetime:
    """Return a moment with its zone, which is UTC where none is given."""
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


Moment = Annotated[datetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(9999, 1, 1, tzinfo=UTC))]
"""A point in time that stays within Python's and PostgreSQL's range in every time zone."""
ZonedMoment = Annotated[Moment, AfterValidator(to_zoned)]
"""The same, in UTC where no zone is given."""
Count = Annotated[int, Field(ge=0, le=BIGINT_MAX)]
Ordinal = Annotated[int, Field(ge=1, le=BIGINT_MAX)]
