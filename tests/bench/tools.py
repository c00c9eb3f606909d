"""The two compiled programs the benchmark needs: nginx as the upstream, wrk as the load generator."""

import os
import shutil
import subprocess

from tests.bench.failure import BenchError

_PACKAGES = {"nginx": "nginx-light", "wrk": "wrk"}
_SYSTEM_PATH = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
_INSTALL_TIMEOUT_SECONDS = 300


def find(program: str) -> str:
    """Return the path of nginx or wrk, installed from Debian first if it is missing and this process may do so.

    Raises:
        BenchError: it is missing and cannot be installed here.
    """
    path = _locate(program)
    if path is None:
        _install(_PACKAGES[program])
        path = _locate(program)
    if path is None:
        raise BenchError(f"{program} is still missing after installing {_PACKAGES[program]}. Install it by hand.")
    return path


def _locate(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path=_SYSTEM_PATH)


def _install(package: str) -> None:
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        raise BenchError(
            f"The benchmark needs the Debian package {package}, which is not installed. "
            f"Run: sudo apt-get install -y --no-install-recommends {package}"
        )
    # Without a run level the package scripts do not start a system-wide nginx of their own.
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    command = [apt, "install", "-y", "--no-install-recommends", package]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_SECONDS, check=False
    )
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]} Try: apt-get update")
