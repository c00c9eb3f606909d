"""`make up` and its fellows as a person runs them, with small services in the place of the real ones."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.embedded.ports import LOOPBACK, free_port
from deploy.postgres.roles import SERVICES_WITH_TABLES
from tests.support.family import alive, descendants
from tests.support.waiting import until

ROOT = Path(__file__).parents[3]


class Up:
    """A launcher in a process of its own, with a home of its own."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.http_port = free_port()
        self.log = directory / "up.log"
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, **settings: str) -> subprocess.Popen[bytes]:
        """Start it; its output goes to `log`."""
        with self.log.open("wb") as log:
            process = subprocess.Popen(self._command("up"), cwd=ROOT, env=self._env(settings), stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def started(self, **settings: str) -> subprocess.Popen[bytes]:
        """Start it and wait until it is up."""
        process = self.start(**settings)
        until("it is up and has said all of it", lambda: process.poll() is not None or "Ctrl-C or" in self.said())
        assert process.poll() is None, self.said()
        return process

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(
            self._command(*arguments), cwd=ROOT, env=self._env(settings), capture_output=True, text=True, check=False
        )

    def said(self) -> str:
        """What the last launcher wrote."""
        return self.log.read_text()

    def state(self) -> dict[str, object]:
        """What `run/state.json` says."""
        state: dict[str, object] = json.loads((self.home / "run" / "state.json").read_text())
        return state

    def pids(self) -> dict[str, int]:
        """Process ids by name, from the state file."""
        pids = self.state()["processes"]
        assert isinstance(pids, dict)
        return pids

    def _command(self, *arguments: str) -> list[str]:
        if arguments == ("up",):
            return [sys.executable, "-m", "tests.support.small_system"]
        return [sys.executable, "-m", "deploy.embedded", *arguments]

    def _env(self, settings: dict[str, str]) -> dict[str, str]:
        ours = {"KEYFERRY_HOME": str(self.home), "KEYFERRY_HTTP_PORT": str(self.http_port)}
        return {**os.environ, **ours, **settings}


@contextmanager
def launching(directory: Path) -> Iterator[Up]:
    """A launcher that is not left running."""
    launcher = Up(directory)
    try:
        yield launcher
    finally:
        for process in launcher.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """One of the test's own, not started yet."""
    with launching(tmp_path) as launcher:
        yield launcher


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One that is up, for tests that leave it up; started with the key of some vendor in its environment."""
    with launching(tmp_path_factory.mktemp("running")) as launcher:
        launcher.started(SOME_VENDOR_API_KEY="sk-vendor")
        yield launcher


def test_it_starts_everything_and_stops_everything_in_order(up: Up) -> None:
    process = up.started()
    assert "\x1b" not in up.said(), "no colours where there is no terminal"
    assert re.search(r"^ +\d+\.\d s  initialising PostgreSQL$", up.said(), re.MULTILINE)
    assert f"http://{LOOPBACK}:{up.http_port}/v1" in up.said()
    assert "kf_demo" in up.said()
    names = ["postgres", "nats", "tenant_directory", "usage_ledger", "health_monitor", "key_vault", "router"]
    assert list(up.pids()) == [*names, "provider_worker-1", "provider_worker-2", "ingress", "console"]
    with urllib.request.urlopen(str(up.state()["http_url"])) as answer:
        assert answer.status == 204
    family = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 0
    drained = re.findall(r"(\S+): pid \d+ drains", up.said())
    assert [name.partition("-")[0] for name in drained] == [
        "console",
        "ingress",
        "provider_worker",
        "provider_worker",
        "router",
        "key_vault",
        "health_monitor",
        "usage_ledger",
        "tenant_directory",
        "nats",
        "postgres",
    ]
    assert not any(alive(pid) for pid in family)
    assert not (up.home / "run" / "state.json").exists()
    for log in ("ingress", "router", "provider_worker-2"):
        assert "drained" in (up.home / "log" / f"{log}.log").read_text()


def test_a_second_start_finds_the_same_data_ports_and_secrets(up: Up) -> None:
    def secrets() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in (up.home / "secrets").rglob("*") if path.is_file()}

    up.started()
    before, state = secrets(), up.state()
    assert up.run("down").returncode == 0
    up.started()
    assert "initialising" not in up.said()
    assert "migrating" not in up.said()
    assert secrets() == before
    assert up.state()["nats_url"] == state["nats_url"]
    assert up.run("down").stdout.endswith("Keyferry has stopped\n")


def test_a_second_up_says_what_runs(running: Up) -> None:
    (process,) = running.processes
    again = running.run("up")
    assert again.returncode == 0
    assert "Keyferry runs already" in again.stdout
    assert f"http://{LOOPBACK}:{running.http_port}/v1" in again.stdout
    assert f"pid {process.pid}" in again.stdout
    for name, pid in running.pids().items():
        assert re.search(rf"^  {name} +ready +pid {pid} ", again.stdout, re.MULTILINE)
    assert process.poll() is None


def test_secrets_are_for_their_owner_and_in_no_environment_or_argv(running: Up) -> None:
    secret_files = [path for path in (running.home / "secrets").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in secret_files if path.name != "demo-client-token"} == {0o600}
    for directory in ("secrets", "run", "log", "spool", "nats"):
        assert stat.S_IMODE((running.home / directory).stat().st_mode) == 0o700
    assert stat.S_IMODE((running.home / "run" / "control.sock").stat().st_mode) == 0o600
    contents = [path.read_text().strip() for path in secret_files]
    passwords = [text.split(":")[2].partition("@")[0] for text in contents if text.startswith("postgresql")]
    assert len(passwords) == len(SERVICES_WITH_TABLES) + 1, "one for each service with tables, and the superuser's"
    for pid in running.pids().values():
        shown = Path(f"/proc/{pid}/environ").read_text() + Path(f"/proc/{pid}/cmdline").read_text()
        assert not [secret for secret in (*contents, *passwords, "sk-vendor") if secret in shown]


def test_status_down_and_restart_say_when_nothing_runs(up: Up) -> None:
    status, down, restart = up.run("status"), up.run("down"), up.run("restart", "router")
    assert [status.returncode, down.returncode, restart.returncode] == [3, 0, 1]
    for said in (status.stdout, down.stdout, restart.stderr):
        assert f"nothing runs in {up.home}: start it with `make up`" in said


def test_a_taken_port_is_named_and_nothing_is_left(up: Up) -> None:
    with socket.create_server((LOOPBACK, up.http_port)):
        process = up.start()
        assert process.wait() == 1
    assert f"port {up.http_port} on {LOOPBACK} is taken" in up.said()
    assert "KEYFERRY_HTTP_PORT=" in up.said()
    assert "Traceback" not in up.said()
    assert not list(up.home.glob("pg*")), "nothing was begun"


@pytest.mark.parametrize(
    ("variable", "value"),
    [("KEYFERRY_HTTP_PORT", "http"), ("KEYFERRY_HTTP_PORT", "70000"), ("KEYFERRY_DRAIN_SECONDS", "-1")],
)
def test_a_setting_without_sense_is_named(up: Up, variable: str, value: str) -> None:
    process = up.start(**{variable: value})
    assert process.wait() == 1
    assert f"{variable}='{value}'" in up.said()
    assert "Traceback" not in up.said()


def test_a_proof_that_fails_stops_everything(up: Up) -> None:
    process = up.start(KEYFERRY_TEST_PROOF="fails")
    assert process.wait() == 1
    assert "Keyferry did not start. the first chat was answered with 500" in up.said()
    assert "Keyferry is up" not in up.said()
    assert re.findall(r"(\S+): pid \d+ drains", up.said())[-1] == "postgres"


def test_ctrl_c_during_the_start_stops_what_has_begun(up: Up) -> None:
    process = up.start()
    until("servers are ready", lambda: "PostgreSQL and NATS are ready" in up.said())
    family = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 0
    assert family
    assert not any(alive(pid) for pid in family)
    up.started()


def test_after_a_kill_nothing_is_left_and_the_next_start_works(up: Up) -> None:
    process = up.started()
    family = descendants(process.pid)
    process.kill()
    process.wait()
    until("all are gone", lambda: not any(alive(pid) for pid in family))
    up.started()


def test_a_restart_shows_its_progress_and_the_state_file_follows(running: Up) -> None:
    before = running.pids()
    done = running.run("restart", "ingress")
    assert done.returncode == 0
    after = running.pids()
    lines = [line.partition(" s  ")[2] for line in done.stdout.splitlines()]
    assert lines == [
        "ingress: starting the next process",
        f"ingress: pid {after['ingress']} is ready",
        f"ingress: pid {before['ingress']} drains",
    ]
    assert {name for name in before if before[name] != after[name]} == {"ingress"}
    wrong = running.run("restart", "rooter")
    assert wrong.returncode == 1
    assert "no service 'rooter' runs here. These do: " in wrong.stderr


@pytest.mark.parametrize("server", ["nats", "postgres"])
def test_a_killed_server_comes_back_where_it_was(running: Up, server: str) -> None:
    before = running.pids()[server]
    os.kill(before, signal.SIGKILL)
    until("it is ready again", lambda: f"{server}: pid {running.pids()[server]} is ready again" in running.said())
    assert re.search(rf"^  {server} +ready .* restarts [1-9]", running.run("status").stdout, re.MULTILINE)
