"""The `keyferry` command of a shell script, forked from a process that has imported it: most of its time goes into that.

`python -m tests.support.system.forked_commands SOCKET` is that process. Each command is a process of its own, with the script's
arguments, environment, directory and streams.
"""

import array
import importlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import click

from keyferry.cli.main import cli, main
from tests.support.repository.files import ROOT
from tests.support.waiting import until

_MAX_REQUEST_BYTES = 1 << 20
_CLIENT = """
import array, json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect(sys.argv[1])
request = json.dumps([sys.argv[2:], dict(os.environ), os.getcwd()]).encode()
rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))
server.sendmsg([b"%8d" % len(request)], [rights])
server.sendall(request)
status = server.recv(8)
sys.exit(int(status) if status else "the forked command was killed")
"""


@contextmanager
def forked_commands(directory: Path) -> Iterator[str]:
    """Yield the definition of a shell function `keyferry` for scripts; `directory` gets the socket."""
    address = directory / "keyferry.sock"
    server = subprocess.Popen([sys.executable, "-m", "tests.support.system.forked_commands", str(address)], cwd=ROOT)
    try:
        until("commands are imported", lambda: server.poll() is not None or address.exists())
        assert server.poll() is None
        client = shlex.join([sys.executable, "-I", "-S", "-c", _CLIENT, str(address)])
        yield f'keyferry() {{ {client} "$@"; }}'
    finally:
        server.terminate()
        server.wait()


def _serve(address: Path) -> None:
    """Answer one request after the other, each in a process of its own, until SIGTERM."""
    for name in cli.list_commands(click.Context(cli)):
        importlib.import_module(f"keyferry.cli.{name.replace('-', '_')}")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the processes that report a status
    with socket.socket(socket.AF_UNIX) as listening:
        bound = address.with_suffix(".new")
        listening.bind(str(bound))
        listening.listen(16)
        bound.rename(address)
        while True:
            client, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                _report_status(client)
            client.close()


def _report_status(client: socket.socket) -> NoReturn:
    """Run the command as a child, and send how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, rights, _, _ = client.recvmsg(8, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    streams = array.array("i", rights[0][2])
    received = client.makefile("rb").read(min(int(head), _MAX_REQUEST_BYTES))
    child = os.fork()
    if child == 0:
        client.close()
        arguments, environment, directory = json.loads(received)
        _run(arguments, environment, directory, streams)
    client.sendall(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())
    os._exit(0)


def _run(arguments: list[str], environment: dict[str, str], directory: str, streams: "array.array[int]") -> NoReturn:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    sys.argv = ["keyferry", *arguments]
    status = 1
    try:
        main()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
