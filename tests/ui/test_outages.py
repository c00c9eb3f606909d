"""The management API is away, answers with errors, or ends the session, while somebody has a page open."""

import re

import pytest
from playwright.sync_api import Route, expect

from tests.ui.accessibility import violations
from tests.ui.browser import PageOpener
from tests.ui.demo.people import OWNER, TENANT
from tests.ui.demo.system import COOKIE, DemoSystem
from tests.ui.route_table import ConsolePage, read_pages

_PAGES = read_pages()
_SESSION = re.compile(r"/api/v1/session$")
_API = re.compile(r"/api/v1/(?!session$)")


def unavailable(route: Route) -> None:
    """Answer as the console does while the service behind a route is away."""
    route.fulfill(
        status=503,
        content_type="application/json",
        body='{"error": {"message": "nobody answers: is usage-ledger running?", "type": "server_error",'
        ' "param": null, "code": "service_unavailable"}, "request_id": "req_outage"}',
    )


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_a_page_says_what_failed_when_the_api_answers_with_an_error(
    page: ConsolePage, pages: PageOpener, demo: DemoSystem
) -> None:
    context = pages.context(page.person)
    context.route(_API, unavailable)
    observed = pages.page(context)
    observed.expect("503")
    observed.open(f"{demo.console_url}{page.address(demo)}")
    expect(observed.page.get_by_role("heading", level=1)).to_have_count(1)
    assert observed.page.get_by_role("main").inner_text().strip()
    assert "undefined" not in observed.page.get_by_role("main").inner_text()
    found = violations(observed.page)
    assert not found, "\n".join(map(str, found))


@pytest.mark.parametrize("path", ["usage", "requests", "keys"])
def test_a_page_recovers_when_it_is_asked_to_try_again(path: str, pages: PageOpener, demo: DemoSystem) -> None:
    context = pages.context()
    context.route(_API, unavailable)
    observed = pages.page(context)
    observed.expect("503")
    observed.open(f"{demo.console_url}/t/{TENANT}/{path}")
    shown = observed.page.get_by_role("alert").filter(has_text="Could not load")
    expect(shown.first).to_be_visible()
    expect(shown.first).to_contain_text("not affected")
    context.unroute(_API)
    while shown.count():
        shown.first.get_by_role("button", name="Try again").click()
        observed.settle()
    expect(observed.page.get_by_role("main")).not_to_contain_text("Could not load")


def test_a_console_that_is_away_says_so_and_comes_back(pages: PageOpener, demo: DemoSystem) -> None:
    context = pages.context()
    context.route(_SESSION, lambda route: route.abort("connectionrefused"))
    observed = pages.page(context)
    observed.expect("ERR_CONNECTION_REFUSED")
    observed.open(f"{demo.console_url}/t/{TENANT}")
    expect(observed.page.get_by_role("alert")).to_contain_text("Could not load the console")
    context.unroute(_SESSION)
    observed.page.get_by_role("button", name="Try again").click()
    expect(observed.page.get_by_role("navigation", name="Pages")).to_be_visible()
    observed.settle()


def test_a_session_that_ends_over_a_form_leaves_what_was_typed(pages: PageOpener, demo: DemoSystem) -> None:
    session = demo.session(OWNER, fresh=True)
    context = pages.context(session=session)
    observed = pages.page(context)
    observed.expect("401")
    observed.open(f"{demo.console_url}/t/{TENANT}/members?tab=invitations")
    observed.page.get_by_role("button", name=re.compile("^Invite")).first.click()
    field = observed.page.get_by_role("textbox", name=re.compile("address|email", re.IGNORECASE))
    field.fill("new@acme.example")
    demo.end_session(session)
    observed.page.get_by_role("dialog").get_by_role("button", name=re.compile("^Invite|^Send")).click()
    ended = observed.page.get_by_role("dialog", name="Your session has ended")
    expect(ended).to_be_visible()
    context.add_cookies(
        [{"name": COOKIE, "value": demo.session(OWNER, fresh=True), "url": demo.console_url, "httpOnly": True}]
    )
    ended.get_by_role("button", name="I have signed in").click()
    expect(ended).to_have_count(0)
    expect(field).to_have_value("new@acme.example")
