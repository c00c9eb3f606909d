"""The servers of an installation: those that run, or the home's own, started for as long as a backup or a restore takes."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from psycopg import sql
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy.engine import make_url

from deploy.backup.errors import BackupFailed
from deploy.embedded import nats, postgres
from deploy.embedded.home import Home
from deploy.embedded.managed_process import ProcessConfig, ProcessTimeouts, RestartOrder
from deploy.embedded.ports import find_free_port
from deploy.embedded.process import ProcessSpec
from deploy.embedded.supervisor import Supervisor
from deploy.embedded.system import DATABASE
from deploy.nats.render import render_server_conf
from keyferry.contracts.channels import Role
from keyferry.contracts.secret import Secret
from keyferry.runtime.database.connecting import libpq_options
from keyferry.runtime.process import home_lock
from keyferry.runtime.process.home_lock import HomeLocked
from keyferry.runtime.process.settings import read_secret

Log = Callable[[str], None]
_STOP_SECONDS = 60.0
_CONNECT_SECONDS = 10
FOR_LOADING: Mapping[str, str] = {
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_wal_size": "8GB",
    "maintenance_work_mem": "256MB",
}
"""Settings under which a crash could damage the database: it is not used before it was stopped cleanly."""


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the database and the bus are, with what is needed to use all of both."""

    admin_url: Secret
    """A superuser's SQLAlchemy URL of the installation's database."""
    nats_url: str
    provisioner_seed: Path


def connect(url: Secret) -> psycopg.Connection[tuple[object, ...]]:
    """Connect in autocommit mode. Raises BackupFailed."""
    try:
        options = libpq_options(make_url(url.reveal())) | {"autocommit": True, "connect_timeout": _CONNECT_SECONDS}
        return psycopg.connect(**options)
    except psycopg.OperationalError as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise BackupFailed(f"the database cannot be reached: {first}") from None


def find_client_program(name: str) -> Path:
    """Return PostgreSQL's `pg_dump` or `pg_restore`: that of the embedded server, else the one on PATH. Raises BackupFailed."""
    beside = postgres.find_install().bin_dir / name
    if os.access(beside, os.X_OK):
        return beside
    if found := shutil.which(name):
        return Path(found)
    raise BackupFailed(
        f"there is no {name}: install the embedded PostgreSQL with `uv sync --frozen --group embedded`, or your distribution's"
        " PostgreSQL client"
    )


@contextmanager
def holding(home: Home) -> Iterator[None]:
    """Hold the lock of a home in which nothing runs. Raises BackupFailed if something does."""
    try:
        with home.lock():
            yield
    except HomeLocked as locked:
        raise BackupFailed(
            f"a system runs in {home.path} (process {locked.pid or 'unknown'}): stop it with `make down`"
        ) from None


@asynccontextmanager
async def servers_of(home: Home, log: Log) -> AsyncIterator[Servers]:
    """Yield the servers of a running system, or start those of a stopped one. Raises LaunchFailed, SettingsError and OSError."""
    if home_lock.find_holder(home.path) is not None:
        yield _running(home)
        return
    if not (home.database_secrets / "admin.url").exists():
        raise BackupFailed(f"{home.path} holds no installation: set KEYFERRY_HOME to its home directory")
    with holding(home):
        log("nothing runs: starting PostgreSQL and NATS alone")
        async with own_servers(home) as servers:
            yield servers


@asynccontextmanager
async def own_servers(home: Home, settings: Mapping[str, str] | None = None) -> AsyncIterator[Servers]:
    """Run PostgreSQL and NATS of a home, whose lock the caller holds, on free ports. Raises LaunchFailed.

    `settings` are PostgreSQL's, in addition to the usual ones. Both are stopped cleanly at the end.
    """
    home.prepare()
    cluster = postgres.Cluster(home.path)
    password = _admin_password(home)
    if not cluster.initialised:
        await asyncio.to_thread(cluster.initialise, password)
    database_port = find_free_port()
    bus_port = find_free_port({database_port})
    maintenance = postgres.url(database_port, postgres.ADMIN, password, "postgres")

    def make_database_spec() -> ProcessSpec:
        spec = cluster.make_server_spec(database_port)
        options = [part for name, value in (settings or {}).items() for part in ("-c", f"{name}={value}")]
        return replace(spec, argv=(*spec.argv, *options))

    supervisor = Supervisor(
        log_dir=home.log, run_dir=home.run, timeouts=ProcessTimeouts(drain_seconds=_STOP_SECONDS), log=lambda _: None
    )
    async with supervisor:
        await supervisor.start(
            [
                ProcessConfig(
                    service="postgres",
                    make_spec=make_database_spec,
                    probe=lambda: asyncio.to_thread(_accepts, maintenance),
                    restart_order=RestartOrder.STOP_FIRST,
                    forced_stop_seconds=_STOP_SECONDS,
                ),
                ProcessConfig(
                    service="nats",
                    make_spec=lambda: nats.make_server_spec(
                        nats.find_nats_server(), _write_configuration(home, bus_port)
                    ),
                    probe=lambda: asyncio.to_thread(nats.accepts_clients, bus_port),
                    restart_order=RestartOrder.STOP_FIRST,
                    forced_stop_seconds=_STOP_SECONDS,
                ),
            ]
        )
        await asyncio.to_thread(_create_database, maintenance)
        yield Servers(
            postgres.url(database_port, postgres.ADMIN, password, DATABASE),
            f"nats://127.0.0.1:{bus_port}",
            home.seed_file(Role.PROVISIONER.value),
        )


class _Endpoints(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    nats_url: str


def _running(home: Home) -> Servers:
    try:
        endpoints = _Endpoints.model_validate_json(home.endpoints_file.read_bytes())
    except (OSError, ValidationError):
        raise BackupFailed(
            f"Keyferry runs in {home.path}, but {home.endpoints_file} cannot be read: if it is starting or stopping, wait;"
            " otherwise restart it with `make down` and `make up`"
        ) from None
    admin_url = read_secret(home.database_secrets / "admin.url")
    return Servers(admin_url, endpoints.nats_url, home.seed_file(Role.PROVISIONER.value))


def _admin_password(home: Home) -> Secret:
    return Secret(str(make_url(read_secret(home.database_secrets / "admin.url").reveal()).password))


def _write_configuration(home: Home, port: int) -> Path:
    configuration = home.run / "nats-alone.conf"
    users = {Role.PROVISIONER.value: home.public_key(Role.PROVISIONER.value)}
    configuration.write_text(render_server_conf(users, port=port, store_dir=home.nats))
    nats.check_configuration(nats.find_nats_server(), configuration)
    return configuration


def _accepts(maintenance: Secret) -> bool:
    try:
        psycopg.connect(postgres.driver_url(maintenance), connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _create_database(maintenance: Secret) -> None:
    with connect(maintenance) as connection:
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
