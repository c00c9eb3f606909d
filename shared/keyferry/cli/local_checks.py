"""The doctor's checks of this machine: directory, secrets, launcher, disk."""

import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from keyferry.cli import control
from keyferry.cli.finding import Finding
from keyferry.cli.installation import START_IT, Installation
from keyferry.cli.problem import Problem

_GIB = 1024**3
MIN_FREE_BYTES = 2 * _GIB
"""Below it the bus and the database soon refuse to write, and attempts pile up in the workers' spools."""
_CONTROL_SECONDS = 5.0
_MAX_NAMED = 3


def check_machine(installation: Installation) -> Iterator[Finding]:
    """Everything that can be seen without the bus."""
    if installation.home is None:
        yield Finding("home", "none here; the bus is named by KEYFERRY_NATS_URL")
        return
    yield Finding("home", str(installation.home))
    yield check_secrets(installation.home / "secrets")
    if installation.state is not None:
        yield _launcher(installation.home / "run")
    yield check_disk(installation.home, shutil.disk_usage(installation.home).free)


def check_secrets(secrets_dir: Path) -> Finding:
    """Whether only the owner can get at the secrets: nobody else may enter a directory or read a file."""
    if not secrets_dir.is_dir():
        return Finding("secrets", f"{secrets_dir} is missing", START_IT)
    try:
        everything = [secrets_dir, *sorted(secrets_dir.rglob("*"))]
        open_ones = [path for path in everything if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    except OSError as error:
        return Finding("secrets", f"cannot look: {error.strerror}", "Run this as the user who started the installation")
    if open_ones:
        return Finding(
            "secrets",
            f"others may read {_some(open_ones)}",
            f"chmod -R go-rwx {secrets_dir}, and think of who has read them",
        )
    return Finding("secrets", f"{sum(path.is_file() for path in everything)} files, for their owner only")


def check_launcher(processes: Sequence[control.ProcessStatus]) -> Finding:
    """Whether everything that the launcher runs is ready."""
    unready = [f"{process.name} is {process.state}" for process in processes if process.state != "ready"]
    if unready:
        return Finding(
            "launcher", "; ".join(unready), "Look at the log of each; `keyferry restart SERVICE` tries again"
        )
    if restarted := [f"{process.name} {process.restarts}x" for process in processes if process.restarts]:
        return Finding("launcher", f"{len(processes)} processes ready; restarted so far: {', '.join(restarted)}")
    return Finding("launcher", f"{len(processes)} processes ready")


def check_disk(home: Path, free_bytes: int) -> Finding:
    """Whether there is room to write."""
    free = f"{free_bytes / _GIB:.1f} GiB free"
    if free_bytes < MIN_FREE_BYTES:
        return Finding("disk", f"only {free} at {home}", f"Make room: at least {MIN_FREE_BYTES // _GIB} GiB")
    return Finding("disk", free)


def _launcher(run_dir: Path) -> Finding:
    try:
        return check_launcher(control.processes(run_dir, _CONTROL_SECONDS))
    except Problem as problem:
        return Finding("launcher", problem.what, problem.remedy or START_IT)


def _some(paths: Sequence[Path]) -> str:
    named = ", ".join(str(path) for path in paths[:_MAX_NAMED])
    return named if len(paths) <= _MAX_NAMED else f"{named} and {len(paths) - _MAX_NAMED} more"
