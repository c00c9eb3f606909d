"""`make up` and its siblings from the command line, with small services instead of the real ones."""

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from deploy.embedded.ports import LOOPBACK
from deploy.postgres.roles import SERVICES_WITH_TABLES
from keyferry.contracts import sign_in_code
from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.secret import Secret
from tests.support.page_sources import builds, write_sources
from tests.support.servers.ports import find_free_port
from tests.support.system.process_tree import alive, descendants
from tests.support.waiting import until

ROOT = Path(__file__).parents[3]


class Launcher:
    """A launcher in a separate process, with its own home directory."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.http_port = find_free_port()
        self.log = directory / "up.log"
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, **settings: str) -> subprocess.Popen[bytes]:
        """Start it; its output goes to `log`."""
        with self.log.open("wb") as log:
            process = subprocess.Popen(self._command("up"), cwd=ROOT, env=self._env(settings), stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def start_and_wait(self, **settings: str) -> subprocess.Popen[bytes]:
        """Start it and wait until it is up."""
        process = self.start(**settings)
        until("it is up and has printed everything", lambda: process.poll() is not None or "Ctrl-C or" in self.output())
        assert process.poll() is None, self.output()
        return process

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(
            self._command(*arguments), cwd=ROOT, env=self._env(settings), capture_output=True, text=True, check=False
        )

    def output(self) -> str:
        """Return the output of the last launcher."""
        return self.log.read_text()

    def state(self) -> dict[str, object]:
        """Return the content of `run/state.json`."""
        state: dict[str, object] = json.loads((self.home / "run" / "state.json").read_text())
        return state

    def pids(self) -> dict[str, int]:
        """Return process ids by name, from the state file."""
        pids = self.state()["processes"]
        assert isinstance(pids, dict)
        return pids

    def _command(self, *arguments: str) -> list[str]:
        if arguments == ("up",):
            return [sys.executable, "-m", "tests.support.system.stub_launcher"]
        return [sys.executable, "-m", "deploy.embedded", *arguments]

    def _env(self, settings: dict[str, str]) -> dict[str, str]:
        ours = {
            "KEYFERRY_HOME": str(self.home),
            "KEYFERRY_HTTP_PORT": str(self.http_port),
            "KEYFERRY_BUILD_PAGE": "0",
        }
        return {**os.environ, **ours, **settings}


@contextmanager
def launching(directory: Path) -> Iterator[Launcher]:
    """Yield a launcher that is killed at the end."""
    launcher = Launcher(directory)
    try:
        yield launcher
    finally:
        for process in launcher.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Launcher]:
    """Yield a launcher that is not started yet."""
    with launching(tmp_path) as launcher:
        yield launcher


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """Yield a shared running launcher, started with a vendor's API key in its environment."""
    with launching(tmp_path_factory.mktemp("running")) as launcher:
        launcher.start_and_wait(SOME_VENDOR_API_KEY="sk-vendor")
        yield launcher


