"""Buying credits in the console, and paying on the page of Stripe's double."""

import re
from typing import Final
from urllib.parse import urlsplit

from playwright.sync_api import Page, expect

from keyferry.contracts.access_role import AccessRole
from tests.ui.accessibility import violations
from tests.ui.browser import PageOpener
from tests.ui.demo.people import Person
from tests.ui.demo.system import DemoSystem
from tests.ui.observed_page import ObservedPage

BUYER: Final = Person("gavin@bachmanity.example", AccessRole.OWNER, "bachmanity")
CREDITED_MS: Final = 30_000
GOOD_CARD: Final = "4242424242424242"


def open_credits(pages: PageOpener, demo: DemoSystem) -> ObservedPage:
    """Open the page of a tenant that has bought nothing yet, and allow the pages of Stripe's double."""
    observed = pages.open(f"/t/{BUYER.tenant}/credits", BUYER)
    port = demo.system.home.joinpath("run", "billing-demo-stripe.port").read_text().strip()
    observed.allowed_origins |= {f"http://127.0.0.1:{port}"}
    observed.expect(r"/favicon\.ico")  # Stripe's double has none
    return observed


def go_to_stripe(page: Page, console_url: str) -> None:
    """Click twice, as people do, and wait for Stripe's page."""
    page.get_by_role("button", name="Pay with Stripe").dblclick()
    host = urlsplit(console_url).netloc
    page.wait_for_url(lambda url: urlsplit(url).netloc != host)


def test_credits_are_bought_once_and_shown(pages: PageOpener, demo: DemoSystem) -> None:
    demo.add_tenant(str(BUYER.tenant), "Bachmanity")
    observed = open_credits(pages, demo)
    page = observed.page
    expect(page.get_by_role("radio", name=re.compile(r"\$100\.00 for 120,000 credits"))).to_be_visible()
    found = violations(page)
    assert not found, "\n".join(map(str, found))

    page.get_by_role("radio", name=re.compile(r"\$50\.00 for 55,000 credits")).check()
    page.get_by_role("checkbox", name="Keep the payment method for automatic top-ups").check()
    go_to_stripe(page, demo.console_url)
    page.go_back()
    observed.wait_until_ready()
    assert len(demo.get(BUYER, "/credits/checkouts").json()["purchases"]) == 1, "a double click is one purchase"

    page.go_forward()
    page.locator('select[name="card"]').select_option(GOOD_CARD)
    page.locator('button[value="pay"]').click()
    page.wait_for_url(re.compile(r"/credits\?.*result=paid"))
    expect(page.get_by_role("status").filter(has_text="55,000 credits were added")).to_be_visible(timeout=CREDITED_MS)
    expect(page.get_by_role("table", name="Payments").or_(page.get_by_role("region", name="Payments"))).to_be_visible()
    balance = demo.get(BUYER, "/credits").json()
    assert balance["balance"] == "55000"
    assert demo.get(BUYER, "/credits/customer").json()["payment_method"] == "visa ending in 4242"


def test_a_payment_that_is_left_charges_nothing(pages: PageOpener, demo: DemoSystem) -> None:
    observed = open_credits(pages, demo)
    page = observed.page
    before = demo.get(BUYER, "/credits").json()["balance"]
    go_to_stripe(page, demo.console_url)
    page.locator('button[value="cancel"]').click()
    page.wait_for_url(re.compile(r"result=cancelled"))
    expect(page.get_by_text("You left the payment page")).to_be_visible()
    page.get_by_role("button", name="Close the page").click()
    expect(page.get_by_text("The payment page has expired")).to_be_visible()
    assert demo.get(BUYER, "/credits").json()["balance"] == before
