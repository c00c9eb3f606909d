"""The launcher's control socket: its name, and an address for it that is short enough for the kernel."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOCKET_NAME = "control.sock"
"""In the run directory of an installation."""
_MAX_ADDRESS_BYTES = 100
"""The path of a Unix socket may have 107 bytes (unix(7))."""


@contextmanager
def short_address(path: Path) -> Iterator[str]:
    """Give an address for the socket `path`, which may be longer than unix(7) allows."""
    if len(os.fsencode(path)) <= _MAX_ADDRESS_BYTES or not path.parent.is_dir():
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
