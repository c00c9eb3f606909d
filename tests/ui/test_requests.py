"""Requests are found, followed to what they did and cost, and arrive without moving what is shown."""

import re
from decimal import Decimal
from typing import Any

from playwright.sync_api import expect

from tests.support.waiting import until
from tests.ui.browser import PageOpener
from tests.ui.demo.people import OWNER, TENANT
from tests.ui.demo.system import DemoSystem

_LIST = f"/t/{TENANT}/requests"


def _listed(demo: DemoSystem, query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = demo.get(OWNER, f"/requests?{query}").json()["data"]
    return found


def test_filters_are_in_the_address_and_the_keyboard_opens_a_request(pages: PageOpener) -> None:
    page = pages.open(f"{_LIST}?range=30d&outcome=completed").page
    rows = page.get_by_role("region", name="Requests, newest first").locator("tbody tr:not(.request-gap)")
    expect(rows.first).to_contain_text("Completed")
    page.get_by_role("button", name="Remove Outcome: Completed").click()
    expect(page).to_have_url(re.compile(r"/requests\?range=30d$"))
    page.keyboard.press("j")
    expect(page.locator("tr[data-current]")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/requests/req_[0-9a-v]+$"))
    expect(page.get_by_role("heading", name="Why this model")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile(r"/requests\?range=30d$"))


def test_a_request_leads_to_its_spans_which_the_keyboard_opens(pages: PageOpener, demo: DemoSystem) -> None:
    page = pages.open(f"{_LIST}/{demo.request_ids[-1]}").page
    page.get_by_role("link", name="Show its spans").click()
    expect(page).to_have_url(re.compile(rf"/traces/{demo.request_ids[-1]}$"))
    spans = page.get_by_role("list", name="The spans of the trace, each below the one that called it")
    request = spans.get_by_role("button", name="POST /v1/chat/completions")
    request.press("Enter")
    expect(request).to_have_attribute("aria-expanded", "true")
    expect(page.get_by_role("group", name="Attributes of POST /v1/chat/completions")).to_contain_text("http.route")
    expect(page.get_by_role("heading", name="Why this model")).to_be_visible()


def test_the_lines_of_the_cost_add_up_to_it(pages: PageOpener, demo: DemoSystem) -> None:
    chosen = next(
        row
        for row in _listed(demo, "outcome=completed&provider=openai&limit=50")
        if len(row["attempts"]) == 1 and Decimal(row["cost_usd"] or 0) > 0
    )
    page = pages.open(f"{_LIST}/{chosen['request_id']}").page
    table = page.get_by_role("region", name="Cost").get_by_role("table")
    rows = [row.get_by_role("cell").last.inner_text() for row in table.locator("tbody tr").all()]
    *lines, total = [Decimal(text) for text in rows]
    assert sum(lines) == total == Decimal(chosen["cost_usd"])


def test_new_requests_wait_until_they_are_asked_for(pages: PageOpener, demo: DemoSystem) -> None:
    page = pages.open(_LIST).page
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    rows = page.get_by_role("region", name="Requests, newest first").locator("tbody tr:not(.request-gap)")
    before = rows.first.inner_text()
    answer = demo.ask(TENANT, "gpt-4o-mini", "a request that waits", headers={"x-operation": "waits"})
    request_id = answer.headers["x-request-id"]
    until("the ledger has it", lambda: demo.get(OWNER, f"/requests/{request_id}").status_code == 200)
    button = page.get_by_role("button", name=re.compile(r"^Show \d+ new request"))
    expect(button).to_be_visible()
    assert rows.first.inner_text() == before
    button.click()
    expect(rows.first).to_contain_text("waits")


def test_an_id_that_nobody_has_is_explained(pages: PageOpener) -> None:
    observed = pages.open(_LIST)
    observed.expect("404")
    page = observed.page
    page.get_by_role("searchbox").fill("req_00000000000000000000000000")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="There is no record of this request")).to_be_visible()
