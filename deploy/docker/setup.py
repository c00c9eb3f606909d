"""One-shot setup of an installation in containers: two steps, between which NATS and PostgreSQL start.

    python -m deploy.docker.setup prepare     secrets, the NATS configuration, directories for the servers' data
    python -m deploy.docker.setup provision   streams and tables, then the files of each process
    python -m deploy.docker.setup users       the NATS configuration again, with the directory's internal services

KEYFERRY_NATS_URL may list the servers of a cluster. `provision --replicas 3`, or KEYFERRY_NATS_REPLICAS, has so many of them keep
each stream. `prepare` renders the configuration of a server alone; a cluster has its own (docs/guides/failover.md).

All are idempotent. Every process gets copies of its files in `<handout dir>/<user>`, a volume that no other process mounts; the
originals stay in the home directory, which has the layout of the embedded system's.
"""

import argparse
import asyncio
import os
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
from nats.errors import AuthorizationError
from nats.errors import Error as NatsError
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from deploy.embedded import postgres
from deploy.embedded.errors import LaunchFailed, describe
from deploy.embedded.home import Home, ensure_secret, write_json
from deploy.embedded.process_files import files_of_process
from deploy.embedded.secret_files import grant_key, intake_public_key, token_pepper
from deploy.embedded.services import DEMO_CLIENT, DEMO_TENANT, SERVICES, WORKER_SLOTS, ServiceRow, nats_user
from deploy.embedded.system import DATABASE
from deploy.nats import user_list
from deploy.nats.internal_users import internal_users
from deploy.nats.provision import (
    ProvisionError,
    connect_as_provisioner,
    parse_replicas,
    provision,
    replicas_of,
)
from deploy.nats.render import render_server_conf
from deploy.postgres.migrate import migrate
from deploy.postgres.roles import write_secret
from keyferry.cli.connection import operator
from keyferry.cli.installation import Installation
from keyferry.cli.problem import Problem
from keyferry.contracts.internal_services import InternalService
from keyferry.contracts.secret import Secret
from keyferry.contracts.topology import Role, users
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.bus.servers import describe_tls_error
from keyferry.runtime.process.settings import CannotStart, load, without_credentials
from keyferry.runtime.tls.certificates import UnusableCertificate

_PASSWORD_BYTES = 24
_POLL_SECONDS = 0.1
_ROOT = 0


class SetupSettings(BaseSettings):
    """Paths and addresses for the containers of one installation."""

    model_config = SettingsConfigDict(env_prefix="KEYFERRY_", frozen=True, extra="ignore")

    home: Path
    """The home directory with everything that is generated once; only the setup mounts it."""
    handout_dir: Path
    """The parent of one directory per container that gets files."""
    owner_uid: int = Field(ge=0)
    """The uid of NATS and the services."""
    postgres_uid: int = Field(ge=0)
    """The uid of PostgreSQL."""
    grafana_uid: int = Field(ge=0)
    """The uid of Grafana, which runs only with the profile `observe`."""
    nats_url: str
    """One server, or several of a cluster, separated by commas."""
    nats_listen: str = Field(pattern=r"^[^:\s]+:[0-9]+$")
    """Address and port in the NATS configuration."""
    nats_store_dir: Path
    """The mount point of the volume for streams, in the NATS container."""
    postgres_address: str = Field(pattern=r"^[^:\s]+:[0-9]+$")
    http_url: str
    operator_home: Path
    """The mount point of the operator's files, in the operator's containers."""
    servers_within_seconds: float = Field(default=120.0, gt=0)
    """How long to wait for NATS and PostgreSQL."""


def prepare(settings: SetupSettings) -> None:
    """Generate what the servers need before they start. Raises OSError."""
    home = Home(settings.home)
    home.prepare()
    token_pepper(home)
    _render_users(home, settings, user_list.read_copy(_list_copy(home)))
    password = make_url(_ensure_admin_url(home, settings).reveal()).password
    out = settings.handout_dir
    _hand_out(out / "postgres" / "admin-password", str(password), settings.postgres_uid)
    _hand_out(out / "grafana" / "admin-password", _grafana_password(home), settings.grafana_uid)
    for data in ("nats-data", *(f"spool-{slot}" for slot in range(1, WORKER_SLOTS + 1))):
        _set_owner(_make_directory(out / data), settings.owner_uid, 0o700)


