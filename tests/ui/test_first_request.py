"""A new user comes from nothing to a request that is explained, without reading anything else."""

import re

import httpx
from playwright.sync_api import expect

from keyferry.contracts.access_role import AccessRole
from tests.ui.browser import PageOpener
from tests.ui.demo.people import Person
from tests.ui.demo.system import DemoSystem

TENANT = "hooli"
FIRST_OWNER = Person("richard@hooli.example", AccessRole.OWNER, TENANT)
_TOKEN = re.compile(r"kf_live_[0-9A-Za-z]+")


def test_a_new_user_sends_a_first_request_and_opens_why_it_went_where_it_went(
    pages: PageOpener, demo: DemoSystem
) -> None:
    demo.add_tenant(TENANT, "Hooli")
    observed = pages.open(f"/t/{TENANT}", FIRST_OWNER)
    page = observed.page

    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Quick start").click()
    expect(page.get_by_role("heading", level=1, name="Quick start")).to_be_visible()
    page.get_by_role("button", name="Create a token").click()
    expect(page.get_by_text("Listening for your first request")).to_be_visible()
    snippet = page.get_by_role("region", name="curl").inner_text()
    found = _TOKEN.search(snippet)
    assert found, "the snippet has no client token"
    assert f"{demo.http_url}/v1" in snippet

    answer = httpx.post(
        f"{demo.http_url}/v1/chat/completions",
        json={"model": "echo", "messages": [{"role": "user", "content": "Hello"}]},
        headers={"authorization": f"Bearer {found.group()}"},
        timeout=60,
    )
    answer.raise_for_status()
    expect(page.get_by_text("Your first request has arrived")).to_be_visible()
    page.get_by_role("link", name="See why it was routed so").click()
    expect(page.get_by_role("heading", name="Why this model")).to_be_visible()
    assert answer.headers["x-request-id"] in page.url
    observed.settle()
    # The token was shown once: it is nowhere on the page any more.
    assert found.group() not in page.content()
