"""The whole system as one thing: servers, streams, tables, services, proof."""

import asyncio
import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from deploy.embedded import nats, postgres, services
from deploy.embedded.failure import LaunchFailed
from deploy.embedded.home import Home, write_json
from deploy.embedded.ports import LOOPBACK, require_free, steady_port
from deploy.embedded.seat import Handover, Placement, Say
from deploy.embedded.secret_files import operator_token, token_pepper
from deploy.embedded.supervisor import Supervisor
from deploy.postgres.roles import write_secret
from keyferry.contracts.secret import Secret

DEFAULT_HTTP_PORT = 8400
DATABASE = "keyferry"
_PASSWORD_BYTES = 24
_CUT_SECONDS = 10.0
"""What PostgreSQL and NATS get to stop cleanly when somebody is impatient; they take milliseconds."""

Services = Callable[[Home, services.Addresses, Mapping[str, str]], Iterable[Placement]]
Proof = Callable[[Path], None]
"""Makes a request to the system in the home directory it is given; raises LaunchFailed when the answer is not right."""


def _first_chat(home: Path) -> None:
    from deploy.embedded.proof import prove

    prove(home)


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What is launched: this repository's services, their migrations, and the request that proves them."""

    placements: Services = services.placements
    services_root: Path = services.ROOT / "services"
    proof: Proof = _first_chat


class SettingsInvalid(LaunchFailed):
    """A setting of the launcher itself makes no sense; the message names it."""


class System:
    """Starts everything in `home` under `supervisor`, telling `say` how it goes."""

    def __init__(self, home: Home, supervisor: Supervisor, environment: Mapping[str, str], say: Say) -> None:
        self.home = home
        self._supervisor = supervisor
        self._environment = environment
        self._say = say
        host, port = http_address(environment)
        require_free(port, "KEYFERRY_HTTP_PORT", host)
        self._nats_port = steady_port(home.run / "nats.port")
        self._postgres_port = steady_port(home.run / "postgres.port")
        self.addresses = services.Addresses(
            nats_url=f"nats://{LOOPBACK}:{self._nats_port}",
            http_host=host,
            http_port=port,
            console_port=_console_port(environment, host, home.run / "console.port"),
        )

    async def start(self, build: Build) -> None:
        """Bring up servers, streams, tables and services, in this order. Raises what kept any of it from working."""
        admin_url = await self._start_servers()
        await asyncio.gather(self._provision(), asyncio.to_thread(self._migrate, admin_url, build.services_root))
        write_json(self.home.endpoints_file, self._endpoints())
        self._say("streams and tables are in place, starting the services")
        await self._supervisor.start(build.placements(self.home, self.addresses, self._environment))
        self._say("all services are ready")

    async def prove(self, proof: Proof) -> None:
        """Let the running system answer one request, and only then write down that it is up. Raises what `proof` raises."""
        await asyncio.to_thread(proof, self.home.path)
        self.write_state()

    def write_state(self) -> None:
        """`run/state.json`: addresses and process ids."""
        pids = {seat["name"]: seat["pid"] for seat in self._supervisor.status()}
        write_json(self.home.state_file, {**self._endpoints(), "supervisor_pid": os.getpid(), "processes": pids})

    def forget(self) -> None:
        """Remove what says that a system is running."""
        self.home.state_file.unlink(missing_ok=True)
        self.home.endpoints_file.unlink(missing_ok=True)

    def _endpoints(self) -> dict[str, object]:
        return {
            "http_url": self.addresses.http_url,
            "console_url": self.addresses.console_url,
            "operator_token_file": str(operator_token(self.home)),
            "nats_url": self.addresses.nats_url,
            "operator_nkey_file": str(self.home.seed_file("operator")),
            "token_pepper_file": str(token_pepper(self.home)),
            "token_file": str(self.home.demo_token_file),
            "client_nkey_file": str(self.home.seed_file(services.DEMO_CLIENT)),
        }

    async def _start_servers(self) -> Secret:
        """NATS and PostgreSQL at the same time; the superuser's URL of our database."""
        binary, configuration = nats.find_nats_server(), self._write_nats_configuration()
        nats.check_configuration(binary, configuration)
        cluster = postgres.Cluster(self.home.path)
        password = self._admin_password(cluster)
        if not cluster.initialised:
            self._say("initialising PostgreSQL")
            cluster.initialise(password)
        maintenance = postgres.url(self._postgres_port, postgres.ADMIN, password, "postgres")
        await self._supervisor.start(
            [
                Placement(
                    service="postgres",
                    specify=lambda: cluster.server(self._postgres_port),
                    probe=lambda: _accepts(maintenance),
                    handover=Handover.DRAIN_FIRST,
                    cut_seconds=_CUT_SECONDS,
                ),
                Placement(
                    service="nats",
                    specify=lambda: nats.server(binary, configuration),
                    probe=lambda: asyncio.to_thread(nats.answers, self._nats_port),
                    handover=Handover.DRAIN_FIRST,
                    cut_seconds=_CUT_SECONDS,
                ),
            ]
        )
        self._say("PostgreSQL and NATS are ready")
        await _create_database(maintenance)
        return postgres.url(self._postgres_port, postgres.ADMIN, password, DATABASE)

    def _write_nats_configuration(self) -> Path:
        from deploy.nats.render import server_conf
        from keyferry.contracts import topology

        everyone = topology.users(services.WORKER_SLOTS, [services.DEMO_CLIENT])
        keys = {user: self.home.public_key(user) for user in everyone}
        configuration = self.home.run / "nats.conf"
        configuration.write_text(server_conf(keys, port=self._nats_port, store_dir=self.home.nats))
        return configuration

    def _admin_password(self, cluster: postgres.Cluster) -> Secret:
        """The superuser's password, which outlives ports and restarts."""
        file = self.home.database_secrets / "admin.url"
        if file.exists():
            password = Secret(str(make_url(file.read_text().strip()).password))
        elif cluster.initialised:
            raise SettingsInvalid(
                f"{file} is gone, and with it the way into {cluster.data_dir}. Restore the file from a backup, "
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

        migrate(admin_url, self.home.database_secrets, services_root=services_root, say=self._say)


def http_address(environment: Mapping[str, str]) -> tuple[str, int]:
    """Host and port that the HTTP API is to listen on. Raises SettingsInvalid."""
    port = _port(environment, "KEYFERRY_HTTP_PORT")
    return environment.get("KEYFERRY_HTTP_HOST") or LOOPBACK, port or DEFAULT_HTTP_PORT


def _console_port(environment: Mapping[str, str], host: str, memory: Path) -> int:
    """Where the management API listens. A system that moved its HTTP port away from the usual one is not the only one here:
    its management API moves as well, to a free port. Raises SettingsInvalid and PortTaken."""
    port = _port(environment, "KEYFERRY_CONSOLE_PORT")
    if port is None and environment.get("KEYFERRY_HTTP_PORT"):
        return steady_port(memory)
    require_free(port or services.DEFAULT_CONSOLE_PORT, "KEYFERRY_CONSOLE_PORT", host)
    return port or services.DEFAULT_CONSOLE_PORT


def _port(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name)
    if not text:
        return None
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise SettingsInvalid(f"{name}={text!r} is no port: use a number from 1 to 65535")
    return int(text)


async def _accepts(url: Secret) -> bool:
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
