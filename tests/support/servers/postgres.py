"""A real PostgreSQL for tests: shared by the whole run with a database per test, or separate so that it may be killed."""

import atexit
import functools
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import psycopg

from deploy.embedded import postgres
from deploy.embedded.process import ProcessSpec
from keyferry.contracts.secret import Secret
from tests.support.servers.ports import find_free_port
from tests.support.servers.server import ChildServer, Runner, Server, wants_containers, working_dir


class PostgresServer(Server):
    """A PostgreSQL whose superuser's password the test run made."""

    def __init__(self, runner: Runner, port: int, user: str, password: Secret) -> None:
        super().__init__(runner)
        self._port, self._user, self._password = port, user, password

    def url(self, database: str = "postgres") -> Secret:
        """Return the superuser's SQLAlchemy URL of a database."""
        return postgres.url(self._port, self._user, self._password, database)

    def new_database(self, template: str = "template1") -> Secret:
        """Create a copy of `template`, by default empty, with a unique name. Return the superuser's SQLAlchemy URL of it."""
        name = f"test_{secrets.token_hex(6)}"
        with psycopg.connect(postgres.driver_url(self.url()), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        return self.url(name)


@contextmanager
def postgres_server(*, synced: bool = True) -> Iterator[PostgresServer]:
    """Run a separate PostgreSQL, for tests that stop or kill it; others use `shared_postgres`.

    Unless it is `synced`, an embedded one leaves it to the kernel when data reach the disk. They survive a kill of the server
    either way, and a database is created in half of the time; the ledger refuses such a server.
    """
    if wants_containers():
        from tests.support.servers import containers

        with containers.postgres_container() as (runner, port, user, password):
            yield PostgresServer(runner, port, user, password)
        return
    with working_dir("keyferry-postgres-") as home:
        password = Secret(secrets.token_urlsafe(24))
        cluster = postgres.Cluster(home)
        cluster.initialise(password)
        port = find_free_port()
        probe = postgres.driver_url(postgres.url(port, postgres.ADMIN, password, "postgres"))

        def make_spec() -> ProcessSpec:
            spec = cluster.make_server_spec(port)
            return spec if synced else replace(spec, argv=(*spec.argv, "-c", "fsync=off"))

        child = ChildServer(make_spec, home / "server.log", lambda: _accepts(probe))
        with child.running():
            yield PostgresServer(child, port, postgres.ADMIN, password)


@functools.cache
def shared_postgres(*, synced: bool = True) -> PostgresServer:
    """Return the run's PostgreSQL, started on first use and stopped at exit. Create a database of your own in it."""
    stack = ExitStack()
    server = stack.enter_context(postgres_server(synced=synced))
    atexit.register(stack.close)
    return server


def _accepts(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
