"""What Lighthouse (https://github.com/GoogleChrome/lighthouse, Apache-2.0) says about pages of the demo system.

`python -m tests.ui.lighthouse [PAGE …]` prints a table, by default of Home and Usage. Its performance depends on what else the
machine does, so no test asserts it.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deploy.console_page import npm
from deploy.console_page.build import build
from deploy.console_page.sources import PageSources
from tests.ui.chromium import ARGUMENTS, find_chromium
from tests.ui.demo.people import Person
from tests.ui.demo.seed import seed
from tests.ui.demo.system import COOKIE, DemoSystem, running_demo
from tests.ui.node_packages import installed_packages
from tests.ui.route_table import read_pages

GOALS: Final = {"accessibility": 95, "performance": 90}
_SECONDS: Final = 120
_METRICS: Final = {
    "first-contentful-paint": "FCP",
    "largest-contentful-paint": "LCP",
    "total-blocking-time": "TBT",
    "cumulative-layout-shift": "CLS",
}


@dataclass(frozen=True)
class LighthouseReport:
    """The scores of one page, of 100, and what its audits say."""

    scores: dict[str, int]
    metrics: dict[str, str]
    failed_audits: list[str]


def measure(demo: DemoSystem, path: str, person: Person, categories: Sequence[str]) -> LighthouseReport:
    """Return what Lighthouse says about a page as it is shown to this person. Raises AssertionError if it cannot run."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "report.json"
        headers = {"Cookie": f"{COOKIE}={demo.session(person)}"}
        command = (
            npm.node(),
            installed_packages() / "lighthouse" / "cli" / "index.js",
            f"{demo.console_url}{path}",
            "--quiet",
            "--preset=desktop",
            "--output=json",
            f"--output-path={output}",
            f"--extra-headers={json.dumps(headers)}",
            f"--only-categories={','.join(categories)}",
            "--max-wait-for-load=15000",  # the stream of events never ends
            f"--chrome-flags=--headless=new {' '.join(ARGUMENTS)}",
        )
        environment = {**os.environ, "CHROME_PATH": str(find_chromium()), "TMPDIR": folder}
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"Lighthouse fails at {path}: {done.stderr[-2000:]}"
        return _read(json.loads(output.read_text()))


def _read(found: dict[str, Any]) -> LighthouseReport:
    assert "runtimeError" not in found, found["runtimeError"]
    audits: dict[str, Any] = found["audits"]
    categories: dict[str, Any] = found["categories"]
    weighted = [item["id"] for category in categories.values() for item in category["auditRefs"] if item["weight"]]
    return LighthouseReport(
        scores={name: round(100 * category["score"]) for name, category in categories.items()},
        metrics={short: str(audits[name]["displayValue"]) for name, short in _METRICS.items() if name in audits},
        failed_audits=[
            f"{name}: {audits[name]['title']}" for name in weighted if (audits[name].get("score") or 0) < 0.9
        ],
    )


def main(names: Sequence[str]) -> int:
    """Print the figures of these pages; return 1 if one is below its goal."""
    chosen = [page for page in read_pages() if page.name in (names or ("home", "usage"))]
    build(PageSources(), lambda text: print(text, file=sys.stderr))
    below = False
    with tempfile.TemporaryDirectory() as folder, running_demo(Path(folder) / "home") as demo:
        seed(demo)
        print(f"{'page':<20}{'accessibility':>14}{'performance':>13}  metrics")
        for page in chosen:
            found = measure(demo, page.address(demo), page.person, tuple(GOALS))
            metrics = "  ".join(f"{name} {value}" for name, value in found.metrics.items())
            print(f"{page.name:<20}{found.scores['accessibility']:>14}{found.scores['performance']:>13}  {metrics}")
            below = below or any(found.scores[name] < goal for name, goal in GOALS.items())
    return int(below)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
