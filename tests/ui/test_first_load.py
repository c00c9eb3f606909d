"""How much a browser loads before it shows the first page."""

import gzip
import re
from pathlib import Path

from playwright.sync_api import Response

from deploy.console_page.sources import PageSources
from tests.ui.browser import PageOpener
from tests.ui.demo.people import TENANT

MAX_SCRIPT_BYTES = 250_000
"""Compressed with gzip, without charts: what is needed until the page has its headings and numbers."""
_CHARTS = re.compile(r"chart|recharts", re.IGNORECASE)
_SCRIPT = re.compile(r'<(?:script|link)[^>]*(?:src|href)="/?([^"]+\.js)"')


def compressed_bytes(script: bytes) -> int:
    return len(gzip.compress(script, 9))


def _is_script(response: Response) -> bool:
    return bool(response.request.resource_type == "script")


def test_what_the_document_names_is_small() -> None:
    dist = PageSources().dist
    named = _SCRIPT.findall((dist / "index.html").read_text())
    assert named, "the document names no script"
    sizes = {Path(name).name: compressed_bytes((dist / name).read_bytes()) for name in named}
    assert sum(sizes.values()) < MAX_SCRIPT_BYTES, sizes


def test_what_the_first_page_loads_is_small(pages: PageOpener) -> None:
    context = pages.context()
    observed = pages.page(context)
    scripts: list[Response] = []
    observed.page.on("response", lambda found: scripts.append(found) if _is_script(found) else None)
    observed.open(f"{pages.demo.console_url}/t/{TENANT}")
    sizes = {each.url.rsplit("/", 1)[-1]: compressed_bytes(each.body()) for each in scripts}
    assert sizes
    without_charts = {name: size for name, size in sizes.items() if not _CHARTS.search(name)}
    assert sum(without_charts.values()) < MAX_SCRIPT_BYTES, sizes
