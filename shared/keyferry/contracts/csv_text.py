"""CSV as spreadsheets read it (RFC 4180), without a text that they would take for a formula. Pure."""

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal

from keyferry.contracts.money import plain

CsvValue = str | int | Decimal | bool | None
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
"""A text that begins with one of these is a formula for spreadsheets (OWASP, CSV injection); the last four are full-width."""
_BARE = re.compile(r"[\w.:/@+ -]*")
"""A text of these is not quoted. Any other may have the separator of some locale, such as a semicolon."""


def csv_text(rows: Iterable[Sequence[CsvValue]]) -> str:
    """Return rows as CSV. Null is an empty field; a text that a spreadsheet would read as a formula begins with an apostrophe."""
    return "".join(f"{','.join(map(_field, row))}\r\n" for row in rows)


def _field(value: CsvValue) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, int):
        return str(value)
    text = f"'{value}" if value.lstrip().startswith(_FORMULA) or value[:1].isspace() else value
    return text if _BARE.fullmatch(text) else '"' + text.replace('"', '""') + '"'
