"""The listening socket of a server, and how it is given up without losing a client that has just connected.

When a listening socket is closed, the kernel resets every connection that nobody has accepted yet, and with SO_REUSEPORT it keeps
on giving the socket new ones until then. So a socket that is about to be closed drops requests for further connections: their
clients repeat them a second later (RFC 6298, section 2.1), and by then the successor alone is listening.
"""

import asyncio
import ctypes
import logging
import socket
import struct
from contextlib import suppress

_log = logging.getLogger(__name__)

BACKLOG = 2048
_HANDSHAKE_SECONDS = 0.05
"""For the last packet of connections that are being made: the way to a client and back."""
_SO_ATTACH_FILTER = 26
_DROPS_SYN = (
    (0x30, 0, 0, 13),  # load the byte with the flags of the TCP header
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # only SYN: a new connection; otherwise skip an instruction
    (0x06, 0, 0, 0),  # drop the packet
    (0x06, 0, 0, 0xFFFFFFFF),  # accept it whole
)
"""A filter in Linux's classic BPF: code, jump if true, jump if false, constant (networking/filter.rst of its documentation)."""


class PortTaken(OSError):
    """Another program already listens on the address."""


def listen(host: str, port: int, *, shared: bool) -> socket.socket:
    """Return a listening socket that does not block; `shared` lets a successor listen too (SO_REUSEPORT). Raises PortTaken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PortTaken(
            f"cannot listen on {host}:{port} ({error.strerror}): stop what uses it or set KEYFERRY_HTTP_PORT"
        ) from None
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


async def stop_new_connections(listener: socket.socket) -> None:
    """Let no further connection begin at the socket, and wait for those that are being made. They are still to be accepted."""
    instructions = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in _DROPS_SYN))
    program = struct.pack("HP", len(_DROPS_SYN), ctypes.addressof(instructions))  # struct sock_fprog
    try:
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    except OSError as error:  # not Linux, or a sandbox: a client may have to connect again
        _log.debug("the listening socket takes no filter: %s", error.strerror)
        return
    await asyncio.sleep(_HANDSHAKE_SECONDS)


def accept_waiting(listener: socket.socket) -> list[socket.socket]:
    """Accept all connections that wait at a socket that does not block, and return them."""
    accepted = []
    with suppress(OSError):  # none waits, or no more files may be open
        while True:
            accepted.append(listener.accept()[0])
    return accepted