def test_everything_starts_and_stops_in_order(up: Launcher) -> None:
    process = up.start_and_wait()
    assert "\x1b" not in up.output(), "no colours without a terminal"
    assert re.search(r"^ +\d+\.\d s  initialising PostgreSQL$", up.output(), re.MULTILINE)
    assert f"http://{LOOPBACK}:{up.http_port}/v1" in up.output()
    assert (up.home / "secrets" / "demo-client-token").read_text().strip() in up.output()
    names = ["postgres", "nats", "tenant_directory", "usage_ledger", "health_monitor", "key_vault", "router"]
    assert list(up.pids()) == [
        *names,
        "provider_worker-1",
        "provider_worker-2",
        "ingress",
        "console",
        "billing",
        "notifier",
    ]
    with urllib.request.urlopen(str(up.state()["http_url"])) as answer:
        assert answer.status == 204
    family = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 0
    drained = re.findall(r"(\S+): pid \d+ drains", up.output())
    assert [name.partition("-")[0] for name in drained] == [
        "notifier",
        "billing",
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


def test_the_page_is_built_at_the_start_if_its_sources_have_changed(up: Launcher) -> None:
    sources = write_sources(up.home.parent)
    up.start_and_wait(KEYFERRY_BUILD_PAGE="1")
    until("the page is ready", lambda: "the console's page is ready" in up.output())
    assert builds(sources) == ["first"]
    assert up.run("down").returncode == 0
    up.start_and_wait(KEYFERRY_BUILD_PAGE="1")
    assert builds(sources) == ["first"], "it is of the present sources"
    assert "console's page" not in up.output()
    assert up.run("down").returncode == 0
    (sources.web / "src" / "text").write_text("broken")
    up.start_and_wait(KEYFERRY_BUILD_PAGE="1")
    until("the build has failed", lambda: "this source is broken" in up.output())
    assert "The console has no page until `make page` succeeds; everything else works without it" in up.output()
    assert "Keyferry is up" in up.output()
    assert not sources.dist.exists(), "nobody is served a page of other sources"
    assert up.run("down").returncode == 0
    (sources.web / "src" / "text").write_text("endless")
    process = up.start_and_wait(KEYFERRY_BUILD_PAGE="1")
    assert "its page is being built" in up.output()
    until("it is being built", lambda: builds(sources)[-1] == "endless")
    process.send_signal(signal.SIGINT)
    assert process.wait() == 0
    until("the build has ended", lambda: not running_in(sources.web))


def running_in(folder: Path) -> list[int]:
    """Return the processes whose working directory is `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdecimal() and (entry / "cwd").readlink() == folder and alive(int(entry.name)):
                found.append(int(entry.name))
    return found


def test_an_invalid_wish_for_the_page_is_named(up: Launcher) -> None:
    assert up.start(KEYFERRY_BUILD_PAGE="yes").wait() == 1
    assert "KEYFERRY_BUILD_PAGE='yes' is neither 0 nor 1" in up.output()


def test_up_and_console_print_links_that_sign_in_once(running: Launcher) -> None:
    console = str(running.state()["console_url"])
    key = Secret((running.home / "secrets" / "login-key").read_text().strip())
    printed = [running.output(), running.run("console").stdout, running.run("console").stdout]
    codes = [re.findall(rf"{re.escape(console)}/auth/code#(kfc_\S+)", text) for text in printed]
    assert [len(found) for found in codes] == [1, 1, 1]
    assert len({found[0] for found in codes}) == 3, "each is another one"
    for [code] in codes:
        claims = sign_in_code.read(code, key, time.time())
        assert (claims.tenant, claims.role, claims.operator) == ("demo", AccessRole.OWNER, True)
        assert 3000 < claims.expires_at - time.time() <= 3600
    logged = "".join(path.read_text() for path in (running.home / "log").glob("*.log"))
    assert logged
    assert "kfc_" not in logged


def test_with_an_identity_provider_the_plain_address_is_printed(up: Launcher) -> None:
    session_key = up.home.parent / "session-key"
    session_key.write_text("a-session-key-for-tests-0123456789abcdef")
    up.start_and_wait(
        KEYFERRY_OIDC_ISSUER="https://id.example.com",
        KEYFERRY_SESSION_KEY_FILE=str(session_key),
        KEYFERRY_PUBLIC_URL="https://keyferry.example.com",
    )
    assert "  console        https://keyferry.example.com/\n" in up.output()
    assert "sign in there with the identity provider" in up.output()
    assert up.run("console").stdout.startswith("https://keyferry.example.com/\n")
    assert "kfc_" not in up.output()


def test_a_second_start_keeps_data_ports_and_secrets(up: Launcher) -> None:
    def secrets() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in (up.home / "secrets").rglob("*") if path.is_file()}

    up.start_and_wait()
    before, state = secrets(), up.state()
    assert up.run("down").returncode == 0
    up.start_and_wait()
    assert "initialising" not in up.output()
    assert "migrating" not in up.output()
    assert secrets() == before
    assert up.state()["nats_url"] == state["nats_url"]
    assert up.run("down").stdout.endswith("Keyferry has stopped\n")


def test_a_second_up_shows_what_is_running(running: Launcher) -> None:
    (process,) = running.processes
    again = running.run("up")
    assert again.returncode == 0
    assert "Keyferry is already running" in again.stdout
    assert f"http://{LOOPBACK}:{running.http_port}/v1" in again.stdout
    assert f"pid {process.pid}" in again.stdout
    for name, pid in running.pids().items():
        assert re.search(rf"^  {name} +ready +pid {pid} ", again.stdout, re.MULTILINE)
    assert process.poll() is None


def test_a_second_up_with_other_settings_names_them(running: Launcher) -> None:
    again = running.run("up", KEYFERRY_HTTP_PORT=str(find_free_port()), KEYFERRY_LEASE_SECONDS="30")
    assert again.returncode == 1
    assert "KEYFERRY_HTTP_PORT has another value here than for the running system" in again.stdout
    assert "KEYFERRY_LEASE_SECONDS is set here, and not for the running system" in again.stdout
    assert "`make down`, then the same command again" in again.stdout


def test_secrets_are_private_and_not_in_any_environment_or_argv(running: Launcher) -> None:
    secret_files = [path for path in (running.home / "secrets").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in secret_files} == {0o600}
    for directory in ("secrets", "run", "log", "spool", "nats"):
        assert stat.S_IMODE((running.home / directory).stat().st_mode) == 0o700
    assert stat.S_IMODE((running.home / "run" / "control.sock").stat().st_mode) == 0o600
    contents = [path.read_text().strip() for path in secret_files]
    passwords = [text.split(":")[2].partition("@")[0] for text in contents if text.startswith("postgresql")]
    assert len(passwords) == len(SERVICES_WITH_TABLES) + 1, "one for each service with tables, and the superuser's"
    for pid in running.pids().values():
        shown = Path(f"/proc/{pid}/environ").read_text() + Path(f"/proc/{pid}/cmdline").read_text()
        assert not [secret for secret in (*contents, *passwords, "sk-vendor") if secret in shown]


def test_status_down_and_restart_report_that_nothing_is_running(up: Launcher) -> None:
    status, down, restart = up.run("status"), up.run("down"), up.run("restart", "router")
    console = up.run("console")
    assert [status.returncode, down.returncode, restart.returncode, console.returncode] == [3, 0, 1, 1]
    for output in (status.stdout, down.stdout, restart.stderr, console.stderr):
        assert f"nothing is running in {up.home}; start it with `make up`" in output


def test_a_port_in_use_is_named_and_nothing_keeps_running(up: Launcher) -> None:
    with socket.create_server((LOOPBACK, up.http_port)):
        process = up.start()
        assert process.wait() == 1
    assert f"port {up.http_port} on {LOOPBACK} is in use" in up.output()
    assert "KEYFERRY_HTTP_PORT=" in up.output()
    assert "Traceback" not in up.output()
    assert not list(up.home.glob("pg*")), "nothing was started"


@pytest.mark.parametrize(
    ("variable", "value"),
    [("KEYFERRY_HTTP_PORT", "http"), ("KEYFERRY_HTTP_PORT", "70000"), ("KEYFERRY_DRAIN_SECONDS", "-1")],
)
def test_an_invalid_setting_is_named(up: Launcher, variable: str, value: str) -> None:
    process = up.start(**{variable: value})
    assert process.wait() == 1
    assert f"{variable}='{value}'" in up.output()
    assert "Traceback" not in up.output()


def test_a_failed_smoke_test_stops_everything(up: Launcher) -> None:
    process = up.start(KEYFERRY_TEST_SMOKE_TEST="fails")
    assert process.wait() == 1
    assert "Keyferry did not start. the first chat was answered with 500" in up.output()
    assert "Keyferry is up" not in up.output()
    assert re.findall(r"(\S+): pid \d+ drains", up.output())[-1] == "postgres"


def test_ctrl_c_during_startup_stops_everything(up: Launcher) -> None:
    process = up.start()
    until("servers are ready", lambda: "PostgreSQL and NATS are ready" in up.output())
    family = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 0
    assert family
    assert not any(alive(pid) for pid in family)
    up.start_and_wait()


def test_after_a_kill_the_next_start_works_and_is_found_without_its_runtime_files(up: Launcher) -> None:
    process = up.start_and_wait()
    family = descendants(process.pid)
    process.kill()
    process.wait()
    until("all have exited", lambda: not any(alive(pid) for pid in family))
    assert_found_without_runtime_files(up, up.start_and_wait())


def assert_found_without_runtime_files(up: Launcher, process: subprocess.Popen[bytes]) -> None:
    family = descendants(process.pid)
    shutil.rmtree(up.home / "run")
    status, restart, again = up.run("status"), up.run("restart", "router"), up.run("up")
    for done in (status, restart, again):
        assert done.returncode == 1
        assert f"runs in {up.home} (process {process.pid})" in done.stdout + done.stderr
        assert "`make down` stops it" in done.stdout + done.stderr
    down = up.run("down")
    assert (down.returncode, down.stderr) == (0, "")
    assert process.wait() == 0
    assert "Traceback" not in up.output()
    assert not any(alive(pid) for pid in family)
    assert up.run("status").returncode == 3


def test_a_restart_shows_progress_and_updates_the_state_file(running: Launcher) -> None:
    before = running.pids()
    done = running.run("restart", "ingress")
    assert done.returncode == 0
    after = running.pids()
    lines = [line.partition(" s  ")[2] for line in done.stdout.splitlines()]
    assert lines == [
        "ingress: starting the new process",
        f"ingress: pid {after['ingress']} is ready",
        f"ingress: pid {before['ingress']} drains",
    ]
    assert {name for name in before if before[name] != after[name]} == {"ingress"}
    wrong = running.run("restart", "rooter")
    assert wrong.returncode == 1
    assert "no service 'rooter' is running here; running services: " in wrong.stderr


@pytest.mark.parametrize("server", ["nats", "postgres"])
def test_a_killed_server_restarts_on_its_port(running: Launcher, server: str) -> None:
    before = running.pids()[server]
    os.kill(before, signal.SIGKILL)
    until("it is ready again", lambda: f"{server}: pid {running.pids()[server]} is ready again" in running.output())
    assert re.search(rf"^  {server} +ready .* restarts [1-9]", running.run("status").stdout, re.MULTILINE)
