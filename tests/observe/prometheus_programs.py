"""Debian's Prometheus and promtool, for the tests of rules.

`python -m tests.observe.prometheus_programs` prints their folder. Where they are not installed and apt is there, the package is
downloaded and unpacked into `.keyferry/`: it is not installed, so no service starts.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.support.repository.files import ROOT

SETTING = "KEYFERRY_PROMETHEUS_DIR"
"""Names the folder of both programs, where they are not found by themselves."""
NAMES = ("prometheus", "promtool")
UNPACKED = ROOT / ".keyferry" / "prometheus"
_DOWNLOAD_SECONDS = 300
_REMEDY = f"install Prometheus (`apt-get install prometheus` on Debian), or set {SETTING} to the folder of its programs"


class NoPrometheus(Exception):
    """The programs were not found; the message says what to install."""


def find_programs(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of both programs. Raises NoPrometheus."""
    named = environment.get(SETTING)
    on_path = shutil.which(NAMES[0], path=environment.get("PATH"))
    folders = [Path(named)] if named else [*([Path(on_path).parent] if on_path else []), UNPACKED / "usr" / "bin"]
    for folder in folders:
        if all(os.access(folder / name, os.X_OK) for name in NAMES):
            return folder
    raise NoPrometheus(
        f"the tests of rules need {' and '.join(NAMES)}, and {', '.join(map(str, folders))} has not both: {_REMEDY}"
    )


def ensure_programs() -> Path:
    """Return the folder, after Debian's package was unpacked if there is none. Raises NoPrometheus."""
    try:
        return find_programs()
    except NoPrometheus:
        if os.environ.get(SETTING) or shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise
    print("No Prometheus on PATH: unpacking Debian's", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        try:
            _run(["apt-get", "download", "prometheus"], folder)
        except subprocess.CalledProcessError:
            if os.geteuid() != 0:
                raise NoPrometheus(f"apt-get cannot download it: {_REMEDY}") from None
            _run(["apt-get", "update"], folder)  # a fresh image has no lists of packages
            _run(["apt-get", "download", "prometheus"], folder)
        (package,) = Path(folder).glob("prometheus_*.deb")
        UNPACKED.mkdir(parents=True, exist_ok=True)
        _run(["dpkg-deb", "--extract", str(package), str(UNPACKED)], folder)
    return find_programs()


def _run(command: list[str], folder: str) -> None:
    subprocess.run(
        command,
        cwd=folder,
        check=True,
        stdout=sys.stderr,
        stdin=subprocess.DEVNULL,
        timeout=_DOWNLOAD_SECONDS,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )


if __name__ == "__main__":
    try:
        print(ensure_programs())
    except (NoPrometheus, subprocess.SubprocessError) as error:
        sys.exit(f"cannot get Prometheus: {error}")
