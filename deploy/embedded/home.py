"""The directory that holds everything of one embedded system, and the lock that lets one system at a time into it.

secrets/   0600 files in 0700 directories: nkeys, database URLs, the token pepper, the demo's client token
run/       what exists while the system runs: lock, control socket, ports, state.json
log/       one file per process, size-capped
nats/  pg<major>/  spool/     data
"""

import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import nkeys

from deploy.postgres.roles import write_secret

_SEED_BYTES = 32


class AlreadyRunning(Exception):
    """Another process holds the home; `pid` is what it wrote down."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"process {pid} holds the home directory")
        self.pid = pid


class Home:
    """Paths and secrets of one system. Secrets are made when first asked for, and then stay."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.run = self.path / "run"
        self.log = self.path / "log"
        self.secrets = self.path / "secrets"
        self.database_secrets = self.secrets / "database"
        self.nats = self.path / "nats"
        self.state_file = self.run / "state.json"
        self.endpoints_file = self.run / "endpoints.json"
        self.demo_token_file = self.secrets / "demo-client-token"

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Home":
        """The home that `KEYFERRY_HOME` names, else `.keyferry` in the working directory."""
        return cls(Path(environment.get("KEYFERRY_HOME") or ".keyferry"))

    def prepare(self) -> None:
        """Make the directories. Others may pass through the home itself, since PostgreSQL may run as another user, but
        enter nothing in it."""
        self.path.mkdir(mode=0o711, parents=True, exist_ok=True)
        for directory in (self.run, self.log, self.secrets, self.database_secrets, self.nats, self.path / "spool"):
            directory.mkdir(mode=0o700, exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only system here; a killed process holds no lock. Raises AlreadyRunning."""
        with (self.run / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise AlreadyRunning(int(file.read().strip() or 0)) from None
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield

    def spool(self, slot: int) -> Path:
        """The directory of a worker slot."""
        directory = self.path / "spool" / f"worker-{slot}"
        directory.mkdir(mode=0o700, exist_ok=True)
        return directory

    def seed_file(self, user: str) -> Path:
        """The nkey seed of a NATS user."""
        return kept_secret(self.secrets / "nkeys" / f"{user}.seed", _fresh_seed)

    def public_key(self, user: str) -> str:
        """The public nkey of a NATS user."""
        return str(nkeys.from_seed(bytearray(self.seed_file(user).read_bytes().strip())).public_key.decode())


def kept_secret(path: Path, make: Callable[[], str]) -> Path:
    """Write what `make` returns where there is no such file yet, in 0600 in a 0700 directory. Raises OSError."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_secret(path, make())
    return path


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Put a JSON file in place, whole from the start."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(json.dumps(content, indent=2) + "\n")
    draft.replace(path)


def _fresh_seed() -> str:
    seed: bytes = nkeys.encode_seed(secrets.token_bytes(_SEED_BYTES), nkeys.PREFIX_BYTE_USER)
    return seed.decode()
