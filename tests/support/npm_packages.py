"""Packages of npm that tests need, installed once by the Node.js of a wheel and kept in `build/`."""

import fcntl
import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from deploy.console_page import npm
from deploy.console_page.errors import PageProblem
from tests.support.repository.files import ROOT

_INSTALL_SECONDS = 180


def install_packages(source: Path, name: str, files: Sequence[str] = ("package.json", "package-lock.json")) -> Path:
    """Return a folder with these files of `source` and their packages, after `npm ci` if they have changed.

    Raises AssertionError, which says what is missing.
    """
    digest = hashlib.sha256(b"\0".join((source / file).read_bytes() for file in files)).hexdigest()[:16]
    cache = ROOT / "build" / name
    folder = cache / digest
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:  # several workers of one run may come here at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            unfinished = cache / "unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            for file in files:
                shutil.copy(source / file, unfinished)
            try:
                npm.install(unfinished, timeout_seconds=_INSTALL_SECONDS)
            except PageProblem as problem:
                needed = (source / "package-lock.json").relative_to(ROOT)
                raise AssertionError(
                    f"tests need the packages of {needed}, which are kept in {cache.relative_to(ROOT)}. {problem}"
                ) from None
            unfinished.rename(folder)
    return folder
