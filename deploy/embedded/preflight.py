"""Everything that can be checked before a process is started: the home directory, its files, the settings of each service."""

import difflib
import importlib
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from deploy.embedded import clock, services
from deploy.embedded.errors import HomeUnusable
from deploy.embedded.home import Home
from deploy.postgres.roles import SERVICES_WITH_TABLES
from keyferry.contracts import client_token, topology
from keyferry.runtime.bus.servers import CA_FILE, CERT_FILE, KEY_FILE
from keyferry.runtime.process.settings import ServiceSettings, load, read_secret

_MIN_FREE_BYTES = 128 << 20
"""With less, neither PostgreSQL nor NATS can create its files."""
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MAX_NAMED = 3
_OWN_SETTINGS = frozenset(
    f"KEYFERRY_{name}"
    for name in (
        "HOME",
        "HTTP_HOST",
        "HTTP_PORT",
        "CONSOLE_PORT",
        "BUILD_PAGE",
        "BACKUP_RECIPIENTS",
        "BILLING",
        "DEBUG",
        "KEKS",
        "INTAKE_PUBLIC_KEY_FILE",
    )
)
"""What the launcher, the key vault's keyring and the command line read besides the services' settings."""
_FOR_THE_COMMAND_LINE = frozenset(
    f"KEYFERRY_{name}" for name in ("NATS_URL", "NATS_NKEY_FILE", "GRANT_KEY_FILE", "INTAKE_PUBLIC_KEY_FILE")
)
_PREFIX = "KEYFERRY_"


def check_home(home: Home) -> None:
    """Check the files of earlier runs. Raises HomeUnusable and SettingsError naming the file, and OSError."""
    if home.unfinished_restore.exists():
        raise HomeUnusable(home.describe_unfinished_restore())
    free_bytes = shutil.disk_usage(home.path).free
    if free_bytes < _MIN_FREE_BYTES:
        raise HomeUnusable(
            f"only {free_bytes >> 20} MiB are free on the disk of {home.path}: free up at least {_MIN_FREE_BYTES >> 20} MiB"
        )
    clock.check(home)
    _check_modes(home.secrets)
    _check_database_is_there(home)
    for file in sorted(home.database_secrets.glob("*.url")):
        _check_database_url(file)
    for user in topology.users(services.WORKER_SLOTS, [services.DEMO_CLIENT]):
        home.public_key(user)
    if home.demo_token_file.exists() and not client_token.is_well_formed(read_secret(home.demo_token_file).reveal()):
        raise HomeUnusable(
            f"{home.demo_token_file} holds no client token: restore it from a backup, or remove it; another one is made then"
        )


def check_services(home: Home, addresses: services.Addresses, environment: Mapping[str, str]) -> None:
    """Check the settings of every process and the files that they name. Raises SettingsError."""
    for row in services.SERVICES:
        for slot in range(1, row.slots + 1):
            env = services.make_environment(row, slot, home, addresses, environment)
            if row.has_tables:
                # Written with the tables, later; until then any existing file stands for it, and nothing reads it here.
                env["KEYFERRY_DATABASE_URL_FILE"] = env["KEYFERRY_NATS_NKEY_FILE"]
            with _process_environment(env):
                load(settings_class(row.name)).check_files()


def settings_class(service: str) -> type[ServiceSettings]:
    """Return the settings of a service, by the name of its package."""
    module = importlib.import_module(f"services.{service}.settings")
    (found,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, ServiceSettings) and value.__module__ == module.__name__
    )
    return found


def find_ignored_settings(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each variable that looks like a setting and has no effect here."""
    known = _OWN_SETTINGS | {
        f"{_PREFIX}{field.upper()}" for row in services.SERVICES for field in settings_class(row.name).model_fields
    }
    for name in sorted(environment):
        if name in services.SET_BY_THE_LAUNCHER - _FOR_THE_COMMAND_LINE:
            yield f"note: {name} has no effect here: `make up` sets it for each process"
        elif name in services.NOT_ON_LOOPBACK:
            if name not in (CA_FILE, CERT_FILE, KEY_FILE):  # which commands use
                yield f"note: {name} has no effect here: `make up` runs on one machine, without TLS (docs/guides/clusters.md)"
        elif name.startswith(_PREFIX) and name not in known | services.SET_BY_THE_LAUNCHER:
            similar = difflib.get_close_matches(name, known, n=1)
            yield f"note: {name} is no setting of this version" + (f"; did you mean {similar[0]}?" if similar else "")


def _check_modes(secrets_dir: Path) -> None:
    exposed = [path for path in (secrets_dir, *secrets_dir.rglob("*")) if path.stat().st_mode & _OTHERS]
    if exposed:
        named = ", ".join(str(path) for path in exposed[:_MAX_NAMED])
        more = f" and {len(exposed) - _MAX_NAMED} more" if len(exposed) > _MAX_NAMED else ""
        raise HomeUnusable(
            f"other users may read secrets: {named}{more}. Run `chmod -R go-rwx {secrets_dir}`, and replace the secrets if"
            " somebody may have read them"
        )


def _check_database_is_there(home: Home) -> None:
    """Check that the database is there if it was made once; an empty one in its place would look like a working system."""
    made = sorted(file for file in home.database_secrets.glob("*.url") if file.stem in SERVICES_WITH_TABLES)
    if made and not any(home.path.glob("pg[0-9][0-9]")):
        raise HomeUnusable(
            f"the database of {home.path} is gone: {made[0]} has a password for it, but there is no directory pg…. Put that"
            " directory back, or restore a backup into an empty home. To start without any tenants, keys and usage instead,"
            f" remove {home.database_secrets}"
        )


def _check_database_url(file: Path) -> None:
    try:
        password = make_url(file.read_text().strip()).password
    except (ArgumentError, ValueError):
        password = None
    if not password:
        raise HomeUnusable(
            f"{file} holds no database URL with a password: restore it from a backup. Only the URL of a service, not"
            " admin.url, may be removed: `make up` then writes it anew"
        )


@contextmanager
def _process_environment(env: Mapping[str, str]) -> Iterator[None]:
    """Replace the environment of this process, from which settings are read. Only while no other thread runs."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
