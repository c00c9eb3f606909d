"""The processes of the services of a cluster, two of each, which a test kills and starts again."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from deploy.embedded.home import Home
from deploy.embedded.process import ProcessSpec, spawn
from deploy.embedded.services import ROOT, SERVICES, Addresses, ServiceRow, make_environment
from tests.support.servers.ports import find_free_port

REPLICAS = 2
_STOP_SECONDS = 60.0


class ServiceProcess:
    """One of the two processes of a service. `log` gets what each of its runs writes."""

    def __init__(self, spec: ProcessSpec, log: Path, http_port: int | None) -> None:
        self.spec = spec
        self.http_port = http_port
        self.log = log
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def start(self) -> None:
        """Start it; it takes a few seconds to become ready."""
        with self.log.open("ab") as log:
            self._child = spawn(self.spec, output=log)

    def kill(self) -> None:
        """Send SIGKILL and wait until it is gone."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def stop(self) -> None:
        """Let it drain and wait until it has ended."""
        if self._child is not None and self.running:
            self._child.send_signal(signal.SIGTERM)
            self._child.wait(_STOP_SECONDS)

    def check_running(self) -> None:
        """Fail the test, with the end of the log, if it has ended by itself."""
        assert self._child is not None
        status = self._child.poll()
        assert status is None, f"{self.spec.name} exits {status}:\n{self.log.read_text()[-2000:]}"


def processes_of(
    home: Home, nats_url: str, settings: Mapping[str, str], counts: Mapping[str, int], root: Path = ROOT
) -> dict[str, ServiceProcess]:
    """Return the processes of the services, by `<service>-<number>`; `root` has the code that they run.

    There are two of each service, except for those in `counts`. Builds before this one take a single NATS server.
    """
    made: dict[str, ServiceProcess] = {}
    for row in SERVICES:
        for number in range(1, counts.get(row.name, REPLICAS) + 1):
            made[f"{row.name}-{number}"] = _process(row, number, home, nats_url, settings, root)
    return made


def _process(
    row: ServiceRow, number: int, home: Home, nats_url: str, settings: Mapping[str, str], root: Path
) -> ServiceProcess:
    name, port = f"{row.name}-{number}", find_free_port()
    if root != ROOT:
        nats_url = nats_url.split(",")[number - 1]
    addresses = Addresses(nats_url=nats_url, http_host="127.0.0.1", http_port=port, console_port=port)
    spec = ProcessSpec(
        name=name,
        argv=(sys.executable, "-m", f"services.{row.name}"),
        env={**make_environment(row, number, home, addresses, {**os.environ, **settings}), **_code(root)},
        cwd=root,
    )
    return ServiceProcess(spec, home.log / f"{name}.log", port if row.http_port is not None else None)


def upgraded(process: ServiceProcess, nats_url: str) -> ServiceProcess:
    """Return the same process with this repository's code and all NATS servers; the former one has to have ended."""
    env = {**process.spec.env, **_code(ROOT), "KEYFERRY_NATS_URL": nats_url}
    return ServiceProcess(replace(process.spec, env=env, cwd=ROOT), process.log, process.http_port)


def _code(root: Path) -> dict[str, str]:
    """Return the variable by which Python finds the code of this build before the one that is installed."""
    return {"PYTHONPATH": f"{root}:{root}/shared"}


@contextmanager
def ended(processes: dict[str, ServiceProcess]) -> Iterator[None]:
    """Kill what still runs when the block ends, whichever processes the dictionary then has."""
    try:
        yield
    finally:
        for process in processes.values():
            process.kill()
