"""Decodes the ways in which single characters are written: percent-encoding, JSON and Python escapes, HTML entities.

Each character may be written in its own way, also in several at once, as when JSON is quoted in JSON. What a text means is
compared with a secret, so that no mixture has to be foreseen. Pure.
"""

import html
import re
from collections.abc import Sequence
from typing import NamedTuple

_MAX_LEVELS = 4
_LONGEST_NAME = 8
_INVISIBLE = r"[\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff\ufffd]"
_INVISIBLE_RUN = re.compile(f"{_INVISIBLE}+")
_ESCAPE = re.compile(
    rf"""
      %(?P<percent>[0-9A-Fa-f]{{2}})
    | \\+u00(?P<json>[0-9A-Fa-f]{{2}})
    | \\+x(?P<python>[0-9A-Fa-f]{{2}})
    | (?:\\+r)?\\+n[ \t]* | \\+r
    | \\+
    | &\#[xX]0{{0,5}}(?P<hex>[0-9A-Fa-f]{{1,2}});? | &\#0{{0,5}}(?P<decimal>[0-9]{{1,3}});?
    | &(?P<name>[A-Za-z]{{2,{_LONGEST_NAME}}});
    | [\r\n][\r\n\t ]*
    | {_INVISIBLE}+
    """,
    re.VERBOSE,
)
"""Backslashes, line breaks with the indentation behind them, characters that are not visible, and what such ones are replaced
by stand for nothing, in a secret as well."""
_INCOMPLETE = re.compile(
    rf"(?:%[0-9A-Fa-f]?|\\+(?:u(?:0(?:0[0-9A-Fa-f]?)?)?|x[0-9A-Fa-f]?)?|&(?:\#[xX]?[0-9A-Fa-f]{{0,7}}|[A-Za-z]{{0,{_LONGEST_NAME}}}))\Z"
)
"""The beginning of an escape at the end of a text."""


_MAX_NAME = 256
_MAX_INCOMPLETE = 64
"""Longer than the beginning of any escape; of more backslashes than that, the first ones are dropped anyway."""


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
    starts: Sequence[int]
    ends: Sequence[int]


class EscapeBudget:
    """How many escapes of one response are decoded: it takes half a microsecond for each, in which nothing else runs."""

    __slots__ = ("_left",)

    def __init__(self, left: int = 100_000) -> None:
        self._left = left

    def take(self, text: str) -> bool:
        """Return whether the escapes in `text` are to be decoded; after a false one, only texts with fewer may be."""
        count = text.count("%") + text.count("&") + text.count("\\")
        if not text.isprintable():
            count += len(_INVISIBLE_RUN.findall(text))
        if count > self._left:
            return False
        self._left -= count
        return True


def undecoded(text: str) -> Decoded:
    """Return `text` as it is."""
    return Decoded(text, range(len(text)), range(1, len(text) + 1))


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
    _, starts, ends = undecoded(text)
    for _ in range(_MAX_LEVELS):
        if not ended and (incomplete := _INCOMPLETE.search(text, max(0, len(text) - _MAX_INCOMPLETE))) is not None:
            text = text[: incomplete.start()]
        plainer, firsts, lasts = _decode_once(text)
        if plainer == text:
            break
        starts, ends = [starts[first] for first in firsts], [ends[last] for last in lasts]
        text = plainer
    return Decoded(text, starts, ends)


def _decode_once(text: str) -> tuple[str, list[int], list[int]]:
    """Return `text` with one level of escapes decoded, and the first and the last place that each character comes from."""
    parts: list[str] = []
    firsts: list[int] = []
    lasts: list[int] = []
    at = 0
    for match in _ESCAPE.finditer(text):
        start, end = match.span()
        meaning = _meaning(match)
        # An escape that stands for itself keeps the place of each of its characters.
        plain_until = end if meaning == match[0] else start
        parts.append(text[at:plain_until])
        firsts += range(at, plain_until)
        lasts += range(at, plain_until)
        if plain_until == start and meaning:
            parts.append(meaning)
            firsts.append(start)
            lasts.append(end - 1)
        at = end
    if not parts:
        return text, firsts, lasts
    firsts += range(at, len(text))
    lasts += range(at, len(text))
    return "".join((*parts, text[at:])), firsts, lasts


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
