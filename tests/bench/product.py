"""Starts the product: the whole embedded system in a home of its own, with the upstream as custom endpoints."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.bench import loopback, payload
from tests.bench.case import Kind
from tests.bench.children import started
from tests.bench.failure import BenchError
from tests.bench.system import Target
from tests.bench.unlimited_tiers import write_unlimited_tiers
from tests.bench.upstream import Upstream

_REPOSITORY = Path(__file__).resolve().parents[2]
_READY_TIMEOUT_SECONDS = 120.0
_COMMAND_TIMEOUT_SECONDS = 60
_ENDPOINTS = {Kind.PLAIN: ("bench-plain", payload.PLAIN_MODEL), Kind.STREAM: ("bench-stream", payload.STREAM_MODEL)}


class Product:
    """The running product."""

    name = "product"

    def __init__(self, http_url: str, token: str, pids: Mapping[str, int], environment: Mapping[str, str]) -> None:
        self._http_url = http_url
        self._token = token
        self._pids = pids
        self._environment = environment

    def target(self, kind: Kind) -> Target:
        """Its ingress, with the demo tenant's client token."""
        endpoint, model = _ENDPOINTS[Kind.STREAM if kind.streams else Kind.PLAIN]
        return Target(f"{self._http_url}/v1", f"{endpoint}/{model}", self._token)

    def processes(self) -> Mapping[str, int]:
        """Return every process the launcher names, PostgreSQL and NATS included, and the upstream."""
        return self._pids

    def accounted(self) -> int:
        """Return the attempts in the ledger."""
        return ledger_count(self._environment)


@contextlib.contextmanager
def running(home: Path, upstream: Upstream) -> Iterator[Product]:
    """Run the product for the length of the block, with all its files in `home`.

    Raises:
        BenchError: the launcher ended, was not ready in time, or an endpoint could not be added.
    """
    # The upstream is on loopback, which the product's guarded connector refuses unless the operator allows it.
    settings = {"KEYFERRY_HOME": str(home), "KEYFERRY_EGRESS_ALLOW": "127.0.0.0/8"}
    settings["KEYFERRY_HTTP_PORT"] = str(loopback.find_free_port())
    settings["KEYFERRY_TIER_FILE"] = str(write_unlimited_tiers(home.parent))
    environment = os.environ | settings
    command = [sys.executable, "-m", "deploy.embedded", "up"]
    log_dir = home.parent
    with started("launcher", command, log_dir, environment, _REPOSITORY) as launcher:
        state = launcher.wait_until(lambda: _state(home), "its state file", _READY_TIMEOUT_SECONDS)
        pids = _pids(state)
        launcher.also_stop(pids.values())
        token = Path(str(state["token_file"])).read_text().strip()
        add_endpoints(upstream, environment)
        named = {**pids, "launcher": launcher.pid, "upstream": upstream.pid}
        yield Product(str(state["http_url"]), token, named, environment)


def add_endpoints(upstream: Upstream, environment: Mapping[str, str]) -> None:
    """Register both answers of the upstream for the demo tenant.

    Raises:
        BenchError: the command line refused.
    """
    for kind, (endpoint, model) in _ENDPOINTS.items():
        base_url = upstream.target(kind).base_url
        keyferry(["endpoints", "add", endpoint, "--base-url", base_url, "--no-probe", "--model", model], environment)


def ledger_count(environment: Mapping[str, str]) -> int:
    """Return how many requests the ledger has recorded for the demo tenant.

    Raises:
        BenchError: the command line refused, or printed something else than a count.
    """
    output = keyferry(["usage", "--json"], environment)
    try:
        summary: dict[str, int] = json.loads(output)
        return summary["requests"]
    except (json.JSONDecodeError, KeyError) as error:
        raise BenchError(f"keyferry usage --json printed no count of requests but: {output[:200]}") from error


def keyferry(arguments: list[str], environment: Mapping[str, str]) -> str:
    """Return what the `keyferry` command prints.

    Raises:
        BenchError: it failed or hung.
    """
    command = [str(Path(sys.executable).with_name("keyferry")), *arguments]
    try:
        done = subprocess.run(
            command,
            env=dict(environment),
            cwd=_REPOSITORY,
            capture_output=True,
            text=True,
            timeout=_COMMAND_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"keyferry {' '.join(arguments)} did not end in {_COMMAND_TIMEOUT_SECONDS} s.") from error
    if done.returncode != 0:
        raise BenchError(f"keyferry {' '.join(arguments)} failed: {done.stderr.strip()[-500:]}")
    return done.stdout


def _state(home: Path) -> dict[str, object] | None:
    try:
        state: dict[str, object] = json.loads((home / "run" / "state.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):  # not there yet, or not whole yet
        return None
    return state


def _pids(state: Mapping[str, object]) -> dict[str, int]:
    named = state["processes"]
    if not isinstance(named, dict):
        raise BenchError("The launcher's state file names no processes.")
    return {str(name): int(pid) for name, pid in named.items()}
