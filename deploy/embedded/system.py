"""The whole system: servers, streams, tables, services, smoke test."""

import asyncio
import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from deploy.console_page.sources import PageSources
from deploy.embedded import nats, operations_ports, postgres, services
from deploy.embedded.billing_demo import BillingDemo, DemoPorts, is_demo, remove_secrets, saved_file
from deploy.embedded.errors import SettingsInvalid
from deploy.embedded.home import Home, write_json
from deploy.embedded.internal_users import InternalUsers
from deploy.embedded.managed_process import Log, ProcessConfig, RestartOrder
from deploy.embedded.ports import LOOPBACK, is_free, require_free, reuse_or_find_port
from deploy.embedded.secret_files import grant_key, operator_token, token_pepper
from deploy.embedded.supervisor import Supervisor
from deploy.postgres.roles import write_secret
from keyferry.contracts import topology
from keyferry.contracts.internal_services import InternalService
from keyferry.contracts.secret import Secret
from keyferry.contracts.text import parse_digits
from keyferry.runtime.process.settings import read_secret

DEFAULT_HTTP_PORT = 8400
DATABASE = "keyferry"
_PASSWORD_BYTES = 24
_FORCED_STOP_SECONDS = 10.0
"""Time for PostgreSQL and NATS to shut down cleanly when the stop is forced; they take milliseconds."""

MakeProcessConfigs = Callable[[Home, services.Addresses, Mapping[str, str]], Iterable[ProcessConfig]]
SmokeTest = Callable[[Path], None]
"""Sends a request to the system of a home directory; raises LaunchFailed if the answer is wrong."""


def _run_first_chat(home: Path) -> None:
    from deploy.embedded.smoke_test import run_smoke_test

    run_smoke_test(home)


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What is launched: by default this repository's services, their migrations and the smoke test."""

    make_process_configs: MakeProcessConfigs = services.make_process_configs
    services_root: Path = services.ROOT / "services"
    smoke_test: SmokeTest = _run_first_chat
    page_sources: PageSources = field(default_factory=PageSources)