def render_users(settings: SetupSettings, log: Callable[[str], None] = print) -> None:
    """Render the NATS configuration with the internal services that the directory lists now. NATS reads it at a SIGHUP.

    Raises Problem, Refused and BusError if NATS or the directory does not answer.
    """
    home = Home(settings.home)

    async def fetch() -> list[InternalService]:
        async with operator(Installation(settings.nats_url, home.seed_file(Role.OPERATOR))) as me:
            return await user_list.fetch(me, DEMO_TENANT)

    services = asyncio.run(fetch())
    user_list.write_copy(_list_copy(home), services)
    count = _render_users(home, settings, services)
    log(f"{count} programs may connect once NATS has read this: docker compose kill --signal HUP nats")


def _list_copy(home: Home) -> Path:
    return home.run / "internal-services.json"


def _render_users(home: Home, settings: SetupSettings, services: list[InternalService]) -> int:
    """Write the configuration of NATS; return the number of programs in it."""
    own = {user: home.public_key(user) for user in users(WORKER_SLOTS)}
    programs, _ = internal_users(services, own, {DEMO_CLIENT: home.public_key(DEMO_CLIENT)})
    host, _, port = settings.nats_listen.rpartition(":")
    conf = render_server_conf(own | programs, host=host, port=int(port), store_dir=settings.nats_store_dir)
    _hand_out(settings.handout_dir / "nats" / "nats.conf", conf, settings.owner_uid)
    return len(programs)


def provision_all(settings: SetupSettings, log: Callable[[str], None] = print, *, replicas: int = 1) -> None:
    """Create streams, roles and tables, and copy the files of each process.

    Raises LaunchFailed if no server of a kind answers in time, and the errors of NATS and PostgreSQL.
    """
    home = Home(settings.home)
    admin_url = _ensure_admin_url(home, settings)
    _wait_for_servers(settings, home, admin_url)
    asyncio.run(provision(settings.nats_url, home.seed_file(Role.PROVISIONER), replicas=replicas))
    migrate(admin_url, home.database_secrets, log=log)
    for row in SERVICES:
        for slot in range(1, row.slots + 1):
            _hand_out_process(row, slot, home, settings)
    _hand_out_operator(home, settings)
    log("streams and tables are in place, and every process has its files")


def _grafana_password(home: Home) -> str:
    """Return the password of Grafana's administrator, which Grafana takes at its first start."""
    return ensure_secret(home.secrets / "grafana-password", lambda: secrets.token_urlsafe(_PASSWORD_BYTES)).read_text()


def _ensure_admin_url(home: Home, settings: SetupSettings) -> Secret:
    """Return the superuser's SQLAlchemy URL; the password is kept when the address changes."""
    file = home.database_secrets / "admin.url"
    known = make_url(file.read_text().strip()).password if file.exists() else None
    host, _, port = settings.postgres_address.rpartition(":")
    wanted = URL.create(
        "postgresql+psycopg",
        username=postgres.ADMIN,
        password=known or secrets.token_urlsafe(_PASSWORD_BYTES),
        host=host,
        port=int(port),
        database=DATABASE,
    ).render_as_string(hide_password=False)
    if not file.exists() or file.read_text() != wanted:
        write_secret(file, wanted)
    return Secret(wanted)


def _wait_for_servers(settings: SetupSettings, home: Home, admin_url: Secret) -> None:
    give_up_at = time.monotonic() + settings.servers_within_seconds
    while (error := asyncio.run(_try_nats(settings.nats_url, home.seed_file(Role.PROVISIONER)))) is not None:
        if time.monotonic() > give_up_at:
            where = without_credentials(settings.nats_url)
            raise LaunchFailed(f"NATS does not answer at {where}: {error}; see its log (`docker compose logs nats`)")
        time.sleep(_POLL_SECONDS)
    while (error := _try_connect(admin_url)) is not None:
        if time.monotonic() > give_up_at:
            raise LaunchFailed(
                f"PostgreSQL does not accept {postgres.ADMIN} at {settings.postgres_address}: {error}\n"
                "If it rejects the password, its data was created with another one: restore the installation volume that belongs "
                "to this data, or remove the volume postgres-data to start with an empty database"
            )
        time.sleep(_POLL_SECONDS)


async def _try_nats(nats_url: str, seed_file: Path) -> str | None:
    """Return the error if no server accepts the provisioner; None if one does. Raises AuthorizationError for a refused one."""

    async def ignore(_: Exception) -> None:
        """Keep nats-py from logging what is tried again."""

    try:
        client = await connect_as_provisioner(nats_url, seed_file, error_cb=ignore)
    except AuthorizationError:
        raise
    except (OSError, NatsError, TimeoutError) as error:
        return describe_tls_error(error) or str(error).strip() or type(error).__name__
    await client.close()
    return None


