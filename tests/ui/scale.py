"""How soon pages are there for a tenant with a million requests: `python -m tests.ui.scale [--quick]` prints a table.

A page is there when it has its heading and all its data: nothing is marked as loading, and no request is open. Each
load is one of the whole document, with the scripts in the browser's cache.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from deploy.console_page.build import build
from deploy.console_page.sources import PageSources
from tests.ui.browser import PageOpener, running_browser
from tests.ui.demo.people import TENANT
from tests.ui.demo.seed import seed
from tests.ui.demo.system import running_demo
from tests.ui.observed_page import ObservedPage
from tests.ui.scale_data import fill_demo

GOAL_MS: Final = 500
_SAMPLES: Final = 7
_PAGES: Final = {
    "Home": "",
    "Usage": "usage",
    "Usage, 30 days": "usage?range=30d",
    "Requests": "requests",
    "Requests, failed": "requests?outcome=failed",
    "Provider keys": "keys",
    "Client tokens": "tokens",
    "Audit log": "audit",
    "Model catalog": "catalog",
}


def _time_loads(observed: ObservedPage, address: str) -> list[float]:
    """Return the milliseconds of several loads, the first of which fills the caches and does not count."""
    found = []
    for _ in range(_SAMPLES + 1):
        observed.open(address)
        found.append(observed.ready_ms())
    return found[1:]


def main(arguments: Sequence[str]) -> int:
    """Measure; return 1 if the median of a page is above the goal."""
    parser = argparse.ArgumentParser(prog="python -m tests.ui.scale")
    parser.add_argument("--quick", action="store_true", help="a hundredth of the data")
    part = 100 if parser.parse_args(arguments).quick else 1
    build(PageSources(), lambda text: print(text, file=sys.stderr))
    missed = False
    with tempfile.TemporaryDirectory() as folder, running_demo(Path(folder) / "home") as demo:
        seed(demo, past=False)
        began = time.monotonic()
        fill_demo(demo, requests=1_000_000 // part, tokens=10_000 // part, keys=10_000 // part)
        print(f"filled in {time.monotonic() - began:.0f} s", file=sys.stderr)
        with running_browser() as browser:
            opener = PageOpener(browser, demo)
            observed = opener.page(opener.context())
            print(f"{'page':<20}{'median ms':>10}{'worst ms':>10}")
            for name, path in _PAGES.items():
                found = _time_loads(observed, f"{demo.console_url}/t/{TENANT}/{path}".rstrip("/"))
                median = statistics.median(found)
                missed = missed or median > GOAL_MS
                print(f"{name:<20}{median:>10.0f}{max(found):>10.0f}{'  too slow' if median > GOAL_MS else ''}")
            for problem in opener.close():
                print(problem, file=sys.stderr)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
