"""Which loopback ports the parts listen on: the asked-for one, or a free one that stays the same over restarts."""

import errno
import random
import socket
from pathlib import Path

from deploy.embedded.failure import LaunchFailed

LOOPBACK = "127.0.0.1"
_LOWEST = 16_384
_IANA_EPHEMERAL = 49_152
_TRIES = 100
_TAKEN = (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL)


class PortTaken(LaunchFailed):
    """Somebody else listens on an asked-for port; the message names the way out."""


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            raise
    return True


def free_port() -> int:
    """A loopback port nobody listens on now.

    It lies below those that the kernel gives to outgoing connections, any of which may else take it before a server does, or
    between two starts of the server.
    """
    candidates = range(_LOWEST, _first_ephemeral())
    for port in random.sample(candidates, k=min(_TRIES, len(candidates))):
        if is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _first_ephemeral() -> int:
    """Where the kernel's range for outgoing connections begins (ip(7)); IANA's beginning where it does not say."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _IANA_EPHEMERAL


def steady_port(memory: Path) -> int:
    """The port remembered in the file `memory` while it is free, else a new one, remembered there."""
    try:
        port = int(memory.read_text())
    except (FileNotFoundError, ValueError):
        port = 0
    if not (0 < port < 65536 and is_free(port)):
        port = free_port()
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(f"{port}\n")
    return port


def require_free(port: int, variable: str, host: str = LOOPBACK) -> None:
    """Pass when `port` is free. Raises PortTaken, naming the setting that moves it."""
    if not is_free(port, host):
        raise PortTaken(
            f"port {port} on {host} is taken by another process, or not yours to use.\n"
            f"Stop that process, or choose another port: {variable}={free_port()} make up"
        )
