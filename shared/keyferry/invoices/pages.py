"""Pages of a PDF: headings, paragraphs, and tables that go on over pages with their head repeated."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reportlab.lib.pagesizes import A4, landscape
from reportlab.pdfgen.canvas import Canvas

from keyferry.invoices.fonts import runs, width_of

_WIDTH, _HEIGHT = landscape(A4)
_MARGIN, _BOTTOM = 36.0, 42.0
_SIZE, _LEADING, _PADDING = 6.8, 8.8, 3.0
_TITLE, _HEADING, _NOTE = 15.0, 10.0, 7.2
_GRAY, _LINE, _SHADE = 0.4, 0.8, 0.94
_MAX_LINES = 12
"""Of one cell: the longest name that a contract allows has fewer in the narrowest column of names."""
PAGE_WIDTH = _WIDTH - 2 * _MARGIN
"""In points, without margins."""


@dataclass(frozen=True)
class Column:
    """A column of a table: its head, its share of the width, and whether it has numbers."""

    head: str
    share: float
    is_number: bool = False


class Pages:
    """A document under construction. Neither the clock nor chance is in it."""

    def __init__(self, title: str, footer: str) -> None:
        self._buffer = io.BytesIO()
        self._canvas = Canvas(self._buffer, pagesize=(_WIDTH, _HEIGHT), invariant=1, pageCompression=1)
        self._canvas.setTitle(title)
        self._canvas.setAuthor("Keyferry")
        self._canvas.setCreator("Keyferry")
        self._footer = footer
        self._page = 1
        self._y = _HEIGHT - _MARGIN

    def title(self, text: str) -> None:
        """Write the title."""
        self._lines(text, _TITLE, 0.0)
        self._y -= 4

    def heading(self, text: str) -> None:
        """Write a heading, with place for some rows below it."""
        self._need(5 * _LEADING)
        self._y -= 8
        self._lines(text, _HEADING, 0.0)
        self._y -= 2

    def note(self, text: str) -> None:
        """Write a paragraph of small text."""
        self._lines(text, _NOTE, _GRAY)

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str]], *, totals: int = 0) -> None:
        """Write a table; its last `totals` rows are shaded."""
        shares = sum(column.share for column in columns)
        widths = [PAGE_WIDTH * column.share / shares for column in columns]
        heads = [column.head for column in columns]
        self._row(columns, widths, heads, head=True)
        for number, row in enumerate(rows):
            if self._row_height(widths, row) > self._y - _BOTTOM:
                self._break()
                self._row(columns, widths, heads, head=True)
            self._row(columns, widths, row, shaded=number >= len(rows) - totals)
        self._y -= 4

    def finish(self) -> bytes:
        """Return the file."""
        self._write_footer()
        self._canvas.save()
        return self._buffer.getvalue()

    def _row_height(self, widths: Sequence[float], cells: Sequence[str]) -> float:
        lines = max(len(_wrapped(cell, width - _PADDING)) for cell, width in zip(cells, widths, strict=True))
        return lines * _LEADING

    def _row(
        self,
        columns: Sequence[Column],
        widths: Sequence[float],
        cells: Sequence[str],
        *,
        head: bool = False,
        shaded: bool = False,
    ) -> None:
        wrapped = [_wrapped(cell, width - _PADDING) for cell, width in zip(cells, widths, strict=True)]
        height = max(map(len, wrapped)) * _LEADING
        if shaded:
            self._canvas.setFillGray(_SHADE)
            self._canvas.rect(_MARGIN, self._y - height, PAGE_WIDTH, height, stroke=0, fill=1)
        self._canvas.setFillGray(_GRAY if head else 0.0)
        left = _MARGIN
        for column, width, lines in zip(columns, widths, wrapped, strict=True):
            for number, line in enumerate(lines):
                start = left + width - _PADDING - width_of(line, _SIZE) if column.is_number else left
                self._write(start, self._y - _LEADING * (number + 1) + 2.4, line, _SIZE)
            left += width
        self._y -= height
        self._canvas.setStrokeGray(_LINE)
        self._canvas.setLineWidth(0.6 if head else 0.25)
        self._canvas.line(_MARGIN, self._y, _MARGIN + PAGE_WIDTH, self._y)

    def _lines(self, text: str, size: float, gray: float) -> None:
        for line in _wrapped(text, PAGE_WIDTH, size):
            self._need(size * 1.35)
            self._y -= size * 1.35
            self._canvas.setFillGray(gray)
            self._write(_MARGIN, self._y, line, size)

    def _write(self, x: float, y: float, text: str, size: float) -> None:
        for font, part in runs(text):
            self._canvas.setFont(font, size)
            self._canvas.drawString(x, y, part)
            x += width_of(part, size)

    def _need(self, height: float) -> None:
        if self._y - height < _BOTTOM:
            self._break()

    def _break(self) -> None:
        self._write_footer()
        self._canvas.showPage()
        self._page += 1
        self._y = _HEIGHT - _MARGIN

    def _write_footer(self) -> None:
        self._canvas.setFillGray(_GRAY)
        self._write(_MARGIN, _BOTTOM - 18, self._footer, _SIZE)
        number = f"page {self._page}"
        self._write(_WIDTH - _MARGIN - width_of(number, _SIZE), _BOTTOM - 18, number, _SIZE)


def _wrapped(text: str, width: float, size: float = _SIZE) -> list[str]:
    """Return the lines of a text: broken at spaces, and within a word that is wider than a line."""
    if width_of(text, size) <= width:
        return [text]
    lines = [""]
    for word in text.split(" "):
        candidate = f"{lines[-1]} {word}".strip()
        if width_of(candidate, size) <= width:
            lines[-1] = candidate
            continue
        parts = list(_pieces(word, width, size))
        lines += parts if lines[-1] else []
        lines = lines if lines[0] or len(lines) > 1 else parts
    return lines[:_MAX_LINES]


def _pieces(word: str, width: float, size: float) -> Iterator[str]:
    piece = ""
    for character in word:
        if piece and width_of(piece + character, size) > width:
            yield piece
            piece = ""
        piece += character
    yield piece
