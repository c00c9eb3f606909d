"""The container engine of the tests: the one that answers already, or Debian's, started for them and stopped after them."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.containers.privileges import missing_privileges, own_privileges
from tests.support.repository.files import ROOT
from tests.support.servers.containers import describe_missing_engine
from tests.support.waiting import until

DATA = ROOT / ".keyferry" / "test-engine"
"""The images of an engine that the tests start: a second run finds them."""
PACKAGES = {"dockerd": "docker.io", "docker": "docker.io", "iptables": "iptables", "debootstrap": "debootstrap"}
"""Debian's package of each program."""
CGROUP = "keyferry-test-engine"
"""The control group of the containers, below the root."""
_CPU = Path("/sys/fs/cgroup/cpu")
"""The controller of processor time, where control groups are of version 1."""
_PROCESSES, _SHARES_OF_A_PROCESS = 20, 1024
_INSTALL_SECONDS = 600.0
_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
_USUAL = "unix:///var/run/docker.sock"


class NoEngine(Exception):
    """No container engine can be used; the message says what to do."""


@dataclass(frozen=True)
class Engine:
    """An engine that answers at `url`."""

    url: str
    is_local: bool
    """Whether its processes are seen by root of this machine."""

    @property
    def environment(self) -> dict[str, str]:
        """What its clients need. Debian's engine has no BuildKit for its command line."""
        return {**os.environ, "DOCKER_HOST": self.url, "DOCKER_BUILDKIT": "0"}

    def docker(self, *arguments: str, stdin: Any = None, timeout_seconds: float = 600.0) -> str:
        """Run the command line; return its standard output. Fails the test with what it printed."""
        done = subprocess.run(
            ["docker", *arguments],
            env=self.environment,
            stdin=stdin or subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        assert done.returncode == 0, f"docker {' '.join(arguments)}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def has_image(self, name: str) -> bool:
        return bool(self.docker("images", "--quiet", name).strip())

    def image_megabytes(self, name: str) -> float:
        return int(self.docker("image", "inspect", "--format", "{{.Size}}", name)) / 1_000_000


@contextmanager
def container_engine() -> Iterator[Engine]:
    """Yield the engine that DOCKER_HOST names or that answers at the usual address, else start one. Raises NoEngine."""
    named = os.environ.get("DOCKER_HOST")
    if named or _answers(_USUAL):
        if not _answers(named or _USUAL):
            raise NoEngine(f"no container engine answers at DOCKER_HOST={named}: start it, or unset the variable")
        install("docker", "debootstrap")
        yield Engine(named or _USUAL, is_local=(named or _USUAL).startswith("unix:") and os.geteuid() == 0)
        return
    if reason := missing_privileges(*own_privileges()):
        raise NoEngine(
            f"no container engine answers at {_USUAL}, and {reason}. Start Docker and see to it that you may use it, "
            "name one in DOCKER_HOST, or run this as root on Debian"
        )
    install(*PACKAGES)
    with _started_engine() as engine:
        yield engine


def install(*programs: str) -> None:
    """Install the programs that are missing, on Debian as root. Raises NoEngine."""
    missing = sorted({PACKAGES[program] for program in programs if shutil.which(program) is None})
    if not missing:
        return
    remedy = f"install {', '.join(missing)} (`apt-get install {' '.join(missing)}` on Debian)"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise NoEngine(f"the tests of the containers need programs that are not on PATH: {remedy}")
    print(f"Installing Debian's {', '.join(missing)}", file=sys.stderr, flush=True)
    wait = ("-o", "DPkg::Lock::Timeout=300", "--quiet", "--quiet")
    for command in (("update",), ("install", "--yes", "--no-install-recommends", *missing)):
        done = subprocess.run(
            ["apt-get", *wait, *command],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=False,
        )
        if done.returncode:
            raise NoEngine(f"`apt-get {' '.join(command)}` fails, so {remedy} yourself:\n{done.stderr[-2000:]}")


@contextmanager
def _started_engine() -> Iterator[Engine]:
    with tempfile.TemporaryDirectory(prefix="keyferry-engine-", ignore_cleanup_errors=True) as name:
        run, url = Path(name), f"unix://{name}/docker.sock"
        log = run / "dockerd.log"
        _weigh_containers()
        with log.open("wb") as output:
            process = subprocess.Popen(
                _daemon_command(run, url),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=_daemon_environment(),
            )
        try:
            until("the engine answers or ends", lambda: process.poll() is not None or _answers(url), _START_SECONDS)
            if process.poll() is not None:
                raise NoEngine(f"dockerd exits with {process.returncode}:\n{log.read_text(errors='replace')[-2000:]}")
            yield Engine(url, is_local=True)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            with suppress(OSError):
                (_CPU / CGROUP).rmdir()


def _daemon_command(run: Path, url: str) -> list[str]:
    DATA.mkdir(parents=True, exist_ok=True)
    places = (
        "--data-root",
        str(DATA / "data"),
        "--exec-root",
        str(run / "exec"),
        "--pidfile",
        str(run / "dockerd.pid"),
    )
    return ["dockerd", "--host", url, "--cgroup-parent", f"/{CGROUP}", *places]


def _weigh_containers() -> None:
    """Give the containers together the processor time of as many processes as they are, where others want some too.

    A control group counts as one process among those outside, however many are in it: beside a few others that compute, twelve
    services would take minutes to start.
    """
    if (_CPU / "cpu.shares").exists():
        (_CPU / CGROUP).mkdir(exist_ok=True)
        (_CPU / CGROUP / "cpu.shares").write_text(str(_PROCESSES * _SHARES_OF_A_PROCESS))


def _daemon_environment() -> Mapping[str, str]:
    """dockerd calls iptables and mount, which are not on every user's PATH."""
    return {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin"}


def _answers(url: str) -> bool:
    return not describe_missing_engine(url)
