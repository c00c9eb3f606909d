"""The home directory of one embedded system, and the lock that admits one system at a time.

secrets/   0600 files in 0700 directories: nkeys, database URLs, the token pepper, the demo client token
lock       held while a system runs
run/       runtime files: control socket, ports, state.json
log/       one file per process, rotated by size
nats/  pg<major>/  spool/     data
"""

import json
import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import nkeys

from deploy.embedded.errors import HomeUnusable
from deploy.postgres.roles import write_secret
from keyferry.runtime.process import home_lock
from keyferry.runtime.process.os_errors import describe_os_error, remedy_for
from keyferry.runtime.process.settings import read_nkey_seed

_SEED_BYTES = 32


class Home:
    """Paths and secrets of one system. Secrets are generated on first use and then kept."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.run = self.path / "run"
        self.log = self.path / "log"
        self.secrets = self.path / "secrets"
        self.database_secrets = self.secrets / "database"
        self.nats = self.path / "nats"
        self.unfinished_restore = self.path / "unfinished-restore"
        """Exists while a backup is being restored, and after that failed."""
        self.state_file = self.run / "state.json"
        self.endpoints_file = self.run / "endpoints.json"
        self.demo_token_file = self.secrets / "demo-client-token"
        self.demo_credentials_file = self.secrets / "demo-credentials.json"

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Home":
        """Return the home named by `KEYFERRY_HOME`, else `.keyferry` in the working directory."""
        return cls(Path(environment.get("KEYFERRY_HOME") or ".keyferry"))

    def describe_unfinished_restore(self) -> str:
        """Return what is wrong with a home that was restored halfway, and what to do."""
        return (
            f"a restore into {self.path} did not finish, so data are missing there: remove that directory, and restore the backup"
            " again"
        )

    def prepare(self) -> None:
        """Create the directories. Raises HomeUnusable.

        Other users may traverse the home itself, since PostgreSQL may run as another user, but not the directories in it.
        """
        if self.path.is_symlink() and not self.path.exists():
            raise HomeUnusable(
                f"{self.path} is a link to {self.path.readlink()}, which does not exist: create that directory, or set"
                " KEYFERRY_HOME to another one"
            )
        try:
            self.path.mkdir(mode=0o711, parents=True, exist_ok=True)
            for directory in (self.run, self.log, self.secrets, self.database_secrets, self.nats, self.path / "spool"):
                directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            what = "it is a file and not a directory" if _is_file(error.filename) else describe_os_error(error)
            raise HomeUnusable(
                f"{error.filename} cannot be used: {what}. {remedy_for(error)} (KEYFERRY_HOME names the home directory)"
            ) from None

    def lock(self) -> AbstractContextManager[None]:
        """Hold the lock of this home; the kernel releases it if the process dies. Raises HomeLocked, and OSError."""
        return home_lock.hold(self.path)

    def spool(self, slot: int) -> Path:
        """Return the spool directory of a worker slot, creating it if it is missing."""
        directory = self.path / "spool" / f"worker-{slot}"
        directory.mkdir(mode=0o700, exist_ok=True)
        return directory

    def seed_file(self, user: str) -> Path:
        """Return the nkey seed file of a NATS user, generating it if it is missing."""
        return ensure_secret(self.secrets / "nkeys" / f"{user}.seed", generate_seed)

    def public_key(self, user: str) -> str:
        """Return the public nkey of a NATS user. Raises SettingsError if its file holds no seed."""
        seed = read_nkey_seed(self.seed_file(user))
        return str(nkeys.from_seed(bytearray(seed.reveal().encode())).public_key.decode())


def _is_file(path: object) -> bool:
    return isinstance(path, str) and Path(path).is_file()


def ensure_secret(path: Path, make: Callable[[], str]) -> Path:
    """Write what `make` returns if there is no such file yet, 0600 in a 0700 directory. Raises OSError."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_secret(path, make())
    return path


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write a JSON file atomically."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(json.dumps(content, indent=2) + "\n")
    draft.replace(path)


def generate_seed() -> str:
    """Return the nkey seed of a new NATS user."""
    seed: bytes = nkeys.encode_seed(secrets.token_bytes(_SEED_BYTES), nkeys.PREFIX_BYTE_USER)
    return seed.decode()
