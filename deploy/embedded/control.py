"""Control of a running system over a Unix socket: JSON lines, one request per connection.

    -> {"command": "status"} | {"command": "restart", "service": NAME} | {"command": "stop"}
       | {"command": "compare", "settings": {NAME: VALUE}} | {"command": "users"}
    <- {"progress": TEXT}          any number of times
    <- {"done": true, ...} or {"failed": TEXT}

`status` answers with `http_url`, `pid` and `processes`, `compare` with `different`: a line for each setting that
differs. `users` brings the users of NATS up to date, and answers with the number of `internal_services`. Only the owner of the
home directory may connect.
"""

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from deploy.embedded.errors import LaunchFailed
from keyferry.runtime.process.control_socket import SOCKET_NAME, short_address

Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | None"
Line: TypeAlias = dict[str, Value]
Send: TypeAlias = Callable[[Line], None]
Command: TypeAlias = Callable[[Line, Send], Awaitable[Line]]
"""Executes a request, sends progress lines and returns the last line. Raises CommandFailed."""

_REQUEST_SECONDS = 5.0
_CLOSE_TIMEOUT_SECONDS = 2.0
_LINE_BYTES = 1 << 20


class CommandFailed(LaunchFailed):
    """The command failed; the message is for the operator who gave it."""


class NotRunning(LaunchFailed):
    """Nothing listens on the control socket of this home."""


class ControlServer:
    """Listens in `run_dir`, for its owner only."""

    def __init__(self, run_dir: Path, commands: dict[str, Command]) -> None:
        self._run_dir = run_dir
        self._commands = commands
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "ControlServer":
        path = self._run_dir / SOCKET_NAME
        path.unlink(missing_ok=True)
        with short_address(path) as address:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            before = os.umask(0o177)
            try:
                listener.bind(address)
            finally:
                os.umask(before)
        self._server = await asyncio.start_unix_server(self._accept, sock=listener, limit=_LINE_BYTES)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        if self._connections:
            await asyncio.wait(self._connections, timeout=_CLOSE_TIMEOUT_SECONDS)
        (self._run_dir / SOCKET_NAME).unlink(missing_ok=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer), name="control connection")
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def send(line: Line) -> None:
            if not writer.is_closing():
                writer.write(json.dumps(line).encode() + b"\n")

        try:
            send(await self._execute(reader, send))
            await writer.drain()
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _execute(self, reader: asyncio.StreamReader, send: Send) -> Line:
        try:
            request = json.loads(await asyncio.wait_for(reader.readline(), _REQUEST_SECONDS))
            command = self._commands[request["command"]]
        except (ValueError, KeyError, TypeError):
            return {"failed": f'send {{"command": ...}} with one of: {", ".join(self._commands)}'}
        try:
            return {"done": True, **await command(request, send)}
        except CommandFailed as error:
            return {"failed": str(error)}


def ask(run_dir: Path, request: Line, timeout_seconds: float | None = None) -> Iterator[Line]:
    """Send a request and yield each line of the answer.

    Raises NotRunning, and CommandFailed also if no line arrives within `timeout_seconds`.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client, short_address(run_dir / SOCKET_NAME) as address:
        client.settimeout(timeout_seconds)
        try:
            client.connect(address)
        except (FileNotFoundError, ConnectionRefusedError):
            raise NotRunning(f"nothing is running in {run_dir.parent}; start it with `make up`") from None
        except PermissionError:
            raise CommandFailed(f"{run_dir} belongs to another user: run this as the user who ran `make up`") from None
        except OSError as error:
            raise NotRunning(
                f"{run_dir.parent} is no home directory of a running system ({error.strerror}): set KEYFERRY_HOME to its path"
            ) from None
        try:
            client.sendall(json.dumps(request).encode() + b"\n")
            yield from _read_lines(client)
        except TimeoutError:
            raise CommandFailed(
                f"the launcher in {run_dir.parent} does not answer within {timeout_seconds:g} s: look at its output"
            ) from None
        except (ConnectionError, ValueError):
            raise CommandFailed(f"the launcher in {run_dir.parent} ended before it had answered") from None


def _read_lines(client: socket.socket) -> Iterator[Line]:
    for raw in client.makefile("rb"):
        line = json.loads(raw)
        if "failed" in line:
            raise CommandFailed(line["failed"])
        yield line
        if line.get("done"):
            return
    raise ConnectionError("the connection was closed before the last line")
