"""People sign in, are sent away, come back, and sign out."""

import re

import pytest
from playwright.sync_api import expect

from tests.ui.accessibility import violations
from tests.ui.browser import PHONE, THEMES, WIDE, PageOpener, Theme, overflow_px
from tests.ui.demo.people import NEW_OWNER, OPERATOR, OTHER_TENANT, OWNER, TENANT
from tests.ui.demo.system import COOKIE, DemoSystem

_SIGNED_OUT = r"401"
"""The browser reports each answer 401 on its console, and asking who is signed in is how the page knows that nobody is."""
OUTSIDE = {
    "sign-in": ("/sign-in", None),
    "sign-in-failed": ("/sign-in?error=access_denied", None),
    "signed-in": ("/signed-in", OWNER),
    "not-found": ("/no/such/page", OWNER),
    "not-a-member": (f"/t/{OTHER_TENANT}", OWNER),
    "not-an-operator": ("/ops/tenants", OWNER),
}
"""Pages without the frame of a tenant."""


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", OUTSIDE)
def test_a_page_outside_of_a_tenant_is_accessible(name: str, theme: Theme, pages: PageOpener) -> None:
    path, person = OUTSIDE[name]
    observed = pages.open(path, person, theme=theme)
    for size in (WIDE, PHONE):
        observed.page.set_viewport_size(size)
        found = violations(observed.page)
        assert not found, "\n".join(map(str, found))
        assert overflow_px(observed.page) <= 0
    expect(observed.page.get_by_role("heading", level=1)).to_have_count(1)
    expect(observed.page).to_have_title(re.compile("Keyferry"))


def test_a_link_of_the_built_in_login_signs_a_browser_in(pages: PageOpener, demo: DemoSystem) -> None:
    context = pages.context(None)
    observed = pages.page(context)
    observed.expect(_SIGNED_OUT)
    observed.page.goto(f"{demo.console_url}/auth/code#{demo.code(OWNER)}")
    observed.page.wait_for_url(re.compile(rf"/t/{TENANT}$"))
    observed.wait_until_ready()
    expect(observed.page.get_by_role("navigation", name="Pages")).to_be_visible()
    (cookie,) = [each for each in context.cookies() if each["name"] == COOKIE]
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"


def test_a_link_signs_in_once(pages: PageOpener, demo: DemoSystem) -> None:
    code = demo.code(OWNER)
    first = pages.page(pages.context(None))
    first.expect(_SIGNED_OUT)
    first.page.goto(f"{demo.console_url}/auth/code#{code}")
    first.page.wait_for_url(re.compile(rf"/t/{TENANT}$"))
    second = pages.page(pages.context(None))
    second.expect(r"40[0-9]")
    second.page.goto(f"{demo.console_url}/auth/code#{code}")
    expect(second.page.get_by_text(re.compile("keyferry login|make console"))).not_to_have_count(0)
    assert not [each for each in pages.contexts[-1].cookies() if each["name"] == COOKIE]


def test_who_is_not_signed_in_is_asked_to_at_the_address_that_was_opened(pages: PageOpener, demo: DemoSystem) -> None:
    observed = pages.page(pages.context(None))
    observed.expect(_SIGNED_OUT)
    observed.open(f"{demo.console_url}/t/{TENANT}/usage?range=7d")
    expect(observed.page.get_by_role("heading", name="Sign in to Keyferry")).to_be_visible()
    assert observed.page.url.endswith(f"/t/{TENANT}/usage?range=7d")


def test_an_operator_acts_for_a_tenant_and_sees_that_it_does(pages: PageOpener) -> None:
    observed = pages.open(f"/t/{TENANT}/members", OPERATOR)
    expect(observed.page.get_by_role("note")).to_contain_text(f"Acting on {TENANT} as operator")


def test_signing_out_ends_the_session(pages: PageOpener, demo: DemoSystem) -> None:
    session = demo.session(NEW_OWNER, fresh=True)
    observed = pages.page(pages.context(NEW_OWNER, session=session))
    observed.expect(_SIGNED_OUT)
    observed.open(f"{demo.console_url}/t/{NEW_OWNER.tenant}")
    observed.page.get_by_role("button", name=re.compile("Account of")).click()
    observed.page.get_by_role("menuitem", name="Sign out").click()
    expect(observed.page.get_by_role("heading", name="Sign in to Keyferry")).to_be_visible()
    observed.page.goto(f"{demo.console_url}/t/{NEW_OWNER.tenant}")
    expect(observed.page.get_by_role("heading", name="Sign in to Keyferry")).to_be_visible()
