"""What holds for every page, in both themes and at three widths."""

import pytest

from tests.ui.accessibility import violations
from tests.ui.browser import PHONE, SIZES, THEMES, WIDE, PageOpener, Theme, overflow_px, picture_of_failure
from tests.ui.demo.people import EMPTY_TENANT, NEW_OWNER, VIEWER
from tests.ui.demo.system import DemoSystem
from tests.ui.observed_page import ObservedPage
from tests.ui.route_table import ConsolePage, read_navigation, read_pages

PAGES = read_pages()
LAYOUT_SHIFT = 0.1
_LANDMARKS = """() => ({
    headings: [...document.querySelectorAll('h1')].map((each) => each.textContent.trim()),
    main: document.querySelectorAll('main').length,
    nav: document.querySelectorAll('nav').length,
    banner: document.querySelectorAll('header').length,
    language: document.documentElement.lang,
})"""


def check_accessible(observed: ObservedPage, place: str) -> None:
    """Fail for every rule of axe that the page breaks, and for a page that is wider than the window."""
    found = violations(observed.page)
    assert not found, f"{place}:\n" + "\n".join(map(str, found))
    assert overflow_px(observed.page) <= 0, (
        f"{place}: the page is {overflow_px(observed.page)} px wider than the window"
    )


def check_structure(observed: ObservedPage) -> None:
    """Fail unless the page has one heading, a title with it, a main region and a navigation."""
    found = observed.page.evaluate(_LANDMARKS)
    assert len(found["headings"]) == 1, found
    assert found["headings"][0]
    assert observed.page.title().endswith("Keyferry")
    assert len(observed.page.title()) > len("Keyferry")
    assert found["main"] == 1, found
    assert found["nav"] >= 1, found
    assert found["language"] == "en", found


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_accessible_in_each_theme_and_width(
    page: ConsolePage, theme: Theme, pages: PageOpener, demo: DemoSystem
) -> None:
    """Load the page in the first width, which the layout must not shift in, and resize it to the others."""
    first = WIDE if theme == "light" else PHONE
    observed = pages.open(page.address(demo), page.person, theme=theme, size=first)
    shift = observed.layout_shift()
    check_structure(observed)
    for width, size in SIZES.items():
        observed.page.set_viewport_size(size)
        observed.settle()
        with picture_of_failure(observed.page, f"{page.name}-{width}-{theme}"):
            check_accessible(observed, f"{page.name}, {width}, {theme}")
    assert shift <= LAYOUT_SHIFT, f"the layout of {page.name} shifts by {shift:.3f}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.path.startswith("/t/")], ids=lambda page: page.name)
def test_a_page_is_accessible_to_somebody_who_may_only_look(
    page: ConsolePage, pages: PageOpener, demo: DemoSystem
) -> None:
    observed = pages.open(page.address(demo), VIEWER)
    check_structure(observed)
    check_accessible(observed, page.name)


@pytest.mark.parametrize(("path", "name"), read_navigation(), ids=lambda value: str(value or "home"))
def test_a_page_without_anything_to_show_is_accessible(path: str, name: str, pages: PageOpener) -> None:
    observed = pages.open(f"/t/{EMPTY_TENANT}/{path}".rstrip("/"), NEW_OWNER)
    if path == "recommendations":
        observed.expect(r"status (of )?409")  # its tier does not include them, which the page says
    check_structure(observed)
    check_accessible(observed, name)


def test_every_page_of_the_navigation_has_a_route() -> None:
    paths = {page.path.removeprefix("/t/acme").strip("/") for page in PAGES if page.path.startswith("/t/")}
    assert {path for path, _ in read_navigation()} <= paths
