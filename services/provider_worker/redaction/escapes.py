"""Decodes the ways in which single characters are written: percent-encoding, JSON and Python escapes, HTML entities.

Each character may be written in its own way, also in several at once, as when JSON is quoted in JSON. What a text means is
compared with a secret, so that no mixture has to be foreseen. Pure.
"""

import html
import re
from typing import NamedTuple

_MAX_LEVELS = 4
_LONGEST_NAME = 8
_ESCAPE = re.compile(
    rf"""
      %(?P<percent>[0-9A-Fa-f]{{2}})
    | \\+u00(?P<json>[0-9A-Fa-f]{{2}})
    | \\+x(?P<python>[0-9A-Fa-f]{{2}})
    | \\+
    | &\#[xX]0{{0,5}}(?P<hex>[0-9A-Fa-f]{{1,2}});? | &\#0{{0,5}}(?P<decimal>[0-9]{{1,3}});?
    | &(?P<name>[A-Za-z]{{2,{_LONGEST_NAME}}});
    | [\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff\ufffd]
    """,
    re.VERBOSE,
)
"""Backslashes, characters that are not visible, and what such ones are replaced by stand for nothing, in a secret as well."""
_INCOMPLETE = re.compile(
    rf"(?:%[0-9A-Fa-f]?|\\+(?:u(?:0(?:0[0-9A-Fa-f]?)?)?|x[0-9A-Fa-f]?)?|&(?:\#[xX]?[0-9A-Fa-f]{{0,7}}|[A-Za-z]{{0,{_LONGEST_NAME}}}))\Z"
)
"""The beginning of an escape at the end of a text."""


_MAX_NAME = 256


def may_have_escapes(text: str) -> bool:
    """Return whether `decode` may change `text`; of a longer text than a name, otherwise than by dropping what is not visible."""
    return (
        "\\" in text
        or "%" in text
        or "&" in text
        or (len(text) <= _MAX_NAME and (not text.isprintable() or "\ufffd" in text))
    )


class Decoded(NamedTuple):
    """A text without escapes, and where in the original each of its characters begins and ends."""

    text: str
    starts: list[int]
    ends: list[int]


def decode(text: str) -> str:
    """Return `text` without escapes."""
    for _ in range(_MAX_LEVELS):
        plainer = _ESCAPE.sub(_meaning, text)
        if plainer == text:
            break
        text = plainer
    return text


def decode_with_places(text: str, *, ended: bool = True) -> Decoded:
    """Return `text` without escapes, and where each of its characters comes from.

    Of a text that has not `ended` the beginning of an escape at its end is left out.
    """
    starts, ends = list(range(len(text))), list(range(1, len(text) + 1))
    for _ in range(_MAX_LEVELS):
        if not ended and (incomplete := _INCOMPLETE.search(text)) is not None:
            text = text[: incomplete.start()]
        plainer, origins = _decode_once(text)
        if plainer == text:
            break
        starts, ends = [starts[first] for first, _ in origins], [ends[last] for _, last in origins]
        text = plainer
    return Decoded(text, starts, ends)


def _decode_once(text: str) -> tuple[str, list[tuple[int, int]]]:
    """Return `text` with one level of escapes decoded, and the first and last place that each of its characters comes from."""
    parts: list[str] = []
    origins: list[tuple[int, int]] = []
    at = 0
    for match in _ESCAPE.finditer(text):
        start, end = match.span()
        meaning = _meaning(match)
        # An escape that stands for itself keeps the place of each of its characters.
        plain_until = end if meaning == match[0] else start
        parts.append(text[at:plain_until])
        origins += ((place, place) for place in range(at, plain_until))
        if plain_until == start:
            parts.append(meaning)
            origins += [(start, end - 1)] * len(meaning)
        at = end
    origins += ((place, place) for place in range(at, len(text)))
    return "".join((*parts, text[at:])), origins


def _meaning(match: re.Match[str]) -> str:
    digits = match["percent"] or match["json"] or match["python"] or match["hex"]
    if digits is not None:
        return chr(int(digits, 16))
    if match["decimal"] is not None:
        number = int(match["decimal"])
        return chr(number) if number < 128 else match[0]
    if match["name"] is not None:
        character = html.unescape(match[0])
        return character if len(character) == 1 and character.isascii() else match[0]
    return ""
