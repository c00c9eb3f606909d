"""The system of docker-compose.yml in containers, for tests: everything by its own command line, as an operator uses it."""

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy.engine import make_url

from tests.containers.engine import Engine
from tests.containers.images import Images, compose_program
from tests.support.ledger.attempts_table import LedgerTable
from tests.support.repository.files import ROOT
from tests.support.servers.ports import find_free_port
from tests.support.waiting import until

NAME = "keyferry-test"
IMAGE = "keyferry-test/keyferry:local"
_UP_SECONDS = 900.0
_COMMAND_SECONDS = 300.0


@dataclass
class ComposeProject:
    """One installation, with free ports of this machine."""

    engine: Engine
    images: Images
    http_port: int = field(default_factory=find_free_port)
    console_port: int = field(default_factory=find_free_port)
    provider_port: int = field(default_factory=find_free_port)
    postgres_port: int = field(default_factory=find_free_port)
    prometheus_port: int = field(default_factory=find_free_port)
    grafana_port: int = field(default_factory=find_free_port)

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def environment(self) -> dict[str, str]:
        own = {
            "KEYFERRY_IMAGE": IMAGE,
            "KEYFERRY_HTTP_PORT": str(self.http_port),
            "KEYFERRY_CONSOLE_PORT": str(self.console_port),
            "KEYFERRY_PROMETHEUS_PORT": str(self.prometheus_port),
            "KEYFERRY_GRAFANA_PORT": str(self.grafana_port),
            "KEYFERRY_TEST_UID": str(os.getuid()),
            "KEYFERRY_TEST_PROVIDER_PORT": str(self.provider_port),
            "KEYFERRY_TEST_POSTGRES_PORT": str(self.postgres_port),
        }
        return {**self.engine.environment, **self.images.settings, **own}

    def compose(self, *arguments: str, timeout_seconds: float = _COMMAND_SECONDS) -> str:
        """Run Docker Compose; return its standard output. Fails the test with what it printed."""
        files = ("--file", "docker-compose.yml", "--file", "tests/containers/compose.yml")
        done = subprocess.run(
            [compose_program(), "--project-name", NAME, *files, "--progress", "plain", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        assert done.returncode == 0, (
            f"docker compose {' '.join(arguments)} exits with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-6000:]}"
        )
        return done.stdout

    def up(self) -> None:
        """Build and start everything, and wait until the first chat has made the demo tenant and its token."""
        self.compose("up", "--build", "--detach", timeout_seconds=_UP_SECONDS)
        until("the first chat has ended", lambda: self.container("first-chat")["State"]["Status"] == "exited", 300)

    def down(self) -> None:
        """Remove everything, the data too."""
        self.compose("--profile", "*", "down", "--volumes", "--timeout", "60")

    def cli(self, *arguments: str) -> str:
        """Run `keyferry` in its container; return its standard output."""
        return self.compose("run", "--rm", "--no-TTY", "cli", *arguments)

    def exec(self, service: str, *command: str) -> str:
        """Run a command in a running container; return its standard output. Fails the test with what it printed."""
        return self.engine.docker("exec", self.container(service)["Id"], *command)

    def token(self) -> str:
        """Return the demo tenant's client token."""
        path = "/run/keyferry/secrets/demo-client-token"
        return self.compose("run", "--rm", "--no-TTY", "--entrypoint", "cat", "cli", path).strip()

    def containers(self, service: str = "") -> list[dict[str, Any]]:
        """Return what the engine knows of the project's containers, or of those of one service; one-off ones are left out."""
        labels = [f"label=com.docker.compose.project={NAME}", "label=com.docker.compose.oneoff=False"]
        labels += [f"label=com.docker.compose.service={service}"] if service else []
        filters = [part for label in labels for part in ("--filter", label)]
        ids = self.engine.docker("ps", "--all", "--quiet", *filters).split()
        found: list[dict[str, Any]] = json.loads(self.engine.docker("inspect", *ids)) if ids else []
        return found

    def container(self, service: str) -> dict[str, Any]:
        """Return the one container of a service."""
        [found] = self.containers(service)
        return found

    def kill(self, service: str) -> None:
        """Kill the first process of a container as a crash would: the engine starts it again, unlike after `docker kill`."""
        before = self.container(service)["State"]
        os.kill(before["Pid"], signal.SIGKILL)
        until(f"{service} is started again", lambda: self._is_successor(service, before["StartedAt"]), 60)

    def replace(self, service: str) -> None:
        """Start a second container of a service, and stop the first one once the second is healthy."""
        [old] = self.containers(service)
        self.compose("up", "--detach", "--wait", "--no-deps", "--no-recreate", "--scale", f"{service}=2", service)
        self.engine.docker("stop", old["Id"])
        self.engine.docker("rm", old["Id"])
        [new] = self.containers(service)
        assert new["Id"] != old["Id"]

    def recreate(self, service: str) -> None:
        """Stop the container of a service, and start a new one with its files."""
        self.compose("up", "--detach", "--wait", "--no-deps", "--force-recreate", service)

    def is_ready(self) -> bool:
        """Return whether the ingress says that it is."""
        try:
            return httpx.get(f"{self.http_url}/readyz", timeout=5, trust_env=False).is_success
        except httpx.TransportError:
            return False

    def ledger(self, home: Path) -> LedgerTable:
        """Return the ledger's table; `home` is a directory for its address on loopback."""
        url = make_url(self.exec("usage-ledger", "cat", "/run/keyferry/database.url").strip())
        file = home / "secrets" / "database" / "usage_ledger.url"
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = url.set(host="127.0.0.1", port=self.postgres_port)
        file.write_text(there.render_as_string(hide_password=False))
        return LedgerTable(home)

    def _is_successor(self, service: str, started_at: str) -> bool:
        state: Mapping[str, Any] = self.container(service)["State"]
        return bool(state["Running"]) and state["StartedAt"] != started_at
