"""The setup of the containers: its two steps with real servers, then every container's command with its files.

Each container becomes a process with a directory for its root: where Compose mounts a volume, a link leads to that volume's
directory, and the paths and host names in the environment are changed accordingly. All else is as docker-compose.yml says.
"""

import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import psycopg
import pytest

from deploy.embedded import nats, postgres
from deploy.embedded.home import Home
from deploy.embedded.ports import LOOPBACK
from deploy.embedded.process import ProcessSpec, spawn
from deploy.embedded.services import DEMO_CLIENT, WORKER_SLOTS
from deploy.embedded.system import DATABASE
from keyferry.contracts import topology
from keyferry.contracts.secret import Secret
from tests.contract.deploy.composition import PROCESSES, ROOT, Container, containers, services
from tests.support.cluster.nats_cluster import nats_cluster
from tests.support.cluster.system import STREAM_NAMES
from tests.support.cluster.tcp_links import tcp_links
from tests.support.servers.ports import find_free_port
from tests.support.waiting import until

OWNER_UID, POSTGRES_UID, GRAFANA_UID = (
    int(containers()["prepare"].environment[name]) if os.geteuid() == 0 else os.geteuid()
    for name in ("KEYFERRY_OWNER_UID", "KEYFERRY_POSTGRES_UID", "KEYFERRY_GRAFANA_UID")
)
_STEP_SECONDS = 120
_STOP_SECONDS = 60


@dataclass
class Machine:
    """What a container engine does: volumes, addresses, and containers as processes."""

    base: Path
    nats_port: int = field(default_factory=find_free_port)
    postgres_port: int = field(default_factory=find_free_port)
    http_port: int = field(default_factory=find_free_port)
    metrics_ports: dict[str, int] = field(default_factory=lambda: {name: find_free_port() for name in services()})

    def volume(self, name: str) -> Path:
        path = self.base / "volumes" / name
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
        return path

    def root(self, container: Container) -> Path:
        """Return the directory that stands for the container's `/`, with its volumes."""
        root = self.base / "containers" / container.name
        for mount in container.mounts:
            point = root / mount.target.lstrip("/")
            if not point.is_symlink():
                point.parent.mkdir(parents=True, exist_ok=True)
                point.symlink_to(self.volume(mount.volume))
        return root

    def argv(self, container: Container) -> list[str]:
        python, *rest = container.texts("command")
        assert python == "python"
        return [sys.executable, *(self._there(part, container) for part in rest)]

    def environment(self, container: Container) -> dict[str, str]:
        environment = {name: self._there(value, container) for name, value in container.environment.items()}
        environment |= {
            "KEYFERRY_OWNER_UID": str(OWNER_UID),
            "KEYFERRY_POSTGRES_UID": str(POSTGRES_UID),
            "KEYFERRY_GRAFANA_UID": str(GRAFANA_UID),
            "KEYFERRY_HTTP_HOST": LOOPBACK,
            "KEYFERRY_HTTP_PORT": str(self.http_port),
            "KEYFERRY_METRICS_HOST": LOOPBACK,
            "KEYFERRY_METRICS_PORT": str(self.metrics_ports.get(container.name, 0)),
            "KEYFERRY_OPERATOR_HOME": str(self.root(containers()["first-chat"]) / "run/keyferry"),
            "KEYFERRY_NATS_STORE_DIR": str(self.volume("nats-data")),
        }
        own = {name: environment[name] for name in container.environment}
        return own | {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}

    def _there(self, value: str, container: Container) -> str:
        """Translate a setting to this machine: a path below the container's root, a loopback address."""
        ports = {"nats:4222": self.nats_port, "postgres:5432": self.postgres_port, "ingress:8400": self.http_port}
        for name, port in ports.items():
            value = value.replace(name, f"{LOOPBACK}:{port}")
        value = value.replace("0.0.0.0:4222", f"{LOOPBACK}:{self.nats_port}")
        return f"{self.root(container)}{value}" if value.startswith("/") else value

    def run(self, name: str, *options: str, nats_url: str | None = None) -> "subprocess.CompletedProcess[str]":
        """Run a one-shot container, with options after its command and, if it is given, with this address of NATS."""
        container = containers()[name]
        return subprocess.run(
            [*self.argv(container), *options],
            cwd=ROOT,
            env=self.environment(container) | ({} if nats_url is None else {"KEYFERRY_NATS_URL": nats_url}),
            capture_output=True,
            text=True,
            timeout=_STEP_SECONDS,
            check=False,
        )

    def run_successfully(self, name: str) -> str:
        """Run a one-shot container that must succeed; return its output."""
        result = self.run(name)
        assert result.returncode == 0, f"{name} exits {result.returncode}:\n{result.stdout}{result.stderr}"
        return result.stdout

    @contextmanager
    def servers(self) -> Iterator[None]:
        """Run PostgreSQL and NATS with the output of `prepare`, as their images would."""
        configuration = self.volume("nats-config") / "nats.conf"
        spec = nats.make_server_spec(nats.find_nats_server(), configuration)
        with self.database(), _running(spec, self.base / "nats.log"):
            yield

    @contextmanager
    def database(self) -> Iterator[None]:
        """Run PostgreSQL with the password of `prepare`."""
        cluster = postgres.Cluster(self.base / "postgres-data")
        password = Secret((self.volume("postgres-secrets") / "admin-password").read_text())
        cluster.initialise(password)
        with _running(cluster.make_server_spec(self.postgres_port), self.base / "postgres.log"):
            url = postgres.driver_url(postgres.url(self.postgres_port, postgres.ADMIN, password, "postgres"))
            until("PostgreSQL is there", lambda: _create_database(url))
            yield

    @contextmanager
    def service(self, name: str) -> Iterator[None]:
        """Run a service's container, which must exit cleanly when it is stopped."""
        container = services()[name]
        spec = ProcessSpec(name=name, argv=tuple(self.argv(container)), env=self.environment(container), cwd=ROOT)
        with _running(spec, self.base / f"{name}.log"):
            yield

    def healthy(self, name: str) -> bool:
        """Return the result of a service's health check."""
        container = services()[name]
        [kind, python, *check] = [str(part) for part in cast("list[object]", container.mapping("healthcheck")["test"])]
        assert (kind, python) == ("CMD", "python")
        checked = subprocess.run(
            [sys.executable, *check],
            cwd=ROOT,
            env=self.environment(container),
            capture_output=True,
            timeout=30,
            check=False,
        )
        return checked.returncode == 0


