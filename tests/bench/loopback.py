"""Ports on this machine for programs that cannot choose one themselves."""

import socket


def find_free_port() -> int:
    """Return a loopback TCP port that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
