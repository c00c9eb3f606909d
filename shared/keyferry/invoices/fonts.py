"""Fonts for every script that names are written in, and texts split into parts of one font each.

DejaVu Sans (`fonts/`, Bitstream Vera licence) is embedded, as far as a file uses it. Chinese, Japanese and Korean use the fonts
that the PDF standard expects of viewers, which are not embedded: one of them would be ten megabytes.
"""

from collections.abc import Iterator
from pathlib import Path

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont

BODY, CHINESE, KOREAN = "DejaVuSans", "STSong-Light", "HYGothic-Medium"
_UNKNOWN = "\ufffd"
_HANGUL = ((0x1100, 0x11FF), (0x3130, 0x318F), (0xAC00, 0xD7AF))
_EAST_ASIAN = (
    (0x2E80, 0x30FF),
    (0x3100, 0x312F),
    (0x31A0, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF00, 0xFFEF),
)

_BODY_FONT = TTFont(BODY, str(Path(__file__).parent / "fonts" / "DejaVuSans.ttf"))
pdfmetrics.registerFont(_BODY_FONT)
pdfmetrics.registerFont(UnicodeCIDFont(CHINESE))
pdfmetrics.registerFont(UnicodeCIDFont(KOREAN))
_GLYPHS = _BODY_FONT.face.charToGlyph


def runs(text: str) -> Iterator[tuple[str, str]]:
    """Yield the parts of a text with the font of each. A character of no font is shown as a question mark in a diamond."""
    font, part = BODY, ""
    for character in text:
        own, shown = _font_of(character)
        if own != font and part:
            yield font, part
            part = ""
        font, part = own, part + shown
    if part:
        yield font, part


def width_of(text: str, size: float) -> float:
    """Return the width of a text in points."""
    return sum(pdfmetrics.stringWidth(part, font, size) for font, part in runs(text))


def _font_of(character: str) -> tuple[str, str]:
    code = ord(character)
    if code in _GLYPHS:
        return BODY, character
    if _is_in(code, _HANGUL):
        return KOREAN, character
    if _is_in(code, _EAST_ASIAN):
        return CHINESE, character
    return BODY, _UNKNOWN


def _is_in(code: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= code <= last for first, last in ranges)
