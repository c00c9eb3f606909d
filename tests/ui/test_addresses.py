"""Addresses that nobody has made with the console: wrong values, unknown names, markup."""

import re
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.ui.browser import PageOpener
from tests.ui.demo.people import TENANT
from tests.ui.demo.system import DemoSystem
from tests.ui.route_table import ConsolePage, read_pages

MARKUP = '"><img src=x onerror=window.__markup=1><script>window.__markup=1</script>'
_ABSENT = re.compile(r"not found|no record|does not exist|nothing|not valid", re.IGNORECASE)
_WRONG = "&".join(
    (
        "range=a-thousand-years",
        "from=yesterday",
        "page=-1",
        "sort=password",
        "limit=99999999999999999999",
        f"provider={quote(MARKUP)}",
        f"q={quote(MARKUP)}",
        f"{quote(MARKUP)}=1",
        "tz=Mars%2FOlympus",
        "outcome=",
        "utf8=%FF%FE",
    )
)


@pytest.mark.parametrize("page", read_pages(), ids=lambda page: page.name)
def test_wrong_parameters_are_ignored_and_named(page: ConsolePage, pages: PageOpener, demo: DemoSystem) -> None:
    observed = pages.open(f"{page.address(demo)}?{_WRONG}", page.person)
    expect(observed.page.get_by_role("heading", level=1)).to_have_count(1)
    assert observed.page.evaluate("() => window.__markup") is None
    expect(observed.page.get_by_text("Part of the address was not understood")).to_be_visible()


@pytest.mark.parametrize("identifier", ["req_0", "req_%3Cscript%3E", "..%2F..%2Fsession", "req_" + "a" * 300])
def test_a_request_that_does_not_exist_is_said_to(identifier: str, pages: PageOpener) -> None:
    observed = pages.page(pages.context())
    observed.expect(r"status (400|404|422)")
    observed.expect(r"Failed to load resource: the server responded with a status of (400|404|422)")
    observed.open(f"{pages.demo.console_url}/t/{TENANT}/requests/{identifier}")
    expect(observed.page.get_by_role("heading", level=1)).to_have_count(1)
    expect(observed.page.get_by_role("main")).to_contain_text(_ABSENT)


def test_a_tenant_of_somebody_else_looks_like_none(pages: PageOpener) -> None:
    texts = []
    for tenant in ("globex", "no-such-tenant"):
        observed = pages.open(f"/t/{tenant}/usage")
        texts.append(observed.page.get_by_role("main").inner_text().replace(tenant, "TENANT"))
    assert texts[0] == texts[1]
