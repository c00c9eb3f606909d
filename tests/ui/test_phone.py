"""The console on a phone."""

import re

import pytest
from playwright.sync_api import expect

from tests.ui.browser import PHONE, PageOpener
from tests.ui.demo.people import TENANT
from tests.ui.demo.system import DemoSystem
from tests.ui.route_table import ConsolePage, read_pages

SMALLEST_TARGET_PX = 24
_SMALL_TARGETS = """(least) => [...document.querySelectorAll('button, a[href], input, select, [role=tab], [role=switch]')]
    .filter((each) => each.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }))
    .map((each) => [each, each.getBoundingClientRect()])
    .filter(([each, box]) => box.width > 1 && box.height > 1 && Math.min(box.width, box.height) < least
        && getComputedStyle(each).display !== 'inline' && !each.closest('.skip-link'))
    .map(([each, box]) => `${each.outerHTML.slice(0, 120)} is ${Math.round(box.width)}x${Math.round(box.height)}`)"""


def test_the_navigation_is_a_drawer_that_closes_behind_a_page(pages: PageOpener) -> None:
    observed = pages.open(f"/t/{TENANT}", size=PHONE)
    page = observed.page
    menu = page.get_by_role("button", name="Navigation")
    link = page.get_by_role("link", name="Audit log")
    expect(link).not_to_be_in_viewport()
    menu.tap()
    expect(menu).to_have_attribute("aria-expanded", "true")
    expect(link).to_be_in_viewport()
    link.tap()
    expect(page.get_by_role("heading", level=1, name="Audit log")).to_be_in_viewport()
    expect(menu).to_have_attribute("aria-expanded", "false")
    assert re.search(r"/audit$", page.url)
    observed.settle()


@pytest.mark.parametrize("page", read_pages(), ids=lambda page: page.name)
def test_what_can_be_tapped_is_large_enough(page: ConsolePage, pages: PageOpener, demo: DemoSystem) -> None:
    """WCAG 2.5.8 asks for 24 pixels; links within a sentence are excepted."""
    observed = pages.open(page.address(demo), page.person, size=PHONE)
    small = observed.page.evaluate(_SMALL_TARGETS, SMALLEST_TARGET_PX)
    assert not small, "\n".join(small)