class System:
    """Starts everything in `home` under `supervisor` and reports progress to `log`."""

    def __init__(self, home: Home, supervisor: Supervisor, environment: Mapping[str, str], log: Log) -> None:
        self.home = home
        self._supervisor = supervisor
        self._log = log
        with_demo = is_demo(environment)
        host, port = parse_http_address(environment)
        require_free(port, "KEYFERRY_HTTP_PORT", host)
        console_port = _choose_console_port(environment, host, home.run / "console.port", port)
        self._nats_port = reuse_or_find_port(home.run / "nats.port", {port, console_port})
        self._postgres_port = reuse_or_find_port(home.run / "postgres.port", {port, console_port, self._nats_port})
        taken = {port, console_port, self._nats_port, self._postgres_port}
        self.billing_demo = BillingDemo(home, DemoPorts.choose(home, taken)) if with_demo else None
        self.environment = dict(environment) | (self.billing_demo.ports.settings() if self.billing_demo else {})
        """What the services get: the operator's settings, and those by which they use the doubles of the billing demo."""
        if self.billing_demo is not None:
            taken |= set(astuple(self.billing_demo.ports))
        self.addresses = services.Addresses(
            nats_url=f"nats://{LOOPBACK}:{self._nats_port}",
            http_host=host,
            http_port=port,
            console_port=console_port,
            metrics_host=environment.get("KEYFERRY_METRICS_HOST") or LOOPBACK,
            metrics_ports=operations_ports.choose(home, taken, environment),
        )
        if console_port == port:
            raise SettingsInvalid(
                f"KEYFERRY_HTTP_PORT and KEYFERRY_CONSOLE_PORT are both {port}: choose another one for either"
            )
        self._left_out: list[str] = []
        self.internal_users = InternalUsers(
            home,
            self.addresses.nats_url,
            first_tenant=services.DEMO_TENANT,
            users_of=self._users_of,
            write=self._write_nats_configuration,
            server_pid=self._find_nats_pid,
            log=log,
        )
        # They describe a running system, and none runs: a damaged one must not be read by what is started now.
        self.remove_state()

    async def start(self, build: Build) -> None:
        """Start servers, streams, tables and services, in this order. Raises the first failure."""
        admin_url = await self._start_servers()
        await asyncio.gather(self._provision(), asyncio.to_thread(self._migrate, admin_url, build.services_root))
        write_json(self.home.endpoints_file, self._endpoints())
        operations_ports.write_targets(self.home, self.addresses)
        self._log("streams and tables are in place, starting the services")
        configs = build.make_process_configs(self.home, self.addresses, self.environment)
        doubles = (self.billing_demo.process_config(self.addresses),) if self.billing_demo else ()
        await self._supervisor.start([*doubles, *configs])
        self._log("all services are ready")

    async def settle_billing_demo(self) -> None:
        """Put the secrets of the billing demo into the vault, or remove those of an earlier one. Raises LaunchFailed."""
        if self.billing_demo is not None:
            await asyncio.to_thread(self.billing_demo.save_secrets)
        elif saved_file(self.home).exists():
            await asyncio.to_thread(remove_secrets, self.home)

    async def run_smoke_test(self, smoke_test: SmokeTest) -> None:
        """Send one request to the running system, then write the state file. Raises what `smoke_test` raises."""
        await asyncio.to_thread(smoke_test, self.home.path)
        self.write_state()

    def _find_nats_pid(self) -> int | None:
        running = (process["pid"] for process in self._supervisor.status() if process["name"] == "nats")
        return next(running, None)

    async def keep_nats_storing(self) -> None:
        """Restart NATS whenever a full disk has space again, for ever."""
        from deploy.embedded.nats_recovery import NatsRecovery, fetch_health

        await NatsRecovery(
            store=self.home.nats,
            fetch_health=lambda: fetch_health(self.addresses.nats_url, self.home.seed_file("operator")),
            restart=lambda: self._supervisor.restart("nats", self._log),
            log=self._log,
        ).run()

    def write_state(self) -> None:
        """Write `run/state.json`: addresses and process ids."""
        self.home.run.mkdir(mode=0o700, exist_ok=True)  # somebody may have removed it
        pids = {process["name"]: process["pid"] for process in self._supervisor.status()}
        write_json(self.home.state_file, {**self._endpoints(), "supervisor_pid": os.getpid(), "processes": pids})

    def remove_state(self) -> None:
        """Remove the files that mark a running system."""
        self.home.state_file.unlink(missing_ok=True)
        self.home.endpoints_file.unlink(missing_ok=True)
        operations_ports.targets_file(self.home).unlink(missing_ok=True)

    def _endpoints(self) -> dict[str, object]:
        return {
            "http_url": self.addresses.http_url,
            "console_url": self.addresses.console_url,
            "operator_token_file": str(operator_token(self.home)),
            "nats_url": self.addresses.nats_url,
            "operator_nkey_file": str(self.home.seed_file("operator")),
            "operator_grant_key_file": str(grant_key(self.home, "operator")),
            "token_pepper_file": str(token_pepper(self.home)),
            "token_file": str(self.home.demo_token_file),
            "client_nkey_file": str(self.home.seed_file(services.DEMO_CLIENT)),
            "client_credentials_file": str(self.home.demo_credentials_file),
        }

    async def _start_servers(self) -> Secret:
        """Start NATS and PostgreSQL concurrently; return the superuser's URL of our database."""
        binary = nats.find_nats_server()
        self.internal_users.write_at_start()
        cluster = postgres.Cluster(self.home.path)
        password = self._load_admin_password(cluster)
        if not cluster.initialised:
            self._log("initialising PostgreSQL")
            cluster.initialise(password)
        maintenance = postgres.url(self._postgres_port, postgres.ADMIN, password, "postgres")
        await self._supervisor.start(
            [
                ProcessConfig(
                    service="postgres",
                    make_spec=lambda: cluster.make_server_spec(self._postgres_port),
                    probe=lambda: _accepts_connections(maintenance),
                    restart_order=RestartOrder.STOP_FIRST,
                    forced_stop_seconds=_FORCED_STOP_SECONDS,
                ),
                ProcessConfig(
                    service="nats",
                    make_spec=lambda: nats.make_server_spec(binary, self.internal_users.write_at_start()),
                    probe=lambda: asyncio.to_thread(nats.accepts_clients, self._nats_port),
                    restart_order=RestartOrder.STOP_FIRST,
                    forced_stop_seconds=_FORCED_STOP_SECONDS,
                ),
            ]
        )
        self._log("PostgreSQL and NATS are ready")
        await _create_database(maintenance)
        return postgres.url(self._postgres_port, postgres.ADMIN, password, DATABASE)

    def _users_of(self, internal_services: list[InternalService]) -> dict[str, str]:
        """Return the public nkeys of the programs' users."""
        from deploy.nats.internal_users import internal_users

        first = {services.DEMO_CLIENT: self.home.public_key(services.DEMO_CLIENT)}
        programs, left_out = internal_users(internal_services, self._own_users(), first)
        if left_out and left_out != self._left_out:
            users = ", ".join(left_out)
            self._log(
                f"nats: these users have the nkey of another one and are left out: {users}. Revoke and create them again"
            )
        self._left_out = left_out
        return programs

    def _own_users(self) -> dict[str, str]:
        return {user: self.home.public_key(user) for user in topology.users(services.WORKER_SLOTS)}

    def _write_nats_configuration(self, programs: dict[str, str], probe_key: str | None) -> Path:
        """Write the configuration with these programs, checked by the server's own program. Raises NatsUnavailable."""
        from deploy.nats.render import render_server_conf

        self.home.run.mkdir(mode=0o700, exist_ok=True)
        draft, configuration = self.home.run / ".nats.conf.draft", self.home.run / "nats.conf"
        users = self._own_users() | programs
        draft.write_text(render_server_conf(users, port=self._nats_port, store_dir=self.home.nats, probe_key=probe_key))
        nats.check_configuration(nats.find_nats_server(), draft)
        draft.replace(configuration)
        return configuration

    def _load_admin_password(self, cluster: postgres.Cluster) -> Secret:
        """Return the superuser's password, which is kept across restarts and port changes."""
        file = self.home.database_secrets / "admin.url"
        if file.exists():
            password = Secret(str(make_url(read_secret(file).reveal()).password))
        elif cluster.initialised:
            raise SettingsInvalid(
                f"{file} is missing; it holds the password of {cluster.data_dir}. Restore the file from a backup, "
                "or move the data directory away to start with an empty database"
            )
        else:
            password = Secret(secrets.token_urlsafe(_PASSWORD_BYTES))
        write_secret(file, postgres.url(self._postgres_port, postgres.ADMIN, password, DATABASE).reveal())
        return password

    async def _provision(self) -> None:
        from deploy.nats.provision import provision

        await provision(self.addresses.nats_url, self.home.seed_file("provisioner"))

    def _migrate(self, admin_url: Secret, services_root: Path) -> None:
        from deploy.postgres.migrate import migrate

        migrate(admin_url, self.home.database_secrets, services_root=services_root, log=self._log)


