"""The Chromium that the tests of the page drive.

`python -m tests.ui.chromium` prints its path. Where there is none and root runs Debian, it installs Debian's first.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

SETTING = "KEYFERRY_CHROMIUM"
"""Names the program, where it is not found by itself."""
NAMES = ("chromium", "chromium-headless-shell", "google-chrome", "google-chrome-stable", "chromium-browser")
ARGUMENTS = (
    "--no-sandbox",  # Chromium's sandbox refuses root, and the pages are our own
    "--disable-dev-shm-usage",  # containers have a small /dev/shm
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
    "--disable-gpu",
)
_INSTALL_SECONDS = 600
_REMEDY = f"install a Chromium: `apt-get install chromium` on Debian, or set {SETTING} to the program of one"


class NoChromium(Exception):
    """No browser was found; the message says what to install."""


def find_chromium(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the program. Raises NoChromium."""
    if named := environment.get(SETTING):
        if not os.access(named, os.X_OK):
            raise NoChromium(f"{SETTING} names {named}, which is no program: correct it, or unset it")
        return Path(named)
    for name in NAMES:
        if found := shutil.which(name, path=environment.get("PATH")):
            return Path(found)
    raise NoChromium(f"the tests of the page need a browser, and none of {', '.join(NAMES)} is on PATH: {_REMEDY}")


def ensure_chromium() -> Path:
    """Return the program, after Debian's was installed if there is none. Raises NoChromium."""
    try:
        return find_chromium()
    except NoChromium:
        if os.environ.get(SETTING) or os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise
    print("No Chromium on PATH: installing Debian's", file=sys.stderr, flush=True)
    for command in (["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends", "chromium"]):
        try:
            subprocess.run(
                command,
                check=True,
                stdout=sys.stderr,
                stdin=subprocess.DEVNULL,
                timeout=_INSTALL_SECONDS,
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            raise NoChromium(f"`{' '.join(command)}` failed: {_REMEDY}") from None
    return find_chromium()


if __name__ == "__main__":
    try:
        print(ensure_chromium())
    except NoChromium as error:
        sys.exit(str(error))
