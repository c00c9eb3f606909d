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
from tests.ui.browser import WIDE, PageOpener, running_browser
from tests.ui.demo.people import OWNER, TENANT
from tests.ui.demo.seed import seed
from tests.ui.demo.system import DemoSystem, running_demo
from tests.ui.route_table import ConsolePage, read_pages

IMAGES: Final = ROOT / "docs" / "images"
PICTURED: Final = ("home", "usage", "requests-requestId", "traces-trace", "keys", "routing", "health")
_NAMES: Final = {"requests-requestId": "request", "traces-trace": "trace"}
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
    if page.name not in ("requests-requestId", "traces-trace"):
        return page.address(demo)
    listed = demo.get(OWNER, "/requests?limit=200").json()["data"]
    chosen = [each["request_id"] for each in listed if len(each["attempts"]) > 1 and each["outcome"] == "completed"]
    pages = "requests" if page.name == "requests-requestId" else "traces"
    return f"/t/{TENANT}/{pages}/{chosen[0]}" if chosen else page.address(demo)


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
