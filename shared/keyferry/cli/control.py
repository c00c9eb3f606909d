"""The launcher's control socket: JSON lines, one request per connection.

-> {"command": "status"} | {"command": "restart", "service": NAME}
<- {"progress": TEXT}            any number of times
<- {"done": true, ...} or {"failed": TEXT}
"""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from keyferry.cli.installation import START_IT
from keyferry.cli.problem import Problem

SOCKET = "control.sock"
_LONGEST_ADDRESS_BYTES = 100
"""A Unix socket's path may have 107 bytes (unix(7))."""


class ProcessStatus(BaseModel):
    """One process under the launcher; `since` is ISO 8601 in UTC."""

    model_config = ConfigDict(extra="ignore")

    name: str
    pid: int
    state: str
    restarts: int = 0
    since: str = ""


class Line(BaseModel):
    """One line of an answer."""

    model_config = ConfigDict(extra="ignore")

    progress: str | None = None
    failed: str | None = None
    done: bool = False
    processes: list[ProcessStatus] = []


def ask(run_dir: Path, request: dict[str, str], timeout_seconds: float) -> Iterator[Line]:
    """Each line of the answer, the last with `done`.

    Raises Problem when nobody listens, when the command fails, and when no line comes within `timeout_seconds`.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout_seconds)
        _connect(client, run_dir / SOCKET)
        try:
            client.sendall(json.dumps(request).encode() + b"\n")
            for raw in client.makefile("rb"):
                line = Line.model_validate_json(raw)
                if line.failed is not None:
                    raise Problem(f"the launcher could not do it: {line.failed}")
                yield line
                if line.done:
                    return
        except TimeoutError:
            raise Problem(f"the launcher said nothing for {timeout_seconds:g} s", "Look at its log") from None
        except (ConnectionError, ValidationError):
            pass
    raise Problem("the launcher ended before it had answered", "Look at its log")


def processes(run_dir: Path, timeout_seconds: float) -> list[ProcessStatus]:
    """What runs under the launcher. Raises Problem as `ask` does."""
    return [process for line in ask(run_dir, {"command": "status"}, timeout_seconds) for process in line.processes]


def _connect(client: socket.socket, path: Path) -> None:
    try:
        with _reachable(path) as address:
            client.connect(address)
    except (FileNotFoundError, ConnectionRefusedError):
        raise Problem(f"no launcher listens in {path.parent}", START_IT) from None
    except PermissionError:
        raise Problem(f"{path} belongs to somebody else", "Run this as the user who started the installation") from None


@contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """An address for a socket whose path may be longer than unix(7) allows."""
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS_BYTES or not path.parent.is_dir():
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