@contextmanager
def _running(spec: ProcessSpec, log: Path) -> Iterator[None]:
    with log.open("ab") as output:
        process = spawn(spec, output=output)
    try:
        yield
        assert process.poll() is None, f"{spec.name} has ended:\n{log.read_text()}"
        process.send_signal(spec.stop_signal)
        process.wait(_STOP_SECONDS)
    finally:
        process.kill()
        process.wait()
    if spec.name in PROCESSES:
        assert process.returncode == 0, f"{spec.name} ends with {process.returncode}:\n{log.read_text()}"


def _create_database(url: str) -> bool:
    """Create the database, as the image does for POSTGRES_DB on its first start."""
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=2) as connection:
            connection.execute(f"CREATE DATABASE {DATABASE}".encode())
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture
def machine() -> Iterator[Machine]:
    """Use a directory that other users may traverse: PostgreSQL may run as another user."""
    with tempfile.TemporaryDirectory(prefix="keyferry-containers-") as name:
        base = Path(name)
        base.chmod(0o711)
        (base / "postgres-data").mkdir(mode=0o711)
        yield Machine(base)


def files(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()
    }


def test_prepare_generates_what_the_servers_need(machine: Machine) -> None:
    machine.run_successfully("prepare")
    configuration = machine.volume("nats-config") / "nats.conf"
    nats.check_configuration(nats.find_nats_server(), configuration)
    rendered = configuration.read_text()
    for volume, uid in (("postgres-secrets", POSTGRES_UID), ("grafana-secrets", GRAFANA_UID)):
        password = (machine.volume(volume) / "admin-password").stat()
        assert (password.st_uid, stat.S_IMODE(password.st_mode)) == (uid, 0o400)
    everyone = topology.users(WORKER_SLOTS, [DEMO_CLIENT])
    assert all(f"# {user}\n" in rendered for user in everyone)
    assert rendered.count("nkey: U") == len(everyone)
    installation = machine.volume("installation")
    seeds = {path.stem: path.read_text() for path in (installation / "secrets" / "nkeys").iterdir()}
    assert set(seeds) == set(everyone)
    assert not [user for user, seed in seeds.items() if seed in rendered]
    for path in (installation / "secrets").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    for data in ("nats-data", *(f"spool-{slot}" for slot in range(1, WORKER_SLOTS + 1))):
        mode = machine.volume(data).stat()
        assert (mode.st_uid, stat.S_IMODE(mode.st_mode)) == (OWNER_UID, 0o700)

    before = files(machine.base / "volumes")
    machine.run_successfully("prepare")
    assert files(machine.base / "volumes") == before


