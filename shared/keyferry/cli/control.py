"""Client of the launcher's control socket: JSON lines, one request per connection.

-> {"command": "status"} | {"command": "restart", "service": NAME}
<- {"progress": TEXT}            any number of times
<- {"done": true, ...} or {"failed": TEXT}
"""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from keyferry.cli.installation import START_IT
from keyferry.cli.problem import Problem
from keyferry.runtime.process.control_socket import SOCKET_NAME, short_address


class ProcessStatus(BaseModel):
    """One process under the launcher; `since` is ISO 8601 in UTC."""

    model_config = ConfigDict(extra="ignore")

    name: str
    pid: int
    state: str
    restarts: int = 0
    since: str = ""


class ControlLine(BaseModel):
    """One line of a response."""

    model_config = ConfigDict(extra="ignore")

    progress: str | None = None
    failed: str | None = None
    done: bool = False
    processes: list[ProcessStatus] = []


def send_command(run_dir: Path, request: dict[str, str], timeout_seconds: float) -> Iterator[ControlLine]:
    """Send a command and yield each line of the response, the last one with `done`.

    Raises Problem if no launcher listens, if the command fails, and if no line arrives within `timeout_seconds`.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout_seconds)
        _connect(client, run_dir / SOCKET_NAME)
        try:
            client.sendall(json.dumps(request).encode() + b"\n")
            for raw in client.makefile("rb"):
                line = ControlLine.model_validate_json(raw)
                if line.failed is not None:
                    raise Problem(f"the launcher could not do it: {line.failed}")
                yield line
                if line.done:
                    return
        except TimeoutError:
            raise Problem(f"the launcher sent nothing for {timeout_seconds:g} s", "Look at its log") from None
        except (ConnectionError, ValidationError):
            pass
    raise Problem("the launcher ended before it had answered", "Look at its log")


def list_processes(run_dir: Path, timeout_seconds: float) -> list[ProcessStatus]:
    """Return the processes under the launcher. Raises Problem like `send_command`."""
    lines = send_command(run_dir, {"command": "status"}, timeout_seconds)
    return [process for line in lines for process in line.processes]


def _connect(client: socket.socket, path: Path) -> None:
    try:
        with short_address(path) as address:
            client.connect(address)
    except (FileNotFoundError, ConnectionRefusedError):
        raise Problem(f"no launcher listens in {path.parent}", START_IT) from None
    except PermissionError:
        raise Problem(f"{path} belongs to another user", "Run this as the user who started the installation") from None
