"""Child processes: what to run, as which user, and bound to the life of the parent.

Every child gets PR_SET_PDEATHSIG (prctl(2)), so that a parent killed by SIGKILL leaves no orphan. The kernel clears that setting
whenever credentials change, so it is applied last, in the forked child just before exec. On systems without prctl the child
outlives a killed parent.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypedDict

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_INSIDE_ID = 1000
"""The uid and gid of root inside its own user namespace; any number but 0."""


class SpawnArguments(TypedDict, total=False):
    """Keyword arguments that `subprocess.Popen` and `asyncio.create_subprocess_exec` share."""

    env: dict[str, str]
    cwd: str | None
    start_new_session: bool
    preexec_fn: Callable[[], None]
    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True)
class RunAs:
    """The user of a process: its parent's, another one, or its parent's in a user namespace where that is not root."""

    user: int | None = None
    own_user_namespace: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """A process to start. `env` is its whole environment; secrets belong in files named there."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path | None = None
    run_as: RunAs = RunAs()
    stop_signal: signal.Signals = signal.SIGTERM

    def arguments(self) -> SpawnArguments:
        """Return the arguments of Popen or create_subprocess_exec besides argv and the standard streams.

        A session of its own keeps the terminal's Ctrl-C from the child, so that the parent can stop children in order.
        """
        arguments = SpawnArguments(
            env=dict(self.env),
            cwd=None if self.cwd is None else str(self.cwd),
            start_new_session=True,
            preexec_fn=_make_preexec(os.getpid(), self.run_as.own_user_namespace),
        )
        if self.run_as.user is not None:
            arguments["user"] = arguments["group"] = self.run_as.user
            arguments["extra_groups"] = []
        return arguments


def spawn(spec: ProcessSpec, *, output: IO[bytes] | int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Start a process with its output and errors going to `output`. Raises OSError or SubprocessError if it cannot start."""
    return subprocess.Popen(
        spec.argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, **spec.arguments()
    )


def succeeds(spec: ProcessSpec) -> bool:
    """Return whether the process can be started and exits with 0."""
    try:
        return spawn(spec).wait() == 0
    except (OSError, subprocess.SubprocessError):
        return False


def _make_preexec(parent: int, own_user_namespace: bool) -> Callable[[], None]:
    def preexec() -> None:
        if own_user_namespace:
            _enter_user_namespace()
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it died between fork and prctl, so no signal would come
                os._exit(1)

    return preexec


def _enter_user_namespace() -> None:
    """Become a non-root user who still owns root's files. Raises OSError if user namespaces are not permitted."""
    user, group = os.geteuid(), os.getegid()
    if _LIBC is None or _LIBC.unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "user namespaces are not permitted here")
    Path("/proc/self/setgroups").write_text("deny")  # the kernel requires it before an unprivileged gid_map
    Path("/proc/self/uid_map").write_text(f"{_INSIDE_ID} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{_INSIDE_ID} {group} 1")