def _try_connect(admin_url: Secret) -> str | None:
    """Return the error of a connection as superuser; None if it succeeds."""
    try:
        psycopg.connect(postgres.driver_url(admin_url), connect_timeout=2).close()
    except psycopg.OperationalError as error:
        return str(error).strip()
    return None


def _hand_out_process(row: ServiceRow, slot: int, home: Home, settings: SetupSettings) -> None:
    """Copy the files of one process."""
    for name, source in files_of_process(row, slot, home).items():
        _hand_out(settings.handout_dir / nats_user(row, slot) / name, source.read_text(), settings.owner_uid)


def _hand_out_operator(home: Home, settings: SetupSettings) -> None:
    """Make a home directory for the command line: addresses, the operator's seed, and the demo client's."""
    out, inside = Home(settings.handout_dir / "operator"), Home(settings.operator_home)
    for user in (Role.OPERATOR, DEMO_CLIENT):
        target = out.secrets / "nkeys" / f"{user}.seed"
        _hand_out(target, home.seed_file(user).read_text(), settings.owner_uid)
    signing = grant_key(home, Role.OPERATOR)
    _hand_out(out.secrets / "grants" / signing.name, signing.read_text(), settings.owner_uid)
    pin = intake_public_key(home)
    _hand_out(out.secrets / "vault" / pin.name, pin.read_text(), settings.owner_uid)
    for directory in (out.path, out.secrets, out.run):
        _set_owner(_make_directory(directory), settings.owner_uid, 0o700)
    write_json(
        out.endpoints_file,
        {
            "http_url": settings.http_url,
            "nats_url": settings.nats_url,
            "operator_nkey_file": str(inside.secrets / "nkeys" / f"{Role.OPERATOR}.seed"),
            "operator_grant_key_file": str(inside.secrets / "grants" / f"{Role.OPERATOR}.key"),
            "client_nkey_file": str(inside.secrets / "nkeys" / f"{DEMO_CLIENT}.seed"),
            "client_credentials_file": str(inside.demo_credentials_file),
            "token_file": str(inside.demo_token_file),
        },
    )
    _set_owner(out.endpoints_file, settings.owner_uid, 0o400)


def _hand_out(path: Path, text: str, owner_uid: int) -> None:
    """Write a file that only its owner can read, in a directory that only its owner can enter."""
    _set_owner(_make_directory(path.parent), owner_uid, 0o700)
    write_secret(path, text)
    _set_owner(path, owner_uid, 0o400)


def _make_directory(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _set_owner(path: Path, owner_uid: int, mode: int) -> None:
    path.chmod(mode)
    if path.stat().st_uid != owner_uid or os.geteuid() == _ROOT:
        os.chown(path, owner_uid, owner_uid)


def main(arguments: list[str] | None = None) -> int:
    """Run one step; return 0, or 1 after printing why it failed."""
    parser = argparse.ArgumentParser(prog="python -m deploy.docker.setup", description=(__doc__ or "").splitlines()[0])
    steps = parser.add_subparsers(dest="step", required=True)
    steps.add_parser("prepare", help="generate secrets and the NATS configuration")
    steps.add_parser("provision", help="create streams and tables, and hand out files").add_argument(
        "--replicas", help="servers that keep each stream: 1, 3 or 5 (default: KEYFERRY_NATS_REPLICAS, else 1)"
    )
    steps.add_parser("users", help="render the NATS configuration again")
    given = parser.parse_args(arguments)
    try:
        _run(given)
    except Problem as problem:
        print(f"{given.step} failed: {problem.what}. {problem.remedy}", file=sys.stderr)
        return 1
    except (
        CannotStart,
        Refused,
        BusError,
        LaunchFailed,
        ProvisionError,
        OSError,
        NatsError,
        UnusableCertificate,
        psycopg.Error,
        SQLAlchemyError,
    ) as error:
        print(f"{given.step} failed: {describe(error)}", file=sys.stderr)
        return 1
    return 0


def _run(given: argparse.Namespace) -> None:
    settings = load(SetupSettings)
    match given.step:
        case "prepare":
            prepare(settings)
        case "provision":
            replicas = parse_replicas(given.replicas, "--replicas") if given.replicas else replicas_of(os.environ)
            provision_all(settings, replicas=replicas)
        case "users":
            render_users(settings)


if __name__ == "__main__":
    sys.exit(main())
