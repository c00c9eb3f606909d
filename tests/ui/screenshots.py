"""The pictures of the documents: `python -m tests.ui.screenshots [PAGE …]` takes them of the demo system, anew.

They are WebP, which Chromium itself encodes, so that no picture is larger than it has to be.
"""

import base64
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser

from deploy.console_page.build import build
from deploy.console_page.sources import PageSources
from tests.support.repository.files import ROOT
from tests.support.waiting import until
from tests.ui.browser import WIDE, PageOpener, running_browser
from tests.ui.demo.people import OWNER, TENANT
from tests.ui.demo.providers import OUTAGE
from tests.ui.demo.seed import seed
from tests.ui.demo.system import DemoSystem, running_demo
from tests.ui.route_table import ConsolePage, read_pages

IMAGES: Final = ROOT / "docs" / "images"
PICTURED: Final = ("home", "usage", "requests-requestId", "traces-trace", "keys", "routing", "health")
_NAMES: Final = {"requests-requestId": "request", "traces-trace": "trace"}
_OF_ONE_REQUEST: Final = {"requests-requestId": "requests", "traces-trace": "traces"}
_LEVEL: Final = "eco"
"""A power level, which several providers can serve."""
_SPANS: Final = 10
"""Of a request with two attempts: three to the first decision, one of the second; itself, its call and its record of each."""
MAX_BYTES: Final = 150_000
_QUALITIES: Final = (0.92, 0.85, 0.75, 0.6)
_ENCODE: Final = """async ([picture, quality]) => {
    const image = new Image();
    image.src = `data:image/png;base64,${picture}`;
    await image.decode();
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [image.width, image.height];
    canvas.getContext('2d').drawImage(image, 0, 0);
    return canvas.toDataURL('image/webp', quality).split(',')[1];
}"""


def main(names: Sequence[str]) -> None:
    """Take the pictures of these pages, by default of all that documents show."""
    chosen = [page for page in read_pages() if page.name in (names or PICTURED)]
    build(PageSources(), print)
    with tempfile.TemporaryDirectory() as folder, running_demo(Path(folder) / "home") as demo:
        seed(demo)
        with running_browser() as browser:
            for page in chosen:
                path = _take(browser, demo, page)
                print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} KB")


def _address(demo: DemoSystem, page: ConsolePage) -> str:
    """Return the address to show: of a request that went on to another provider, if it is the page of one."""
    if page.name not in _OF_ONE_REQUEST:
        return page.address(demo)
    return f"/t/{TENANT}/{_OF_ONE_REQUEST[page.name]}/{_fall_back(demo)}"


def _fall_back(demo: DemoSystem) -> str:
    """Send a request whose first provider is down; return its id once its records and its spans can be read."""

    def served() -> list[str]:
        listed = demo.get(OWNER, "/requests?outcome=completed&limit=200").json()["data"]
        return [each["provider"] for each in listed if each["model_asked"] == _LEVEL]

    provider = until("a request of the level is recorded", served)[0]
    demo.providers.outages[provider] = OUTAGE
    try:
        answer = demo.ask(TENANT, _LEVEL, "Summarize the last message.", headers={"x-operation": "translate"})
    finally:
        del demo.providers.outages[provider]
    request_id = str(answer.headers["x-request-id"])
    assert int(answer.headers["x-keyferry-attempts"]) > 1, f"{provider} was not asked first"
    until(
        "every span of the request is stored",
        lambda: len(demo.get(OWNER, f"/traces/{request_id}").json()["rows"]) >= _SPANS,
    )
    return request_id


def _take(browser: Browser, demo: DemoSystem, page: ConsolePage) -> Path:
    opener = PageOpener(browser, demo)
    observed = opener.open(_address(demo, page), page.person, size=WIDE)
    taken = observed.page.screenshot(animations="disabled", caret="hide")
    observed.page.goto("about:blank")
    path = IMAGES / f"console-{_NAMES.get(page.name, page.name)}.webp"
    path.parent.mkdir(exist_ok=True)
    for quality in _QUALITIES:
        encoded: str = observed.page.evaluate(_ENCODE, [base64.b64encode(taken).decode(), quality])
        path.write_bytes(base64.b64decode(encoded))
        if path.stat().st_size <= MAX_BYTES:
            break
    opener.close()
    return path


if __name__ == "__main__":
    main(sys.argv[1:])
