"""One browser and one demo system for all tests of the page, and pages whose problems fail the test that opened them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser

from deploy.console_page.build import build
from deploy.console_page.sources import PageSources
from tests.ui.browser import PageOpener, running_browser
from tests.ui.demo.seed import seed
from tests.ui.demo.system import DemoSystem, running_demo

_TEST_SECONDS: Final = 120


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Limit each test by itself: the first one also starts the system and the browser, which have limits of their own."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(_TEST_SECONDS, func_only=True))


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoSystem]:
    """Provide the demo system. Tests may add to it; what they change and others see, they change back."""
    build(PageSources(), print)
    with running_demo(tmp_path_factory.mktemp("demo") / "home", {"KEYFERRY_BILLING": "demo"}) as running:
        seed(running)
        yield running


@pytest.fixture(scope="session")
def browser(demo: DemoSystem) -> Iterator[Browser]:
    """Provide Chromium. It starts after the system: its driver's event loop stays in the thread of the tests."""
    with running_browser() as running:
        yield running


@pytest.fixture
def pages(browser: Browser, demo: DemoSystem) -> Iterator[PageOpener]:
    """Open pages; the test fails for each problem on them that it did not expect."""
    opener = PageOpener(browser, demo)
    yield opener
    problems = opener.close()
    assert not problems, "\n".join(problems)
