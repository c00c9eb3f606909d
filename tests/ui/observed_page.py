"""A page in the browser, and everything that went wrong on it: the test fails at its end for what it did not expect."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, Response

OBSERVER = (Path(__file__).parent / "observe.js").read_text()
READY_MS: Final = 15_000
_ABORTED = "net::ERR_ABORTED"
"""What the browser calls a request that the page itself has given up, as when somebody goes to another page."""
_NO_REQUEST = ("data", "blob", "about")


@dataclass
class ObservedPage:
    """A page and the problems that were seen on it."""

    page: Page
    allowed_origins: frozenset[str]
    problems: list[str] = field(default_factory=list)
    expected: list[re.Pattern[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.problems.append(f"page error: {error}"))
        self.page.on("request", self._on_request)
        self.page.on("requestfailed", self._on_failed)
        self.page.on("response", self._on_response)

    def expect(self, pattern: str) -> None:
        """Expect problems that match this regular expression; those that were seen before count, too."""
        self.expected.append(re.compile(pattern))

    def unexpected(self) -> list[str]:
        """Return the problems that no test has expected."""
        return [problem for problem in self.problems if not any(each.search(problem) for each in self.expected)]

    def wait_until_ready(self) -> None:
        """Wait until the page has a heading, and neither an open request nor anything that is marked as loading."""
        self.page.wait_for_function("() => window.__observed?.readyAt != null", timeout=READY_MS)

    def open(self, url: str) -> None:
        """Load an address as one that was typed in, and wait until the page is ready."""
        self.page.goto(url, wait_until="commit")
        self.wait_until_ready()

    def settle(self) -> None:
        """Wait until the page is ready again, after something was done on it."""
        self.page.evaluate("() => window.__observed.restart()")
        self.wait_until_ready()

    def ready_ms(self) -> float:
        """Return how long after the start of its loading the page was ready, in milliseconds."""
        return float(self.page.evaluate("() => window.__observed.readyAt"))

    def layout_shift(self) -> float:
        """Return the sum of the shifts of the layout since the page was loaded that nobody has caused by an input."""
        return float(self.page.evaluate("() => window.__observed.layoutShift"))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            place = str(message.location.get("url", ""))
            self.problems.append(f"console {message.type}: {message.text} ({place})")

    def _on_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in _NO_REQUEST and f"{parts.scheme}://{parts.netloc}" not in self.allowed_origins:
            self.problems.append(f"request to another host: {request.method} {request.url}")

    def _on_failed(self, request: Request) -> None:
        if request.failure != _ABORTED:
            self.problems.append(f"failed request: {request.method} {request.url}: {request.failure}")

    def _on_response(self, response: Response) -> None:
        if response.status >= 400:
            self.problems.append(f"status {response.status}: {response.request.method} {response.url}")


def observe(context: BrowserContext, allowed_origins: frozenset[str]) -> ObservedPage:
    """Open a page in this context, whose problems are collected from the start."""
    return ObservedPage(context.new_page(), allowed_origins)
