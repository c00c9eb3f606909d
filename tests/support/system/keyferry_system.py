"""The whole embedded system for tests, started as a user starts it, and used over HTTP and the command line."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai

from deploy.embedded.home import Home
from tests.support.repository.files import ROOT
from tests.support.servers.ports import find_free_port, store_ports
from tests.support.system.command_line import run_command
from tests.support.waiting import until

_START_SECONDS = 120.0
_STOP_SECONDS = 60.0
_RESTART_SECONDS = 180.0


@dataclass
class KeyferrySystem:
    """A running system in a home of its own."""

    home: Path
    environment: dict[str, str]
    launcher: "subprocess.Popen[str]"
    _client: openai.OpenAI | None = None

    @property
    def state(self) -> dict[str, Any]:
        """The launcher's state file; process ids change with restarts."""
        state: dict[str, Any] = json.loads((self.home / "run" / "state.json").read_text())
        return state

    @property
    def http_url(self) -> str:
        return str(self.state["http_url"])

    @property
    def token(self) -> str:
        """The demo tenant's client token."""
        return (self.home / "secrets" / "demo-client-token").read_text().strip()

    def openai(self) -> openai.OpenAI:
        """Return the official SDK with only base URL and key changed."""
        if self._client is None:
            self._client = openai.OpenAI(base_url=f"{self.http_url}/v1", api_key=self.token, max_retries=0)
        return self._client

    def close(self) -> None:
        """Close the SDK's connections."""
        if self._client is not None:
            self._client.close()

    def cli(
        self, *arguments: str, status: int = 0, stdin: str | None = None, settings: Mapping[str, str] | None = None
    ) -> str:
        """Run `keyferry` with these arguments in this process. Return its standard output, or all output if it is to fail.

        Fails the test when it exits with another status. `stdin` is what is piped into it, `settings` are environment variables
        beside the system's own. Not from several threads at once, and not where an event loop runs.
        """
        given = run_command(arguments, {**self.environment, **(settings or {})}, stdin)
        assert given.status == status, f"keyferry {' '.join(arguments)} exits {given.status}:\n{given.output}"
        return given.out if status == 0 else given.output

    def restart(self, service: str) -> None:
        """Run `keyferry restart SERVICE` as a process, however long the old processes take to drain."""
        done = subprocess.run(
            [sys.executable, "-m", "keyferry.cli.main", "restart", service],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_RESTART_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"keyferry restart {service} exits {done.returncode}:\n{done.stdout}{done.stderr}"

    def pid(self, process: str) -> int:
        """Return the current process id of a part."""
        return int(self.state["processes"][process])

    def kill(self, process: str, *, wait: bool = True) -> None:
        """Send SIGKILL and, unless `wait` is off, wait until the supervisor has a successor ready."""
        before = self.pid(process)
        os.kill(before, signal.SIGKILL)
        if wait:
            until(f"{process} is back", lambda: self.pid(process) != before)

    def add_endpoint(self, name: str, base_url: str, *models: str) -> None:
        """Add an endpoint of the demo tenant and wait until the router offers it."""
        model_options = [part for model in models for part in ("--model", model)]
        self.cli("endpoints", "add", name, "--tenant", "demo", "--base-url", base_url, "--no-probe", *model_options)
        expected = {*models}
        until(f"{name} is offered", lambda: expected <= {model.id for model in self.openai().models.list().data})

    def attempts(self, request_id: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until a request has `count` rows in the ledger. Return them."""

        def rows() -> list[dict[str, Any]] | None:
            found = self.usage_rows(request_id)
            return found if len(found) >= count else None

        return until(f"{count} ledger rows of {request_id}", rows)

    def usage_rows(self, request_id: str) -> list[dict[str, Any]]:
        """Return the ledger's current rows of a request."""
        explained = run_command(("explain", request_id, "--tenant", "demo", "--json"), self.environment)
        if explained.status:
            return []
        rows: list[dict[str, Any]] = json.loads(explained.out)["attempts"]
        return rows


@contextmanager
def running_system(home: Path, settings: Mapping[str, str] | None = None) -> Iterator[KeyferrySystem]:
    """Start everything in `home`, wait until it is proven to work, and stop it at the end."""
    environment = {
        **os.environ,
        "KEYFERRY_HOME": str(home),
        "KEYFERRY_HTTP_PORT": str(find_free_port()),
        "KEYFERRY_EGRESS_ALLOW": "127.0.0.0/8",
        "KEYFERRY_BUILD_PAGE": "0",
        **(settings or {}),
    }
    store_ports(Home(home))
    log = home / "up.log"
    with log.open("w") as output:
        launcher = subprocess.Popen(
            [sys.executable, "-m", "deploy.embedded", "up"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        state = home / "run" / "state.json"

        def up() -> bool:
            assert launcher.poll() is None, f"the system did not start:\n{log.read_text()}"
            return state.exists()

        until("the system is up", up, _START_SECONDS)
        system = KeyferrySystem(home, environment, launcher)
        yield system
        system.close()
    finally:
        launcher.send_signal(signal.SIGTERM)
        try:
            launcher.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            launcher.kill()
            launcher.wait()
            raise AssertionError(f"the system did not stop:\n{log.read_text()}") from None
