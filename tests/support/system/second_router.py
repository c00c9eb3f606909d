"""Another router beside that of a running system."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.repository.files import ROOT
from tests.support.system.keyferry_system import KeyferrySystem
from tests.support.waiting import until


@contextmanager
def second_router(system: KeyferrySystem, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run another router with the settings of the first; yield its process, which may be killed."""
    pairs = Path(f"/proc/{system.pid('router')}/environ").read_text().split("\0")
    environment = dict(pair.split("=", 1) for pair in pairs if pair) | {
        "KEYFERRY_SLOT": "2",
        "KEYFERRY_METRICS_PORT": "0",
    }
    with log.open("wb") as output:
        router = subprocess.Popen([sys.executable, "-m", "services.router"], cwd=ROOT, env=environment, stderr=output)
    try:
        until("a second router is ready", lambda: '"ready"' in log.read_text())
        yield router
    finally:
        router.terminate()
        router.wait()
