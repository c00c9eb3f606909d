"""The doctor's checks of this machine: home directory, secrets, launcher, operations ports, disk."""

import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from keyferry.cli import control
from keyferry.cli.installation import START_IT, TARGETS_FILE, Installation
from keyferry.cli.operations_ports import check_operations_ports
from keyferry.cli.problem import Finding, Problem

_GIB = 1024**3
MIN_FREE_BYTES = 2 * _GIB
"""With less, the bus and the database soon refuse to write, and attempts pile up in the workers' spools."""
_CONTROL_SECONDS = 5.0
_MAX_NAMED = 3


def check_machine(installation: Installation) -> Iterator[Finding]:
    """Run every check that does not need the bus."""
    if installation.home is None:
        yield Finding("home", "none on this machine; KEYFERRY_NATS_URL names the bus")
        return
    yield Finding("home", str(installation.home))
    yield check_secrets(installation.home / "secrets")
    if installation.state is not None:
        yield from _check_processes(installation.home)
    yield check_disk(installation.home, shutil.disk_usage(installation.home).free)


def check_secrets(secrets_dir: Path) -> Finding:
    """Check that only the owner can enter the directories and read the files of the secrets."""
    if not secrets_dir.is_dir():
        return Finding("secrets", f"{secrets_dir} is missing", START_IT)
    try:
        paths = [secrets_dir, *sorted(secrets_dir.rglob("*"))]
        exposed = [path for path in paths if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    except OSError as error:
        return Finding(
            "secrets",
            f"cannot read the directory: {error.strerror}",
            "Run this as the user who started the installation",
        )
    if exposed:
        return Finding(
            "secrets",
            f"others may read {_abbreviate(exposed)}",
            f"chmod -R go-rwx {secrets_dir}, and replace them if somebody may have read them",
        )
    return Finding("secrets", f"{sum(path.is_file() for path in paths)} files, readable only by their owner")


def check_launcher(processes: Sequence[control.ProcessStatus]) -> Finding:
    """Check that every process of the launcher is ready."""
    unready = [f"{process.name} is {process.state}" for process in processes if process.state != "ready"]
    if unready:
        return Finding(
            "launcher", "; ".join(unready), "Look at the log of each; `keyferry restart SERVICE` tries again"
        )
    if restarted := [f"{process.name} {process.restarts}x" for process in processes if process.restarts]:
        return Finding("launcher", f"{len(processes)} processes ready; restarted so far: {', '.join(restarted)}")
    return Finding("launcher", f"{len(processes)} processes ready")


def check_disk(home: Path, free_bytes: int) -> Finding:
    """Check that there is enough free space."""
    free = f"{free_bytes / _GIB:.1f} GiB free"
    if free_bytes < MIN_FREE_BYTES:
        return Finding("disk", f"only {free} at {home}", f"Free up space: at least {MIN_FREE_BYTES // _GIB} GiB")
    return Finding("disk", free)


def _check_processes(home: Path) -> Iterator[Finding]:
    try:
        processes = control.list_processes(home / "run", _CONTROL_SECONDS)
    except Problem as problem:  # nothing runs whose ports could be asked
        yield Finding("launcher", problem.what, problem.remedy or START_IT)
        return
    yield check_launcher(processes)
    yield from check_operations_ports(home / TARGETS_FILE)


def _abbreviate(paths: Sequence[Path]) -> str:
    named = ", ".join(str(path) for path in paths[:_MAX_NAMED])
    return named if len(paths) <= _MAX_NAMED else f"{named} and {len(paths) - _MAX_NAMED} more"
