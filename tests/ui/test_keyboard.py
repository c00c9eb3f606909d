"""The console without a mouse."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.ui.browser import PageOpener
from tests.ui.demo.people import TENANT
from tests.ui.demo.system import DemoSystem
from tests.ui.route_table import read_navigation

_FOCUSED = """() => {
    const found = document.activeElement;
    if (found === null || found === document.body) return null;
    const style = getComputedStyle(found);
    return {
        name: (found.getAttribute('aria-label') ?? found.textContent ?? '').trim().slice(0, 60),
        tag: found.tagName.toLowerCase(),
        // The field of a segmented control is hidden; its label is what people see.
        visible: [found, ...(found.labels ?? [])].some((each) => each.getClientRects().length > 0 && each.offsetWidth > 0),
        marked: style.outlineStyle !== 'none' || style.boxShadow !== 'none' || found.matches('input, select, textarea'),
        path: [...document.querySelectorAll('*')].indexOf(found),
    };
}"""
_BEGIN = """() => {
    document.body.tabIndex = -1;
    document.body.focus();
    document.body.removeAttribute('tabindex');
}"""
"""Lets the next Tab go to the first element of the page, not to that after its heading."""
_MOST_STEPS = 600


def walk(page: Page) -> list[dict[str, object]]:
    """Press Tab until the focus is where it was before. Return what had it, in order."""
    found: list[dict[str, object]] = []
    for _ in range(_MOST_STEPS):
        page.keyboard.press("Tab")
        focused = page.evaluate(_FOCUSED)
        if focused is None or any(focused["path"] == each["path"] for each in found):
            return found
        found.append(focused)
    raise AssertionError(f"the focus goes on for ever: {found[-5:]}")


@pytest.mark.parametrize(("path", "name"), read_navigation(), ids=lambda value: str(value or "home"))
def test_the_focus_is_always_seen_and_goes_through_the_whole_page(path: str, name: str, pages: PageOpener) -> None:
    observed = pages.open(f"/t/{TENANT}/{path}".rstrip("/"))
    observed.page.evaluate(_BEGIN)
    focused = walk(observed.page)
    assert len(focused) > len(read_navigation()), focused
    hidden = [each for each in focused if not each["visible"] or not each["marked"]]
    assert not hidden, f"{name}: {hidden}"


def test_the_skip_link_leads_to_the_page(pages: PageOpener) -> None:
    observed = pages.open(f"/t/{TENANT}")
    observed.page.evaluate(_BEGIN)
    observed.page.keyboard.press("Tab")
    link = observed.page.get_by_role("link", name="Skip to the page")
    expect(link).to_be_focused()
    expect(link).to_be_in_viewport()
    observed.page.keyboard.press("Enter")
    expect(observed.page.get_by_role("main")).to_be_focused()


def test_a_step_to_another_page_moves_the_focus_to_its_heading_and_changes_the_title(pages: PageOpener) -> None:
    observed = pages.open(f"/t/{TENANT}")
    for shortcut, name in (("a", "Audit log"), ("q", "Quick start")):
        observed.page.keyboard.press("g")
        observed.page.keyboard.press(shortcut)
        expect(observed.page.get_by_role("heading", level=1, name=name)).to_be_focused()
        expect(observed.page).to_have_title(re.compile(f"^{name}"))
        observed.settle()


def test_the_palette_jumps_to_a_request_by_its_id(pages: PageOpener, demo: DemoSystem) -> None:
    observed = pages.open(f"/t/{TENANT}")
    observed.page.keyboard.press("Control+k")
    field = observed.page.get_by_role("combobox", name=re.compile("A page, a key"))
    expect(field).to_be_focused()
    observed.page.keyboard.type(demo.request_ids[0])
    expect(observed.page.get_by_role("option").first).to_contain_text(demo.request_ids[0])
    observed.page.keyboard.press("Enter")
    observed.page.wait_for_url(re.compile(demo.request_ids[0]))
    observed.settle()


def test_escape_closes_what_is_open_and_the_focus_returns(pages: PageOpener) -> None:
    observed = pages.open(f"/t/{TENANT}")
    opener = observed.page.get_by_role("button", name=re.compile("Search or jump to…"))
    opener.focus()
    observed.page.keyboard.press("Enter")
    dialog = observed.page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    observed.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(opener).to_be_focused()


def test_shortcuts_are_listed_and_can_be_switched_off(pages: PageOpener) -> None:
    observed = pages.open(f"/t/{TENANT}")
    observed.page.keyboard.press("?")
    expect(observed.page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    observed.page.get_by_role("switch", name="Shortcuts of single letters").press("Space")
    observed.page.keyboard.press("Escape")
    expect(observed.page.get_by_role("dialog")).to_have_count(0)
    observed.page.keyboard.press("g")
    observed.page.keyboard.press("a")
    observed.page.keyboard.press("?")
    expect(observed.page.get_by_role("dialog")).to_have_count(0)
    assert observed.page.url.endswith(f"/t/{TENANT}")
