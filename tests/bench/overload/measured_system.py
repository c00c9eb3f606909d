"""The whole embedded system with few places in its workers, tenants with endpoints, and the server behind them."""

import contextlib
import json
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.bench import loopback, payload
from tests.bench.children import started
from tests.bench.failure import BenchError
from tests.bench.system import Target
from tests.support.system.keyferry_system import KeyferrySystem, running_system

PLACES = 20
_WORKERS = 2
_REPOSITORY = Path(__file__).resolve().parents[3]


class MeasuredSystem:
    """The running system and its upstream."""

    def __init__(self, system: KeyferrySystem, port: int) -> None:
        self._system = system
        self._upstream = f"http://127.0.0.1:{port}"
        self._tokens: dict[str, str] = {}

    def target(self, tenant: str, provider: str) -> Target:
        """Return where `tenant` asks `provider`. The tenant and its endpoint are created the first time."""
        if tenant not in self._tokens:
            self._system.cli("tenants", "create", tenant, "--tier", "enterprise")
            created = json.loads(self._system.cli("tokens", "create", "--tenant", tenant, "--json"))
            self._tokens[tenant] = created["token"]
        listed = json.loads(self._system.cli("endpoints", "list", "--tenant", tenant, "--json"))["endpoints"]
        if provider not in {one["name"] for one in listed}:
            address = ("--base-url", f"{self._upstream}/{provider}/v1", "--no-probe", "--model", payload.PLAIN_MODEL)
            self._system.cli("endpoints", "add", provider, "--tenant", tenant, *address)
        return Target(f"{self._system.http_url}/v1", f"{provider}/{payload.PLAIN_MODEL}", self._tokens[tenant])

    def set_mode(self, provider: str, mode: str) -> None:
        """Have the provider answer, hang or fail from now on."""
        self._get(f"{provider}/mode/{mode}")

    def calls(self, provider: str) -> int:
        """Return how often the provider was called."""
        return int(self._get(f"{provider}/count"))

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self._upstream}/{path}", timeout=10) as response:
            answer: bytes = response.read()
        return answer


@contextlib.contextmanager
def running(directory: Path) -> Iterator[MeasuredSystem]:
    """Run everything for the length of the block, with all files in `directory`.

    Raises:
        BenchError: a process ended or was not ready in time.
    """
    port = loopback.find_free_port()
    command = [sys.executable, "-m", "tests.bench.overload.upstream_process", str(port)]
    with started("providers", command, directory, cwd=_REPOSITORY) as upstream:
        upstream.wait_until(lambda: True if _listens(port) else None, "an answer on its port")
        try:
            with running_system(directory / "home", {"KEYFERRY_MAX_ATTEMPTS": str(PLACES // _WORKERS)}) as system:
                yield MeasuredSystem(system, port)
        except AssertionError as error:  # how the test support reports a command that fails
            raise BenchError(str(error)) from None


def _listens(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/any/count", timeout=5):
            return True
    except OSError:
        return False