def test_provision_names_the_server_that_does_not_answer(machine: Machine) -> None:
    machine.run_successfully("prepare")
    container = containers()["provision"]
    environment = machine.environment(container) | {"KEYFERRY_SERVERS_WITHIN_SECONDS": "0.2"}
    result = subprocess.run(
        machine.argv(container), cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "NATS does not answer at nats://" in result.stderr
    assert "Traceback" not in result.stderr


def test_provision_takes_the_servers_of_a_cluster_and_a_number_of_replicas(machine: Machine) -> None:
    machine.run_successfully("prepare")
    home = Home(machine.volume("installation"))
    keys = {user: home.public_key(user) for user in topology.users(WORKER_SLOTS)}
    with machine.database(), tcp_links() as links, nats_cluster(home, keys, links) as cluster:
        listed = f"nats://{LOOPBACK}:{find_free_port()},{cluster.urls}"  # nobody answers at the first of them
        refused = machine.run("provision", "--replicas", "2", nats_url=listed)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "--replicas='2' is no number of replicas" in refused.stderr
        done = machine.run("provision", "--replicas", "3", nats_url=listed)
        assert done.returncode == 0, done.stderr
        kept = {name: cluster.ask(f"STREAM.INFO.{name}")["config"]["num_replicas"] for name in STREAM_NAMES}
    assert set(kept.values()) == {3}
    assert json.loads((machine.volume("operator") / "run" / "endpoints.json").read_text())["nats_url"] == listed


@pytest.mark.timeout(300)
def test_every_container_works_with_the_output_of_the_setup(machine: Machine) -> None:
    machine.run_successfully("prepare")
    with machine.servers():
        assert "every process has its files" in machine.run_successfully("provision")
        for name, (row, _) in PROCESSES.items():
            handed_out = machine.volume(f"{name}-secrets")
            assert (handed_out.stat().st_uid, stat.S_IMODE(handed_out.stat().st_mode)) == (OWNER_UID, 0o700)
            wanted = {"nkey.seed"} | ({"database.url"} if row.has_tables else set())
            assert set(files(handed_out)) == wanted | {secret.name for secret in row.secrets}
            for path in handed_out.iterdir():
                assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (OWNER_UID, 0o400), path

        before = files(machine.base / "volumes")
        machine.run_successfully("provision")
        after = files(machine.base / "volumes")
        assert {name: text for name, text in after.items() if "nats-data" not in name} == {
            name: text for name, text in before.items() if "nats-data" not in name
        }

        with ExitStack() as stack:
            for name in services():
                stack.enter_context(machine.service(name))
            for name in services():
                until(f"{name} is healthy", partial(machine.healthy, name), 90)
            output = until("the first chat", lambda: _first_chat_output(machine), 120)
            assert "Hello from Keyferry" in output
            operator = machine.volume("operator")
            token = operator / "secrets" / "demo-client-token"
            assert stat.S_IMODE(token.stat().st_mode) == 0o600
            _check_users(machine, operator)


def _check_users(machine: Machine, operator: Path) -> None:
    """Create an internal service as an operator does: the users are rendered by a step of the setup, and stay."""
    command = ("services", "create", "crm", "--tenant", "demo", "--output", str(machine.base / "crm.json"))
    made = subprocess.run(
        [sys.executable, "-m", "keyferry.cli.main", *command],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "KEYFERRY_HOME": str(operator)},
        capture_output=True,
        text=True,
        timeout=_STEP_SECONDS,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert "docker compose run --rm users" in made.stderr
    users, configuration = ("main", "crm"), machine.volume("nats-config") / "nats.conf"
    assert "2 programs may connect" in machine.run_successfully("users")
    rendered = configuration.read_text()
    assert all(f"# {topology.internal_client('demo', name)}\n" in rendered for name in users)
    nats.check_configuration(nats.find_nats_server(), configuration)
    machine.run_successfully("prepare")
    assert configuration.read_text() == rendered, "the next start begins with the same users"


def _first_chat_output(machine: Machine) -> str | None:
    """Return the output of the first chat if it succeeds; otherwise its container is restarted."""
    result = machine.run("first-chat")
    if result.returncode != 0:
        print(result.stderr)
        return None
    return result.stdout
