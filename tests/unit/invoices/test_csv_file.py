"""The CSV of a statement adds up, says what each row is, and has nothing that a spreadsheet would run."""

import csv
import io
from collections.abc import Mapping, Sequence
from decimal import Decimal

from keyferry.contracts.statements import ReconciliationKind
from keyferry.invoices.csv_file import HEAD, statement_csv
from tests.support.ledger.statement_samples import line, statement


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def section(found: Sequence[Mapping[str, str]], name: str) -> list[Mapping[str, str]]:
    return [row for row in found if row["section"] == name]


def test_lines_and_breakdowns_add_up_to_the_total() -> None:
    found = rows(statement_csv(statement()))
    (total,) = section(found, "total")
    for name in ("lines", "by model"):
        for column in ("charge_micro_usd", "attempts"):
            assert sum(int(row[column]) for row in section(found, name)) == int(total[column])
    assert total["charge_usd"] == "0.000007"


def test_the_account_leads_from_the_opening_to_the_closing_balance() -> None:
    opening, *sums, closing = section(rows(statement_csv(statement())), "account")
    amounts = [int(row["amount_micro_usd"]) for row in (opening, *sums)]
    assert sum(amounts) == int(closing["amount_micro_usd"])
    assert Decimal(closing["amount_usd"]) * 1_000_000 == int(closing["amount_micro_usd"])


def test_the_reconciliation_is_in_the_file() -> None:
    lines = {
        "usage_micro_usd": 9,
        "lines": [{"kind": "rerated", "attempts": 1, "amount_micro_usd": -2}],
        "posted_micro_usd": 7,
    }
    found = section(rows(statement_csv(statement(reconciliation=lines))), "reconciliation")
    assert [(row["row"], row["amount_micro_usd"]) for row in found] == [
        ("usage", "9"), (ReconciliationKind.RERATED.value, "-2"), ("posted", "7"),
    ]  # fmt: skip


def test_texts_that_spreadsheets_take_for_formulas_are_texts() -> None:
    found = statement(lines=[line("=cmd|' /C calc'!A0", "@team")])
    text = statement_csv(found)
    (entry,) = section(rows(text), "entries")
    assert entry["reason"] == "'=HYPERLINK(0)"
    (first,) = section(rows(text), "lines")
    assert (first["model"], first["team"]) == ("'=cmd|' /C calc'!A0", "'@team")


def test_every_row_has_every_column_and_the_month() -> None:
    text = statement_csv(statement())
    found = list(csv.reader(io.StringIO(text, newline="")))
    assert {len(row) for row in found} == {len(HEAD)}
    assert {(row["month"], row["tz"]) for row in rows(text)} == {("2026-10", "Europe/Berlin")}
    assert rows(text)[0]["since"] == "2026-10-01 00:00:00+02:00"


def test_the_value_of_a_tag_has_the_name_of_the_tag_beside_it() -> None:
    blue = {"dimension": "tag", "value": "blue"}
    tagged = {"by": "tag", "tag": "project", "rows": [{"keys": [blue], "figures": line("m").figures}]}
    (first,) = section(rows(statement_csv(statement(breakdowns=[tagged]))), "by tag:project")
    assert (first["tag"], first["tag_value"]) == ("project", "blue")
