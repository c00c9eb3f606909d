"""A PostgreSQL primary with a synchronous standby, and what a cluster manager does with the two.

Every commit waits for the standby's disk, so a promoted standby has everything that was acknowledged. In production a
manager such as Patroni decides when one is promoted, and when a primary goes on alone; here the test does.
"""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
from sqlalchemy import URL

from deploy.embedded import postgres
from deploy.embedded.ports import LOOPBACK
from deploy.embedded.process import ProcessSpec, spawn
from deploy.embedded.system import DATABASE
from keyferry.contracts.secret import Secret
from tests.support.servers.ports import find_free_port
from tests.support.servers.server import ChildServer
from tests.support.waiting import until


class Node:
    """One of the two servers."""

    def __init__(self, directory: Path, password: Secret) -> None:
        self.port = find_free_port()
        self.cluster = postgres.Cluster(directory)
        self._password = password
        self.server = ChildServer(
            lambda: self.cluster.make_server_spec(self.port), directory.parent / f"{directory.name}.log", self.accepts
        )

    def url(self, database: str = "postgres") -> str:
        """Return the superuser's URL for psycopg."""
        return postgres.driver_url(postgres.url(self.port, postgres.ADMIN, self._password, database))

    def execute(self, *statements: str) -> list[tuple[object, ...]]:
        """Run statements as the superuser; return the rows of the last one. Raises psycopg.OperationalError."""
        rows: list[tuple[object, ...]] = []
        with psycopg.connect(self.url(), autocommit=True, connect_timeout=2) as connection:
            for statement in statements:
                found = connection.execute(statement.encode())
                rows = found.fetchall() if found.description else []
        return rows

    def accepts(self) -> bool:
        """Whether it accepts connections."""
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def copy_from(self, other: "Node") -> None:
        """Replace the data by a copy of a primary's, to follow it from there."""
        data = self.cluster.data_dir
        shutil.rmtree(data, ignore_errors=True)
        server = other.cluster.make_server_spec(other.port)
        source = f"host={LOOPBACK} port={other.port} user={postgres.ADMIN}"
        program = Path(server.argv[0]).with_name("pg_basebackup")
        copy: ProcessSpec = replace(
            server,
            argv=(str(program), "-d", source, "-D", str(data), "-R", "-X", "stream", "-c", "fast"),
            env={**server.env, "PGPASSWORD": self._password.reveal()},
        )
        log = data.parent / "copy.log"
        with log.open("wb") as output:
            assert spawn(copy, output=output).wait() == 0, log.read_text()


class PostgresPair:
    """The primary and the standby; `manager` methods return once what they order has happened."""

    def __init__(self, directory: Path, password: Secret) -> None:
        self.primary, self.standby = (Node(directory / name, password) for name in ("a", "b"))
        self._nodes = (self.primary, self.standby)
        self._password = password

    @property
    def admin_url(self) -> Secret:
        """The superuser's SQLAlchemy URL of the product's database, with both servers."""
        query = {
            "host": ",".join(LOOPBACK for _ in self._nodes),
            "port": ",".join(str(node.port) for node in self._nodes),
            "target_session_attrs": "read-write",
            "connect_timeout": "2",
        }
        url = URL.create(
            "postgresql+psycopg",
            username=postgres.ADMIN,
            password=self._password.reveal(),
            database=DATABASE,
            query=query,
        )
        return Secret(url.render_as_string(hide_password=False))

    def begin(self, stack: ExitStack) -> None:
        """Initialise and start both."""
        self.primary.cluster.initialise(self._password)
        stack.enter_context(self.primary.server.running())
        self.primary.execute(f"CREATE DATABASE {DATABASE}")
        stack.callback(self.standby.server.stop)
        self.follow()

    def follow(self) -> None:
        """Copy the primary to the standby, start that, and let commits wait for it."""
        self.standby.copy_from(self.primary)
        self.standby.server.restart()
        until("the standby streams", self._streams)
        self.primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
        until("commits wait for the standby", lambda: self._streams("sync"))

    def go_on_alone(self) -> None:
        """Let the primary commit without the standby, as a manager orders when the standby is lost."""
        self.primary.execute("ALTER SYSTEM SET synchronous_standby_names = ''", "SELECT pg_reload_conf()")

    def promote(self) -> None:
        """Make the standby the primary; the old one must be dead, or two would take writes."""
        self.standby.execute("SELECT pg_promote(true, 30)")
        self.primary, self.standby = self.standby, self.primary

    def _streams(self, sync_state: str = "") -> bool:
        rows = self.primary.execute("SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'")
        return any(sync_state in str(row[0]) for row in rows)


@contextmanager
def postgres_pair(directory: Path) -> Iterator[PostgresPair]:
    """Run a pair with an empty database, its data below `directory`, which another user may have to enter."""
    for name in ("a", "b"):
        (directory / name).mkdir(parents=True)
        (directory / name).chmod(0o711)
    directory.chmod(0o711)
    with ExitStack() as stack:
        pair = PostgresPair(directory, Secret(secrets.token_urlsafe(24)))
        pair.begin(stack)
        yield pair
