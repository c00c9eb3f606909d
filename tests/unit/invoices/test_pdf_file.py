"""The PDF of a statement: the same bytes for the same statement, every name, and tables over pages."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from keyferry.contracts.statements import StatementEntryKind
from keyferry.invoices.fonts import BODY, CHINESE, KOREAN, runs, width_of
from keyferry.invoices.pages import _wrapped
from keyferry.invoices.pdf_file import statement_pdf
from keyferry.invoices.words import ENTRY_WORDS, RECONCILIATION_WORDS, STATE_WORDS, dollars
from tests.support.ledger.statement_samples import line, statement


def pages(data: bytes) -> int:
    return data.count(b"/Type /Page") - data.count(b"/Type /Pages")


def test_the_same_statement_makes_the_same_bytes() -> None:
    found = statement()
    with ThreadPoolExecutor(4) as pool:
        files = set(pool.map(statement_pdf, [found] * 4))
    assert len(files) == 1
    assert next(iter(files)).startswith(b"%PDF-")


def test_another_process_makes_the_same_bytes() -> None:
    program = (
        "import hashlib; from keyferry.invoices.pdf_file import statement_pdf;"
        "from tests.support.ledger.statement_samples import statement;"
        "print(hashlib.sha256(statement_pdf(statement())).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_another_statement_makes_another_file() -> None:
    assert statement_pdf(statement()) != statement_pdf(statement(fingerprint="f" * 64))


def test_long_tables_go_on_over_pages() -> None:
    lines = [line(f"model-{number}", f"team {number}") for number in range(300)]
    assert pages(statement_pdf(statement(lines=lines))) > pages(statement_pdf(statement())) + 5


def test_names_in_every_script_have_a_font() -> None:
    found = dict(runs("Zażółć Ἑλλάς Привет"))
    assert set(found) == {BODY}
    assert [font for font, _ in runs("a株式b한국")] == [BODY, CHINESE, BODY, KOREAN]
    assert list(runs("a🎉\u0000b")) == [(BODY, "a\ufffd\ufffdb")]


@pytest.mark.parametrize("name", ["x" * 300, "株" * 300, "a b " * 75, "", " "])
def test_any_name_fits_its_column(name: str) -> None:
    assert all(width_of(part, 6.8) <= 80 for part in _wrapped(name, 80))
    assert statement_pdf(statement(lines=[line("m", name or None)], tenant_name=name or "-")).endswith(b"%%EOF\n")


def test_amounts_are_exact() -> None:
    assert [dollars(each) for each in (0, 1, -1, 1_234_567_890_123, -999_999)] == [
        "0.000000", "0.000001", "-0.000001", "1,234,567.890123", "-0.999999",
    ]  # fmt: skip


def test_every_kind_has_words() -> None:
    assert ENTRY_WORDS.keys() == set(StatementEntryKind)
    assert all((*RECONCILIATION_WORDS.values(), *STATE_WORDS.values()))
