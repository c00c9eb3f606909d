"""`make examples`, as a reader runs it: every example works, and shows what it says."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.repository.files import ROOT
from tests.support.system.keyferry_system import KeyferrySystem

SHOWN = {
    "01_curl.sh": ["data: ", '"content":"Hello', "data: [DONE]"],
    "02_openai_sdk.py": ["Hello from the SDK"],
    "03_streaming.py": ["Hello as a stream", "tokens: "],
    "04_bus_client.py": ["Hello over the bus", "tokens, by echo, req_"],
    "05_fallback_explained.py": [
        "Hello from the second server (attempt 2, endpoint second)",
        "dropped first/fallback-demo",
        "[already_tried]",
        "1. first, model fallback-demo: failed",
        "too many requests (rate_limit, http_status, status 429)",
        "2. second, model fallback-demo: completed",
    ],
}
"""What a reader sees of each, in this order."""


def test_make_examples_runs_every_example(system: KeyferrySystem, tmp_path: Path) -> None:
    done = subprocess.run(
        # The environment is the test's already: nothing is to be installed.
        ["make", "-o", "env", "examples", f"PYTHON={sys.executable}"],
        cwd=_checkout(system, tmp_path),
        # A reader has curl, wherever this test run was started from.
        env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/local/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    rest = done.stdout
    for name, fragments in SHOWN.items():
        for fragment in (f"--- examples/{name}\n", *fragments):
            _, found, rest = rest.partition(fragment)
            assert found, f"{name}: {fragment!r} is not to be seen, or not in its place:\n{done.stdout}"


def test_every_example_is_known_here() -> None:
    assert {path.name for path in (ROOT / "examples").iterdir() if path.is_file()} == SHOWN.keys()


def _checkout(system: KeyferrySystem, directory: Path) -> Path:
    """Make a checkout with what the examples use, at the address of this system."""
    (directory / "Makefile").symlink_to(ROOT / "Makefile")
    (directory / ".keyferry").symlink_to(system.home)
    (directory / "examples").mkdir()
    here = system.http_url.removeprefix("http://")
    for name in SHOWN:
        text = (ROOT / "examples" / name).read_text().replace("127.0.0.1:8400", here)
        (directory / "examples" / name).write_text(text)
    return directory
