"""The lock of an installation's home directory, which its launcher holds for as long as it runs.

It is in the home itself and not among the runtime files, so that a running system is found after those were removed.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK_NAME = "lock"
"""In the home directory of an installation. It contains the pid of the holder."""
UNKNOWN_PID = 0
_ATTEMPTS = 3
_RETRY_SECONDS = 0.02
"""`find_holder` holds a shared lock for a moment."""


class HomeLocked(Exception):
    """Another process holds the lock; `pid` is that process, or UNKNOWN_PID."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"process {pid} holds the home directory")
        self.pid = pid


@contextmanager
def hold(home: Path) -> Iterator[None]:
    """Hold the lock of `home`; the kernel releases it if the process dies. Raises HomeLocked, and OSError."""
    with (home / LOCK_NAME).open("a+") as file:
        for attempt in range(_ATTEMPTS):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if attempt == _ATTEMPTS - 1:
                    raise HomeLocked(_read_pid(home)) from None
                time.sleep(_RETRY_SECONDS)  # noqa: TID251 - bounded, and the kernel sends no event
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def find_holder(home: Path) -> int | None:
    """Return the pid of the process that holds the lock of `home`, UNKNOWN_PID if that cannot be read, None if none does."""
    if not _is_held(home):
        return None
    pid = _read_pid(home)
    links = _open_files(pid)
    # A damaged file may name a process that has nothing to do with the lock, and that must not be stopped.
    return UNKNOWN_PID if links is not None and os.path.realpath(home / LOCK_NAME) not in links else pid


def wait_for_release(home: Path) -> None:
    """Return once nobody holds the lock of `home`. Raises OSError if there is no lock file."""
    with (home / LOCK_NAME).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)


def _read_pid(home: Path) -> int:
    try:
        return int((home / LOCK_NAME).read_text())
    except (OSError, ValueError):
        return UNKNOWN_PID


def _open_files(pid: int) -> set[str] | None:
    """Return the paths of the files that a process has open; empty if there is no such process, None if that is unknown."""
    if not Path("/proc/self/fd").is_dir():
        return None
    try:
        descriptors = list(Path("/proc", str(pid), "fd").iterdir())
    except FileNotFoundError:
        return set()
    except OSError:
        return None
    found = set()
    for descriptor in descriptors:
        with suppress(OSError):  # it may have been closed meanwhile
            found.add(str(descriptor.readlink()))
    return found


def _is_held(home: Path) -> bool:
    """Take a shared lock for a moment, which fails while somebody holds the lock."""
    try:
        with (home / LOCK_NAME).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