def parse_http_address(environment: Mapping[str, str]) -> tuple[str, int]:
    """Return the host and port of the HTTP API. Raises SettingsInvalid."""
    port = _parse_port(environment, "KEYFERRY_HTTP_PORT")
    host = environment.get("KEYFERRY_HTTP_HOST") or LOOPBACK
    try:
        is_free(port or DEFAULT_HTTP_PORT, host)
    except OSError as error:
        raise SettingsInvalid(
            f"KEYFERRY_HTTP_HOST={host!r} is no address of this machine ({error.strerror}): use one of its addresses, or 0.0.0.0"
            " for all"
        ) from None
    return host, port or DEFAULT_HTTP_PORT


def _choose_console_port(environment: Mapping[str, str], host: str, port_file: Path, http_port: int) -> int:
    """Return the port of the management API. Raises SettingsInvalid and PortInUse.

    A system with a configured HTTP port is probably not the only one on this machine, so its management API gets a free port.
    """
    port = _parse_port(environment, "KEYFERRY_CONSOLE_PORT")
    if port is None and environment.get("KEYFERRY_HTTP_PORT"):
        return reuse_or_find_port(port_file, {http_port})
    require_free(port or services.DEFAULT_CONSOLE_PORT, "KEYFERRY_CONSOLE_PORT", host)
    return port or services.DEFAULT_CONSOLE_PORT


def _parse_port(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name)
    if not text:
        return None
    port = parse_digits(text)
    if port is None or not 0 < port < 65536:
        raise SettingsInvalid(f"{name}={text!r} is not a port: use a number from 1 to 65535")
    return port


async def _accepts_connections(url: Secret) -> bool:
    try:
        connection = await psycopg.AsyncConnection.connect(postgres.driver_url(url), connect_timeout=2)
    except psycopg.OperationalError:
        return False
    await connection.close()
    return True


async def _create_database(maintenance: Secret) -> None:
    async with await psycopg.AsyncConnection.connect(postgres.driver_url(maintenance), autocommit=True) as connection:
        found = await connection.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,))
        if await found.fetchone() is None:
            await connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
