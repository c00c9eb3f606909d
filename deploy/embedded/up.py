"""`make up`: start everything, prove it, say where it is, stay until told to stop."""

import asyncio
import fcntl
from collections.abc import Mapping

import psycopg

from deploy.embedded.control import Line, NotRunning, ask
from deploy.embedded.failure import LaunchFailed
from deploy.embedded.home import AlreadyRunning, Home
from deploy.embedded.launch import Launch
from deploy.embedded.screen import Screen
from deploy.embedded.system import Build
from keyferry.runtime.database.schema_check import SchemaMismatch

_STATUS_SECONDS = 5.0
_NOT_RUNNING = 3
"""Exit status of `status` when nothing runs, as the Linux Standard Base has it for init scripts."""


def up(environment: Mapping[str, str], screen: Screen, build: Build | None = None) -> int:
    """Run the system in the foreground until SIGINT, SIGTERM, SIGHUP or `down`; the exit status.

    One system at a time runs in a home: when one does already, this only says so, with status 0.
    """
    home = Home.of(environment)
    home.prepare()
    try:
        with home.locked():
            return asyncio.run(Launch(home, environment, screen).live(build or Build()))
    except AlreadyRunning as other:
        return _show_running(home, other.pid, screen)
    except (LaunchFailed, SchemaMismatch, psycopg.Error, OSError) as error:
        screen.show(f"\nKeyferry did not start. {error}\nNothing is left running; logs are in {home.log}")
        return 1


def down(environment: Mapping[str, str], screen: Screen) -> int:
    """Stop the system that runs in this home and wait for its end; 0 also when none runs."""
    home = Home.of(environment)
    try:
        for line in ask(home.run, {"command": "stop"}):
            _show_progress(line, screen)
    except NotRunning as nothing:
        screen.show(str(nothing))
        return 0
    with (home.run / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
    screen.show("Keyferry has stopped")
    return 0


def status(environment: Mapping[str, str], screen: Screen) -> int:
    """Show what runs in this home; 3 when nothing does."""
    try:
        _show_status(_status(Home.of(environment)), screen)
    except NotRunning as nothing:
        screen.show(str(nothing))
        return _NOT_RUNNING
    return 0


def restart(environment: Mapping[str, str], screen: Screen, service: str) -> int:
    """Restart one service of the running system without an interruption. Raises NotRunning and CommandFailed."""
    for line in ask(Home.of(environment).run, {"command": "restart", "service": service}):
        _show_progress(line, screen)
    return 0


def _status(home: Home) -> Line:
    *_, last = ask(home.run, {"command": "status"}, _STATUS_SECONDS)
    return last


def _show_running(home: Home, pid: int, screen: Screen) -> int:
    try:
        running = _status(home)
    except (NotRunning, TimeoutError):
        screen.show(f"Another `make up` (pid {pid}) is just starting or stopping in {home.path}: try again in a moment")
        return 1
    screen.show(f"Keyferry runs already in {home.path}; `make down` stops it")
    _show_status(running, screen)
    return 0


def _show_status(running: Line, screen: Screen) -> None:
    screen.show(f"  API {running['http_url']}/v1, supervisor pid {running['pid']}")
    seats = running["processes"]
    assert isinstance(seats, list)
    for seat in seats:
        assert isinstance(seat, dict)
        screen.show(
            f"  {seat['name']:<20} {seat['state']:<9} pid {seat['pid']:<8} restarts {seat['restarts']:<4} since {seat['since']}"
        )


def _show_progress(line: Line, screen: Screen) -> None:
    if "progress" in line:
        screen.step(str(line["progress"]))
