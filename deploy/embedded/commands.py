"""The launcher's commands: up, down, status and restart."""

import asyncio
import fcntl
from collections.abc import Mapping

import psycopg

from deploy.embedded.control import Line, NotRunning, ask
from deploy.embedded.errors import AlreadyRunning, LaunchFailed
from deploy.embedded.home import Home
from deploy.embedded.launch import Launch
from deploy.embedded.system import Build
from deploy.embedded.terminal import Terminal
from keyferry.runtime.database.schema_check import SchemaMismatch

_STATUS_SECONDS = 5.0
_NOT_RUNNING = 3
"""Exit status of `status` when nothing is running, as the Linux Standard Base defines for init scripts."""


def up(environment: Mapping[str, str], terminal: Terminal, build: Build | None = None) -> int:
    """Run the system in the foreground until SIGINT, SIGTERM, SIGHUP or `down`; return the exit status.

    Only one system runs in a home directory: if one does already, show it and return 0.
    """
    home = Home.of(environment)
    home.prepare()
    try:
        with home.lock():
            return asyncio.run(Launch(home, environment, terminal).run(build or Build()))
    except AlreadyRunning as error:
        return _show_running(home, error.pid, terminal)
    except (LaunchFailed, SchemaMismatch, psycopg.Error, OSError) as error:
        terminal.show(f"\nKeyferry did not start. {error}\nNothing is left running; logs:  {home.log}")
        return 1


def down(environment: Mapping[str, str], terminal: Terminal) -> int:
    """Stop the system of this home and wait until it has exited; return 0 also if none is running."""
    home = Home.of(environment)
    try:
        for line in ask(home.run, {"command": "stop"}):
            _show_progress(line, terminal)
    except NotRunning as error:
        terminal.show(str(error))
        return 0
    with (home.run / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
    terminal.show("Keyferry has stopped")
    return 0


def status(environment: Mapping[str, str], terminal: Terminal) -> int:
    """Show the processes of this home; return 3 if none is running."""
    try:
        _show_status(_fetch_status(Home.of(environment)), terminal)
    except NotRunning as error:
        terminal.show(str(error))
        return _NOT_RUNNING
    return 0


def restart(environment: Mapping[str, str], terminal: Terminal, service: str) -> int:
    """Restart one service without an interruption. Raises NotRunning and CommandFailed."""
    for line in ask(Home.of(environment).run, {"command": "restart", "service": service}):
        _show_progress(line, terminal)
    return 0


def _fetch_status(home: Home) -> Line:
    *_, last = ask(home.run, {"command": "status"}, _STATUS_SECONDS)
    return last


def _show_running(home: Home, pid: int, terminal: Terminal) -> int:
    try:
        running = _fetch_status(home)
    except (NotRunning, TimeoutError):
        terminal.show(f"another `make up` (pid {pid}) is starting or stopping in {home.path}; try again in a moment")
        return 1
    terminal.show(f"Keyferry is already running in {home.path}; `make down` stops it")
    _show_status(running, terminal)
    return 0


def _show_status(running: Line, terminal: Terminal) -> None:
    terminal.show(f"  API {running['http_url']}/v1, supervisor pid {running['pid']}")
    processes = running["processes"]
    assert isinstance(processes, list)
    for process in processes:
        assert isinstance(process, dict)
        restarts, since = process["restarts"], process["since"]
        terminal.show(
            f"  {process['name']:<20} {process['state']:<9} pid {process['pid']:<8} restarts {restarts:<4} since {since}"
        )


def _show_progress(line: Line, terminal: Terminal) -> None:
    if "progress" in line:
        terminal.log(str(line["progress"]))
