"""Readiness told to whoever started the process, by the sd_notify protocol (systemd's sd_notify(3)).

`NOTIFY_SOCKET` names a Unix datagram socket, a leading `@` standing for the abstract namespace. Without the variable nobody
asked, and nothing is sent.
"""

import os
import socket
from contextlib import suppress


def ready() -> None:
    """Requests may come. Raises OSError when a supervisor asked to be told and cannot be reached."""
    _send("READY=1")


def stopping() -> None:
    """The process drains; that nobody listens any more is no reason not to."""
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
