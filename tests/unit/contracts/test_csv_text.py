"""CSV of hostile texts: read back unchanged, one field each in every locale, and never a formula."""

import csv
import io
from decimal import Decimal

from hypothesis import example, given
from hypothesis import strategies as st

from keyferry.contracts.csv_text import csv_text

FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)


@given(st.lists(TEXTS, min_size=1, max_size=5))
@example(["=cmd|' /C calc'!A0", "a;=1+1", 'x","=1', "  @SUM(A1)", "\u00a0=1"])
@example(["\uff1d1", "-2+3", "a\tb", "'", '"'])
def test_texts_come_back_and_are_no_formula(texts: list[str]) -> None:
    line = csv_text([["x", *texts]])
    assert line.endswith("\r\n")
    ((_, *read),) = csv.reader(io.StringIO(line, newline=""))
    assert [cell.removeprefix("'") if cell != text else cell for cell, text in zip(read, texts, strict=True)] == texts
    assert not any(cell.lstrip().startswith(FORMULA) for cell in read)
    # A spreadsheet of another locale splits at semicolons or tabs: outside quotes there are none.
    outside = "".join(line.replace('""', "").split('"')[::2])
    assert ";" not in outside
    assert "\t" not in outside


@given(
    st.lists(st.one_of(st.none(), st.booleans(), st.integers(), st.decimals(-(10**15), 10**15, places=12)), min_size=1)
)
def test_numbers_are_exact(values: list[int | Decimal | bool | None]) -> None:
    cells = csv_text([values]).removesuffix("\r\n").split(",")
    for cell, value in zip(cells, values, strict=True):
        assert "E" not in cell
        if value is None or isinstance(value, bool):
            assert cell == {None: "", True: "true", False: "false"}[value]
        else:
            assert Decimal(cell) == value
