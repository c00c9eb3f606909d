"""Real servers for tests: PostgreSQL with a database per test or module, and a NATS server that can be killed and frozen.

`KEYFERRY_TEST_BACKEND` chooses what runs them: `embedded` (the default) or `containers`, which fails where no engine answers.
"""

import atexit
import functools
import json
import os
import secrets
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import psycopg

from deploy.embedded import nats, postgres
from deploy.embedded.ports import LOOPBACK, find_free_port
from deploy.embedded.process import ProcessSpec, spawn
from keyferry.contracts.secret import Secret
from tests.support.family import frozen
from tests.support.waiting import until

_BACKEND_VARIABLE = "KEYFERRY_TEST_BACKEND"
_STOP_SECONDS = 20.0

NATS_LIMITS = """
max_payload: 8MB
max_pending: 64MB
write_deadline: "5s"
no_fast_producer_stall: true
"""
"""What the deployed server is set to, for tests that need no permissions."""


class Runner(Protocol):
    """Whatever runs a server: a child process or a container."""

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""

    def pause(self) -> None:
        """Freeze it."""

    def resume(self) -> None:
        """Let it go on."""

    def restart(self) -> None:
        """Start it again after `kill` or a clean stop, on the same port with the same data; ready on return."""

    def stop(self) -> None:
        """A clean stop, and wait until it is gone."""


class Server:
    """A running server that a test may hurt. All calls return when the effect is there."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.kill = runner.kill
        self.pause = runner.pause
        self.resume = runner.resume
        self.restart = runner.restart
        self.stop = runner.stop


class PostgresServer(Server):
    """A PostgreSQL whose superuser's password the test run made."""

    def __init__(self, runner: Runner, port: int, user: str, password: Secret) -> None:
        super().__init__(runner)
        self._port, self._user, self._password = port, user, password

    def url(self, database: str = "postgres") -> Secret:
        """The superuser's SQLAlchemy URL of a database."""
        return postgres.url(self._port, self._user, self._password, database)

    def new_database(self) -> Secret:
        """Create an empty database of its own name; the superuser's SQLAlchemy URL of it."""
        name = f"test_{secrets.token_hex(6)}"
        with psycopg.connect(postgres.driver_url(self.url()), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)


class NatsServer(Server):
    """A NATS server with JetStream."""

    def __init__(self, runner: Runner, url: str) -> None:
        super().__init__(runner)
        self.url = url

    def __str__(self) -> str:
        return self.url


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL of its own, for tests that stop or kill it; others share one through `shared_postgres`."""
    if _wants_containers():
        from tests.support import containers

        with containers.postgres_container() as (runner, port, user, password):
            yield PostgresServer(runner, port, user, password)
        return
    with _working_dir("keyferry-postgres-") as home:
        password = Secret(secrets.token_urlsafe(24))
        cluster = postgres.Cluster(home)
        cluster.initialise(password)
        port = find_free_port()
        probe = postgres.driver_url(postgres.url(port, postgres.ADMIN, password, "postgres"))
        child = _Child(lambda: cluster.make_server_spec(port), home / "server.log", lambda: _accepts(probe))
        with child.running():
            yield PostgresServer(child, port, postgres.ADMIN, password)


@functools.cache
def shared_postgres() -> PostgresServer:
    """One PostgreSQL for the whole test run; it stops with the run. Take a database of your own from it."""
    stack = ExitStack()
    server = stack.enter_context(postgres_server())
    atexit.register(stack.close)
    return server


@contextmanager
def nats_server(conf: str = "", *, whole: bool = False) -> Iterator[NatsServer]:
    """A NATS server on a free port. `conf` is added to the usual limits, or is the whole file when `whole` is set."""
    if _wants_containers():
        from tests.support import containers

        usual = "" if whole else f"{NATS_LIMITS}\n{_jetstream(Path('/data'))}"
        with containers.nats_container(f"{usual}\n{conf}\n") as (runner, url):
            yield NatsServer(runner, url)
        return
    with _working_dir("keyferry-nats-") as home:
        ports = home / "ports"
        ports.mkdir()
        usual = "" if whole else f"{NATS_LIMITS}\n{_jetstream(home / 'jetstream')}"
        configuration = home / "nats.conf"
        configuration.write_text(f'{usual}\nports_file_dir: "{ports}"\n{conf}\n')
        port, binary = _AnyPort(ports), nats.find_nats_server()
        nats.check_configuration(binary, configuration)
        child = _Child(
            lambda: nats.make_server_spec(binary, configuration, port=port.known or -1),
            home / "server.log",
            port.answers,
        )
        with child.running():
            yield NatsServer(child, f"nats://{LOOPBACK}:{port.known}")


def _jetstream(store_dir: Path) -> str:
    return f'jetstream {{ store_dir: "{store_dir}", sync_interval: always, max_memory_store: 256MB, max_file_store: 24GB }}'


class _AnyPort:
    """The port that the server chose at its first start, kept for the next ones."""

    def __init__(self, ports_dir: Path) -> None:
        self._ports_dir = ports_dir
        self.known: int | None = None

    def answers(self) -> bool:
        if self.known is None:
            self.known = self._chosen()
        return self.known is not None and nats.accepts_clients(self.known)

    def _chosen(self) -> int | None:
        for file in self._ports_dir.glob("*.ports"):
            try:
                urls = json.loads(file.read_text())["nats"]
            except ValueError:  # half written
                continue
            return int(urls[0].rpartition(":")[2])
        return None


class _Child:
    """A server as a child process of the test run."""

    def __init__(self, specify: Callable[[], ProcessSpec], log: Path, ready: Callable[[], bool]) -> None:
        self._specify, self._log, self._ready = specify, log, ready
        self._process: subprocess.Popen[bytes] | None = None
        self._stop_signal = signal.SIGTERM

    @contextmanager
    def running(self) -> Iterator[None]:
        try:
            self.restart()
            yield
        finally:
            self.resume()
            self.stop()

    def restart(self) -> None:
        try:
            until("the server accepts clients", self._started)
        except AssertionError as error:
            raise AssertionError(f"{error}; it says:\n{self._log.read_text(errors='replace')[-2000:]}") from None

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(self._stop_signal)

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)
        if self._process is not None and self._process.poll() is None:
            pid = self._process.pid
            until("every thread of it stands still", lambda: frozen(pid))

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _started(self) -> bool:
        """Start it, again if it gives up: a killed PostgreSQL's successor must wait for the old one's last children."""
        if self._process is None or self._process.poll() is not None:
            spec = self._specify()
            self._stop_signal = spec.stop_signal
            with self._log.open("ab") as log:
                self._process = spawn(spec, output=log)
        return self._ready() and self._process.poll() is None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._signal(number)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _accepts(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _wants_containers() -> bool:
    backend = os.environ.get(_BACKEND_VARIABLE, "embedded")
    if backend not in ("embedded", "containers"):
        raise ValueError(f"{_BACKEND_VARIABLE}={backend!r}: use `embedded` or `containers`")
    return backend == "containers"


@contextmanager
def _working_dir(prefix: str) -> Iterator[Path]:
    """A directory that others may enter, for a server that runs as another user; what is inside keeps its own rights."""
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Path(name)
