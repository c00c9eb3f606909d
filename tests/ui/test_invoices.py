"""The page of invoices: equal to the API, split and linked by its address, and downloaded as PDF and CSV."""

import re
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from tests.ui.browser import PageOpener
from tests.ui.demo.people import EMPTY_TENANT, NEW_OWNER, OWNER, TENANT
from tests.ui.demo.system import DemoSystem


def newest(demo: DemoSystem) -> dict[str, Any]:
    """Return the newest statement that the API has."""
    month = demo.get(OWNER, "/invoices").json()["statements"][0]["month"]
    found: dict[str, Any] = demo.get(OWNER, f"/invoices/{month}").json()
    return found


def dollars(micro_usd: int) -> str:
    """Return an amount as the page writes it."""
    sign = "−" if micro_usd < 0 else ""
    return f"{sign}${abs(micro_usd) // 10**6:,}.{abs(micro_usd) % 10**6:06}"


def charges(page: Page) -> list[str]:
    """Return the charges of the rows of usage, of which the last is the total."""
    rows = page.get_by_role("table").nth(2).locator("tbody tr")
    return [cell for row in rows.all() for cell in row.locator("td").all_text_contents()[-1:]]


def test_the_page_is_equal_to_the_api_and_rows_add_up(pages: PageOpener, demo: DemoSystem) -> None:
    statement = newest(demo)
    page = pages.open(f"/t/{TENANT}/invoices").page
    expect(page.get_by_role("rowheader", name="Closing balance")).to_be_visible()
    for choice in ("lines", "team", "member", "key_source"):
        page.get_by_label("Split by").select_option(choice)
        page.wait_for_url(re.compile("invoices$" if choice == "lines" else f"by={choice}"))
        *rows, total = charges(page)
        assert total == dollars(statement["total"]["charge_micro_usd"])
        micro = [int(re.sub(r"\D", "", each)) for each in rows]
        assert sum(micro) == statement["total"]["charge_micro_usd"]
    expect(page.get_by_text(dollars(statement["account"]["closing_micro_usd"])).first).to_be_visible()
    expect(page.get_by_text(dollars(statement["reconciliation"]["posted_micro_usd"])).first).to_be_visible()


def test_a_statement_is_downloaded(pages: PageOpener, demo: DemoSystem, tmp_path: Path) -> None:
    month = newest(demo)["month"]
    page = pages.open(f"/t/{TENANT}/invoices?month={month}").page
    for label, start in (("PDF", b"%PDF-"), ("CSV", b"section,row,")):
        with page.expect_download() as download:
            page.get_by_role("button", name=label, exact=True).click()
        assert download.value.suggested_filename == f"keyferry-invoice-{TENANT}-{month}.{label.lower()}"
        download.value.save_as(tmp_path / label)
        assert (tmp_path / label).read_bytes().startswith(start)


def test_a_tenant_without_credits_and_requests_has_no_statement(pages: PageOpener) -> None:
    page = pages.open(f"/t/{EMPTY_TENANT}/invoices", NEW_OWNER).page
    expect(page.get_by_text("No statement yet")).to_be_visible()


def test_a_month_without_a_statement_says_which_there_are(pages: PageOpener) -> None:
    observed = pages.open(f"/t/{TENANT}/invoices?month=2020-01")
    observed.expect("invoices/2020-01")
    expect(observed.page.get_by_text("there is one for each month from")).to_be_visible()
