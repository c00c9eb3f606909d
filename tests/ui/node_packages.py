"""axe-core and Lighthouse from npm, installed once into the folder build, with the Node.js of a Python package."""

import fcntl
import hashlib
import shutil
from pathlib import Path

from deploy.console_page import npm
from deploy.console_page.errors import PageProblem
from tests.support.repository.files import ROOT

_SOURCE = Path(__file__).parent / "tools"
_FILES = ("package.json", "package-lock.json")
_CACHE = ROOT / "build" / "page-test-packages"
_INSTALL_SECONDS = 240.0


def installed_packages() -> Path:
    """Return the folder `node_modules` with the packages of the lock file. Raises AssertionError."""
    digest = hashlib.sha256(b"\0".join((_SOURCE / name).read_bytes() for name in _FILES)).hexdigest()[:16]
    folder = _CACHE / digest
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "lock").open("w") as lock:  # several workers of one run may come here at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            unfinished = _CACHE / "unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            for name in _FILES:
                shutil.copy(_SOURCE / name, unfinished)
            try:
                npm.install(unfinished, timeout_seconds=_INSTALL_SECONDS)
            except PageProblem as problem:
                raise AssertionError(f"the tests of the page need the packages of tests/ui/tools. {problem}") from None
            unfinished.rename(folder)
    return folder / "node_modules"
