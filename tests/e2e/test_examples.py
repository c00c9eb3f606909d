"""`make examples`, as a reader runs it: every example works, and shows what it says."""

import os
import subprocess
import sys
from collections.abc import ItemsView
from pathlib import Path

import pytest

from tests.support.repository.files import ROOT
from tests.support.system.keyferry_system import KeyferrySystem
from tests.support.waiting import until

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
    "06_support_assistant.py": [
        "customer: My invoice is missing\nassistant: My invoice is missing\n",
        "assistant: Please send it again",
        "7 messages in the history",
    ],
    "07_lead_pipeline.py": [
        "to ada: Dear ada, thank you for: We need 200 licences by March",
        "2 vectors by embedder, the first is (2.0, 4.0, 3.0, 8.0, 2.0, 5.0)",
    ],
    "08_meeting_summary.py": ["Summary of the meeting\npart 1: Note what was decided:", "part 4: ", "4 parts, "],
    "09_finance_report.py": ['Report on {"revenue": 120000, "costs": 87500} (by backup, because of overloaded)'],
}
"""What a reader sees of each, in this order."""
REQUESTS = {
    "support.answer": 3,
    "lead.qualify": 2,
    "lead.email": 1,
    "lead.embed": 1,
    "meeting.notes": 4,
    "meeting.summary": 1,
    "finance.report": 1,
}
"""The requests of each operation that the examples name."""
_SECONDS = 480
"""Generous: nine programs, and a dozen commands that they run."""


@pytest.mark.timeout(_SECONDS + 120)
def test_make_examples_runs_every_example(system: KeyferrySystem, tmp_path: Path) -> None:
    done = subprocess.run(
        # The environment is the test's already: nothing is to be installed.
        ["make", "-o", "env", "examples", f"PYTHON={sys.executable}"],
        cwd=_checkout(system, tmp_path),
        # A reader has curl, wherever this test run was started from.
        env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/local/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    rest = done.stdout
    for name, fragments in SHOWN.items():
        for fragment in (f"--- examples/{name}\n", *fragments):
            _, found, rest = rest.partition(fragment)
            assert found, f"{name}: {fragment!r} is not to be seen, or not in its place:\n{done.stdout}"
    until("usage shows the requests of each operation", lambda: _requests_by_operation(system) >= REQUESTS.items())


def _requests_by_operation(system: KeyferrySystem) -> ItemsView[str, int]:
    """Return what a reader sees of them in the usage of the demo tenant."""
    table = system.cli("usage", "--tenant", "demo", "--by", "operation")
    rows = [line.split() for line in table.splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) > 2 and row[1].isdigit()}.items()


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
