"""The whole embedded system with few places in its workers, tenants with endpoints, and the server behind them."""

import contextlib
import json
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.bench import loopback, payload
from tests.bench.children import started
from tests.bench.failure import BenchError
from tests.bench.overload.upstream_process import SHARED_MODEL
from tests.bench.system import Target
from tests.bench.unlimited_tiers import write_unlimited_tiers
from tests.support.providers.openai_double import fresh_key
from tests.support.system.command_line import run_command
from tests.support.system.keyferry_system import KeyferrySystem, running_system

PLACES = 20
SHARED = "openai"
_WORKERS = 2
_KEY_SECONDS = 60.0
_REPOSITORY = Path(__file__).resolve().parents[3]


class MeasuredSystem:
    """The running system and its upstream."""

    def __init__(self, system: KeyferrySystem, port: int) -> None:
        self._system = system
        self._upstream = f"http://127.0.0.1:{port}"
        self._tokens: dict[str, str] = {}

    def target(self, tenant: str, provider: str) -> Target:
        """Return where `tenant` asks `provider`, an endpoint of its own. Both are created the first time."""
        token = self._token(tenant)
        listed = json.loads(self._system.cli("endpoints", "list", "--tenant", tenant, "--json"))["endpoints"]
        if provider not in {one["name"] for one in listed}:
            address = ("--base-url", f"{self._upstream}/{provider}/v1", "--no-probe", "--model", payload.PLAIN_MODEL)
            self._system.cli("endpoints", "add", provider, "--tenant", tenant, *address)
        return Target(f"{self._system.http_url}/v1", f"{provider}/{payload.PLAIN_MODEL}", token)

    def shared_target(self, tenant: str) -> Target:
        """Return where `tenant` asks the provider whose platform key all tenants use."""
        token = self._token(tenant)
        return Target(f"{self._system.http_url}/v1", f"{SHARED}/{SHARED_MODEL}", token)

    def add_shared_key(self) -> None:
        """Add the platform's key.

        Raises:
            BenchError: no worker tests keys in time.
        """
        command = ("keys", "add", "--provider", SHARED, "--tenant", "platform", "--key-file", "-")
        give_up_at = time.monotonic() + _KEY_SECONDS
        while run_command(command, self._system.environment, f"{fresh_key()}\n").status:
            if time.monotonic() > give_up_at:
                raise BenchError("No platform key could be added. See the vault's log in the system's home.")
            time.sleep(0.2)

    def _token(self, tenant: str) -> str:
        """Return the tenant's client token. The tenant is created the first time."""
        if tenant not in self._tokens:
            unlimited = ("--rpm", "unlimited", "--tpm", "unlimited", "--concurrency", "unlimited")
            self._system.cli("tenants", "create", tenant, "--tier", "enterprise", *unlimited)
            created = json.loads(self._system.cli("tokens", "create", "--tenant", tenant, "--json"))
            self._tokens[tenant] = created["token"]
        return self._tokens[tenant]

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
            settings = {
                "KEYFERRY_CREDITS": "off",
                "KEYFERRY_MAX_ATTEMPTS": str(PLACES // _WORKERS),
                "KEYFERRY_TIER_FILE": str(write_unlimited_tiers(directory)),
                "KEYFERRY_PROVIDER_URLS": f"{SHARED}=http://127.0.0.1:{port}/{SHARED}/v1",
            }
            with running_system(directory / "home", settings) as system:
                measured = MeasuredSystem(system, port)
                measured.add_shared_key()
                yield measured
        except AssertionError as error:  # how the test support reports a command that fails
            raise BenchError(str(error)) from None


def _listens(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/any/count", timeout=5):
            return True
    except OSError:
        return False
