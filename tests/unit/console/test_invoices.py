"""Routes for monthly statements: what the ledger is asked, and the statement as JSON, CSV and PDF."""

import pytest

from keyferry.contracts.service import ErrorCode, Refusal
from keyferry.contracts.statement_management import STATEMENT_GET, STATEMENT_LIST
from keyferry.contracts.statements import GetStatement, ListStatements, Statements
from keyferry.invoices.csv_file import statement_csv
from keyferry.invoices.pdf_file import statement_pdf
from tests.support.ledger.statement_samples import statement
from tests.unit.console.surface import AUTHORIZED, Surface

INVOICES = "/api/v1/ops/tenants/acme/invoices"


@pytest.fixture
def surface() -> Surface:
    found = Surface()
    found.bus.answers(STATEMENT_GET, statement())
    return found


async def test_months_are_listed(surface: Surface) -> None:
    listed = Statements(tenant="acme", as_of=statement().as_of, statements=[])
    surface.bus.answers(STATEMENT_LIST, listed)
    response = await surface.ask("GET", INVOICES)
    assert (response.status_code, response.json()) == (200, listed.model_dump(mode="json"))
    assert surface.bus.asked[-1][1] == ListStatements(tenant="acme")


async def test_a_statement_is_json_unless_something_else_is_asked_for(surface: Surface) -> None:
    response = await surface.ask("GET", f"{INVOICES}/2026-10?tag=project")
    assert response.json() == statement().model_dump(mode="json")
    assert surface.bus.asked[-1][1] == GetStatement(tenant="acme", month="2026-10", tag="project")


@pytest.mark.parametrize(
    ("query", "accept", "media_type"),
    [
        ("?format=csv", "*/*", "text/csv"),
        ("", "text/csv", "text/csv"),
        ("?format=pdf", "*/*", "application/pdf"),
        ("", "application/pdf", "application/pdf"),
        ("?format=json", "application/pdf", "application/json"),
        ("", "application/*", "application/json"),
        ("", "application/pdf;q=0.1, application/json", "application/json"),
    ],
)
async def test_the_format_is_that_of_the_query_or_of_the_header(
    surface: Surface, query: str, accept: str, media_type: str
) -> None:
    response = await surface.ask("GET", f"{INVOICES}/2026-10{query}", headers=AUTHORIZED | {"accept": accept})
    assert response.status_code == 200
    assert response.headers["content-type"].partition(";")[0] == media_type


async def test_files_are_those_of_the_library_and_have_names(surface: Surface) -> None:
    as_csv = await surface.ask("GET", f"{INVOICES}/2026-10?format=csv")
    as_pdf = await surface.ask("GET", f"{INVOICES}/2026-10?format=pdf")
    assert as_csv.content == statement_csv(statement()).encode()
    assert as_pdf.content == statement_pdf(statement())
    name = "keyferry-invoice-acme-2026-10"
    assert as_csv.headers["content-disposition"] == f'attachment; filename="{name}.csv"'
    assert as_pdf.headers["content-disposition"] == f'attachment; filename="{name}.pdf"'


@pytest.mark.parametrize("month", ["2026-13", "2026-1", "october", "2026-10-01", "2026-1٠"])
async def test_what_is_no_month_is_not_found(surface: Surface, month: str) -> None:
    response = await surface.ask("GET", f"{INVOICES}/{month}")
    assert response.status_code == 404
    assert surface.bus.asked == []


@pytest.mark.parametrize("query", ["format=xml", "tag=a b", "tag=", "month=2026-10"])
async def test_unknown_queries_are_refused(surface: Surface, query: str) -> None:
    response = await surface.ask("GET", f"{INVOICES}/2026-10?{query}")
    assert response.status_code in (400, 422), response.text


async def test_a_month_without_a_statement_is_not_found(surface: Surface) -> None:
    message = "there is no statement for 2026-10: there is one for each month from 2026-11 to 2026-11"
    surface.bus.answers(STATEMENT_GET, Refusal(code=ErrorCode.NOT_FOUND, message=message))
    response = await surface.ask("GET", f"{INVOICES}/2026-10?format=pdf")
    assert response.status_code == 404
    assert message in response.text
