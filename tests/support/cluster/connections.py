"""To which server of a cluster a process is connected now, as the kernel knows it."""

from collections.abc import Mapping
from pathlib import Path

_ESTABLISHED = "01"
_SOCKET = "socket:["


def server_of(pid: int, ports: Mapping[str, int]) -> str | None:
    """Return the name of the server to whose port a process has a connection; None if it has none."""
    sockets = _sockets(pid)
    by_port = {port: name for name, port in ports.items()}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        remote, state, inode = fields[2], fields[3], fields[9]
        port = int(remote.partition(":")[2], 16)
        if state == _ESTABLISHED and inode in sockets and port in by_port:
            return by_port[port]
    return None


def _sockets(pid: int) -> set[str]:
    """Return the inodes of a process's sockets."""
    found = set()
    for file in Path("/proc", str(pid), "fd").iterdir():
        try:
            target = str(file.readlink())
        except OSError:
            continue  # closed meanwhile
        if target.startswith(_SOCKET):
            found.add(target[len(_SOCKET) : -1])
    return found
