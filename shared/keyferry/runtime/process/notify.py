"""Readiness notifications to the process's supervisor, by the sd_notify protocol (systemd's sd_notify(3)).

`NOTIFY_SOCKET` names a Unix datagram socket; a leading `@` stands for the abstract namespace. Without the variable nothing is
sent.
"""

import os
import socket
from contextlib import suppress


def ready() -> None:
    """Report that the process is ready. Raises OSError when the supervisor cannot be reached."""
    _send("READY=1")


def stopping() -> None:
    """Report that the process is draining; an unreachable supervisor does not matter any more."""
    with suppress(OSError):
        _send("STOPPING=1")


def _send(state: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as client:
        client.sendto(state.encode(), address)
