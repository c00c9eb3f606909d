"""Keeps the built page equal to its sources: one build at a time, and never half of one in the place that is served.

`dist` has the digest of its sources in a file. A page of other sources is built anew in another folder, which then takes its
place; until then there is the earlier one, or none after `withdraw_if_stale`.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.console_page import npm
from deploy.console_page.errors import PageProblem
from deploy.console_page.sources import PageSources

DIGEST_NAME = ".digest"
_INSTALLED_NAME = ".keyferry-digest"
_INSTALL_SECONDS = 240.0
_BUILD_SECONDS = 180.0
_COMPRESS_SECONDS = 60.0

Log = Callable[[str], None]


def is_current(sources: PageSources) -> bool:
    """Return whether the built page is of exactly these sources. Raises PageProblem."""
    return _read(sources.dist / DIGEST_NAME) == sources.digest()


def withdraw_if_stale(sources: PageSources) -> bool:
    """Remove a page that was built of other sources, so that nobody is served it; return whether the page is current.

    Raises PageProblem.
    """
    if is_current(sources):
        return True
    with _lock(sources):
        if not is_current(sources):
            _remove(sources.dist)
            return False
    return True


def build(sources: PageSources, log: Log) -> bool:
    """Build the page if it is not of these sources; return whether it was built. Raises PageProblem."""
    with _lock(sources):
        digest = sources.digest()
        if _read(sources.dist / DIGEST_NAME) == digest:
            return False
        install_packages(sources, log, development=False)
        log("building the console's page")
        made = sources.web / "dist.new"
        _remove(made)
        # The script ends with `vite build`, which takes these arguments.
        command = ("run", "--silent", "build", "--", "--outDir", made, "--emptyOutDir", "--logLevel", "error")
        npm.run(sources.web, command, timeout_seconds=_BUILD_SECONDS, capture=True)
        if not (made / "index.html").is_file():
            raise PageProblem(f"`npm run build` in {sources.web} has written no index.html to {made}")
        compress = (sources.builder / "compress.mjs", made)
        npm.run_node(sources.web, compress, "compressing the page", timeout_seconds=_COMPRESS_SECONDS, capture=True)
        if sources.digest() != digest:
            raise PageProblem("a source of the page has changed while it was built: run `make page` again")
        (made / DIGEST_NAME).write_text(digest)
        _remove(sources.dist)
        made.rename(sources.dist)
    return True


def run_script(sources: PageSources, script: str, log: Log, *, timeout_seconds: float) -> None:
    """Run a script of package.json with the packages of its lock file. Raises PageProblem."""
    with _lock(sources):
        install_packages(sources, log, development=True)
    npm.run(sources.web, ("run", "--silent", script), timeout_seconds=timeout_seconds, capture=False)


def install_packages(sources: PageSources, log: Log, *, development: bool) -> None:
    """Install npm's packages unless they are those of the lock file. The caller has the lock. Raises PageProblem.

    Those for development are what checks the sources; a build does without them.
    """
    digest, stamp = sources.packages_digest(), sources.node_modules / _INSTALLED_NAME
    everything, for_building = f"{digest} with those for development", digest
    if _read(stamp) not in (everything, *(() if development else (for_building,))):
        log("installing npm's packages for the console's page")
        npm.install(sources.web, timeout_seconds=_INSTALL_SECONDS, development=development)
        sources.node_modules.mkdir(exist_ok=True)  # npm makes none for a page without packages
        stamp.write_text(everything if development else for_building)


@contextmanager
def _lock(sources: PageSources) -> Iterator[None]:
    """Hold the lock of these sources. The kernel releases it if the process ends. Raises PageProblem."""
    path = sources.web / ".build-lock"
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise PageProblem(f"{path} cannot be written: {error.strerror}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    except OSError as error:
        raise PageProblem(f"the page cannot be written to {error.filename}: {error.strerror}") from None
    finally:
        os.close(file)


def _remove(folder: Path) -> None:
    """Remove a folder that others may read at this moment: at once under its name, then what is in it."""
    if folder.exists():
        away = folder.with_name(f"{folder.name}.old")
        shutil.rmtree(away, ignore_errors=True)
        folder.rename(away)
        shutil.rmtree(away, ignore_errors=True)


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return None
