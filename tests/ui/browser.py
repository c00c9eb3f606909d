"""The browser of a test run, and the pages that a test opens in it."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, sync_playwright

from tests.support.repository.files import ROOT
from tests.ui.chromium import ARGUMENTS, find_chromium
from tests.ui.demo.people import OWNER, Person
from tests.ui.demo.system import COOKIE, DemoSystem
from tests.ui.observed_page import OBSERVER, ObservedPage, observe

Theme = Literal["light", "dark"]
THEMES: Final[tuple[Theme, ...]] = ("light", "dark")
WIDE: Final = ViewportSize(width=1440, height=900)
TABLET: Final = ViewportSize(width=900, height=1024)
PHONE: Final = ViewportSize(width=390, height=844)
SIZES: Final = {"wide": WIDE, "tablet": TABLET, "phone": PHONE}
SCREENSHOTS: Final = ROOT / "build" / "screenshots"
_ACTION_MS: Final = 10_000


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Start Chromium, and end it with the block. Raises NoChromium."""
    program = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class PageOpener:
    """Opens pages of the demo system for people; knows what went wrong on any of them."""

    browser: Browser
    demo: DemoSystem
    opened: list[ObservedPage] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    def context(
        self,
        person: Person | None = OWNER,
        *,
        theme: Theme = "light",
        size: ViewportSize = WIDE,
        time_zone: str = "UTC",
        session: str | None = None,
    ) -> BrowserContext:
        """Return a new browser profile in which somebody is signed in, or with None nobody.

        `session` is a session of this profile's own, for tests that end it.
        """
        context = self.browser.new_context(
            viewport=size,
            color_scheme=theme,
            reduced_motion="reduce",
            locale="en-GB",
            timezone_id=time_zone,
            base_url=self.demo.console_url,
            has_touch=size["width"] < 600,
        )
        context.set_default_timeout(_ACTION_MS)
        context.add_init_script(OBSERVER)
        if person is not None:
            value = session or self.demo.session(person)
            context.add_cookies([{"name": COOKIE, "value": value, "url": self.demo.console_url, "httpOnly": True}])
        self.contexts.append(context)
        return context

    def page(self, context: BrowserContext) -> ObservedPage:
        """Return a new tab of a profile."""
        self.opened.append(observe(context, self.demo.origins))
        return self.opened[-1]

    def open(
        self,
        path: str,
        person: Person | None = OWNER,
        *,
        theme: Theme = "light",
        size: ViewportSize = WIDE,
        time_zone: str = "UTC",
    ) -> ObservedPage:
        """Open a path in a profile of its own, and wait until the page is ready."""
        found = self.page(self.context(person, theme=theme, size=size, time_zone=time_zone))
        found.open(f"{self.demo.console_url}{path}")
        return found

    def close(self) -> list[str]:
        """Close all profiles. Return the problems that no test has expected."""
        found = list(itertools.chain.from_iterable(page.unexpected() for page in self.opened))
        for context in self.contexts:
            context.close()
        return found


@contextmanager
def picture_of_failure(page: Page, name: str) -> Iterator[None]:
    """Take a picture of the whole page into build/screenshots if the block fails."""
    try:
        yield
    except AssertionError:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True, animations="disabled", caret="hide")
        raise


def overflow_px(page: Page) -> int:
    """Return by how many pixels the page is wider than the window; regions of it may scroll by themselves."""
    return int(page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth"))
