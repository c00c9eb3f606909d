"""The pages of usage, of credits and budgets, and the first page: filters in the address, links to requests, forms."""

import re
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import expect

from tests.ui.browser import PageOpener
from tests.ui.demo.people import EMPTY_TENANT, NEW_OWNER, OWNER, TENANT
from tests.ui.demo.system import DemoSystem


def test_a_day_of_the_chart_leads_to_its_requests(pages: PageOpener) -> None:
    observed = pages.open(f"/t/{TENANT}/usage?provider=openai&range=7d")
    chart = observed.page.get_by_role("application").first
    chart.focus()
    chart.press("End")
    expect(chart.locator("[aria-live]")).to_contain_text("so far")
    chart.press("ArrowLeft")
    chart.press("Enter")
    observed.page.wait_for_url(re.compile(r"/requests\?"))
    search = parse_qs(urlsplit(observed.page.url).query)
    assert search["provider"] == ["openai"]
    length = datetime.fromisoformat(search["until"][0]) - datetime.fromisoformat(search["since"][0])
    assert length == timedelta(days=1)


def test_filters_are_in_the_address_and_come_back_from_it(pages: PageOpener) -> None:
    observed = pages.open(f"/t/{TENANT}/usage")
    observed.page.get_by_role("button", name="Filters").click()
    observed.page.get_by_role("checkbox", name="OpenAI").check()
    observed.page.wait_for_url(re.compile("provider=openai"))
    observed.page.keyboard.press("Escape")
    observed.page.reload()
    pill = observed.page.get_by_text("Provider: OpenAI")
    expect(pill).to_be_visible()
    observed.page.get_by_role("button", name="Remove the filter Provider: OpenAI").click()
    expect(pill).to_be_hidden()
    assert "provider" not in urlsplit(observed.page.url).query


def test_the_first_page_of_a_new_tenant_has_the_steps_to_begin_with(pages: PageOpener) -> None:
    observed = pages.open(f"/t/{EMPTY_TENANT}", NEW_OWNER)
    expect(observed.page.get_by_role("heading", name="Start here")).to_be_visible()
    expect(observed.page.get_by_text("Listening for your first request")).to_be_visible()


def test_a_budget_is_added_changed_and_deleted(pages: PageOpener, demo: DemoSystem) -> None:
    observed = pages.open(f"/t/{TENANT}/credits?tab=budgets")
    page = observed.page
    page.get_by_role("button", name="Add budget").click()
    page.get_by_label("Name").fill("Of a test")
    page.get_by_label("Limit in US dollars").fill("none")
    page.get_by_role("dialog").get_by_role("button", name="Add budget").click()
    expect(page.get_by_text("An amount in dollars above 0")).to_be_visible()
    page.get_by_label("Limit in US dollars").fill("12.345678")
    page.get_by_label("What it counts").select_option("model")
    page.get_by_label("Model").fill("no-such-model")
    page.get_by_role("dialog").get_by_role("button", name="Add budget").click()
    expect(page.get_by_role("rowheader", name="Of a test")).to_be_visible()
    saved = [each["budget"] for each in demo.get(OWNER, "/budgets").json()["budgets"]]
    assert [each["limit_micro_usd"] for each in saved if each["name"] == "Of a test"] == [12_345_678]
    page.get_by_role("button", name="Edit Of a test").click()
    page.get_by_label("Limit in US dollars").fill("20")
    page.get_by_role("button", name="Save budget").click()
    expect(page.get_by_role("row", name="Of a test").get_by_text("of $20.00")).to_be_visible()
    page.get_by_role("button", name="Delete Of a test").click()
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    page.get_by_role("button", name="Delete budget").click()
    expect(page.get_by_role("rowheader", name="Of a test")).to_be_hidden()
