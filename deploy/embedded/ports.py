"""Port selection: the configured port, or a free one that stays the same across restarts."""

import errno
import random
import socket
from collections.abc import Collection
from pathlib import Path

from deploy.embedded.errors import LaunchFailed

LOOPBACK = "127.0.0.1"
_LOWEST = 16_384
_IANA_EPHEMERAL = 49_152
_ATTEMPTS = 100
_TAKEN = (errno.EADDRINUSE, errno.EACCES)


class PortInUse(LaunchFailed):
    """A configured port is in use; the message says how to change it."""


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Return whether a server could listen there now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            raise
    return True


def server_ports() -> range:
    """Return the ports from which a free one is chosen.

    They are below the range the kernel uses for outgoing connections, since one of those could take a port before the server
    starts or between two starts.
    """
    return range(_LOWEST, _first_ephemeral())


def find_free_port(taken: Collection[int] = ()) -> int:
    """Return a loopback port on which nothing listens, and which is not one of `taken`: those get servers of their own."""
    candidates = server_ports()
    for port in random.sample(candidates, k=min(_ATTEMPTS, len(candidates))):
        if port not in taken and is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _first_ephemeral() -> int:
    """Return the start of the kernel's range for outgoing connections (ip(7)), or IANA's if it is unknown."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _IANA_EPHEMERAL


def reuse_or_find_port(port_file: Path, taken: Collection[int] = ()) -> int:
    """Return the port stored in `port_file` if it is free and not one of `taken`, else find a new one and store it there."""
    try:
        port = int(port_file.read_text())
    except (FileNotFoundError, ValueError):
        port = 0
    if not (0 < port < 65536 and port not in taken and is_free(port)):
        port = find_free_port(taken)
        port_file.parent.mkdir(parents=True, exist_ok=True)
        port_file.write_text(f"{port}\n")
    return port


def require_free(port: int, variable: str, host: str = LOOPBACK) -> None:
    """Check that `port` is free. Raises PortInUse, naming the setting that changes it."""
    if not is_free(port, host):
        raise PortInUse(
            f"port {port} on {host} is in use, or not permitted.\n"
            f"Stop the process that uses it, or choose another port: {variable}={find_free_port()} make up"
        )
