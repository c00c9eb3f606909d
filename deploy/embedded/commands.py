"""The launcher's commands: up, down, status, console and restart."""

import asyncio
import os
import signal
from collections.abc import Mapping

from deploy.embedded import services
from deploy.embedded.control import CommandFailed, Line, NotRunning, ask
from deploy.embedded.errors import DEBUG_VARIABLE, describe
from deploy.embedded.home import Home
from deploy.embedded.launch import Launch
from deploy.embedded.system import Build
from deploy.embedded.terminal import Terminal
from keyferry.runtime.process import home_lock
from keyferry.runtime.process.home_lock import HomeLocked

_STATUS_SECONDS = 5.0
_NOT_RUNNING = 3
"""Exit status of `status` when nothing is running, as the Linux Standard Base defines for init scripts."""


def up(environment: Mapping[str, str], terminal: Terminal, build: Build | None = None) -> int:
    """Run the system in the foreground until SIGINT, SIGTERM, SIGHUP or `down`; return the exit status.

    Only one system runs in a home directory: if one does already, show it. The exit status is then 0 if it has the settings of
    `environment`, and 1 otherwise.
    """
    home = Home.of(environment)
    try:
        home.prepare()
        with home.lock():
            return _launch(home, environment, terminal, build or Build())
    except HomeLocked as locked:
        return _show_running(home, locked.pid, environment, terminal)
    except Exception as error:  # the outermost edge: people get a message and a remedy, never a traceback
        if environment.get(DEBUG_VARIABLE):
            raise
        logs = f"; logs:  {home.log}" if home.log.is_dir() else ""
        terminal.show(f"\nKeyferry did not start. {describe(error)}\nNothing is left running{logs}")
        return 1


def down(environment: Mapping[str, str], terminal: Terminal) -> int:
    """Stop the system of this home and wait until it has exited; return 0 also if none is running."""
    home = Home.of(environment)
    try:
        for line in ask(home.run, {"command": "stop"}):
            _show_progress(line, terminal)
    except NotRunning as error:
        pid = home_lock.find_holder(home.path)
        if pid is None:
            terminal.show(str(error))
            return 0
        _signal(home, pid)
        terminal.log(f"its control socket does not answer: asked process {pid} to stop")
    home_lock.wait_for_release(home.path)
    terminal.show("Keyferry has stopped")
    return 0


def status(environment: Mapping[str, str], terminal: Terminal) -> int:
    """Show the processes of this home; return 3 if none is running, and 1 if the system that runs does not answer."""
    home = Home.of(environment)
    try:
        _show_status(_fetch_status(home), terminal)
    except NotRunning as error:
        pid = home_lock.find_holder(home.path)
        terminal.show(str(error) if pid is None else _describe_unreachable(home, pid))
        return _NOT_RUNNING if pid is None else 1
    return 0


def restart(environment: Mapping[str, str], terminal: Terminal, service: str) -> int:
    """Restart one service without an interruption. Raises NotRunning and CommandFailed."""
    home = Home.of(environment)
    try:
        for line in ask(home.run, {"command": "restart", "service": service}):
            _show_progress(line, terminal)
    except NotRunning:
        pid = home_lock.find_holder(home.path)
        if pid is None:
            raise
        raise CommandFailed(_describe_unreachable(home, pid)) from None
    return 0


def console(environment: Mapping[str, str], terminal: Terminal) -> int:
    """Show a new link to the console of the running system. Raises NotRunning and CommandFailed."""
    *_, link = ask(Home.of(environment).run, {"command": "console"}, _STATUS_SECONDS)
    terminal.show(f"{link['url']}\n({link['explanation']})")
    return 0


def _launch(home: Home, environment: Mapping[str, str], terminal: Terminal, build: Build) -> int:
    launch = Launch(home, environment, terminal)
    launch.check()
    return asyncio.run(launch.run(build))


def _fetch_status(home: Home) -> Line:
    *_, last = ask(home.run, {"command": "status"}, _STATUS_SECONDS)
    return last


def _show_running(home: Home, pid: int, environment: Mapping[str, str], terminal: Terminal) -> int:
    settings: Line = {**services.operator_settings(environment)}
    try:
        running = _fetch_status(home)
        *_, compared = ask(home.run, {"command": "compare", "settings": settings}, _STATUS_SECONDS)
    except NotRunning:
        terminal.show(_describe_unreachable(home, pid))
        return 1
    terminal.show(f"Keyferry is already running in {home.path}; `make down` stops it")
    _show_status(running, terminal)
    different = compared["different"]
    assert isinstance(different, list)
    if different:
        terminal.show(
            "It runs with other settings than these, which have no effect now:\n"
            + "\n".join(f"  {line}" for line in different)
            + "\nTo apply the settings of this command: `make down`, then the same command again"
        )
    return 1 if different else 0


def _describe_unreachable(home: Home, pid: int) -> str:
    return (
        f"Keyferry runs in {home.path} (process {pid or 'unknown'}), but does not answer at its control socket: it is starting or"
        f" stopping, or {home.run} was removed. If this lasts, `make down` stops it, and `make up` starts it again"
    )


def _signal(home: Home, pid: int) -> None:
    """Ask the process that holds the lock to stop. Raises CommandFailed."""
    if pid == home_lock.UNKNOWN_PID:
        raise CommandFailed(
            f"a process holds {home.path / home_lock.LOCK_NAME}, but its number is not in that file:"
            f" find it with `fuser {home.path / home_lock.LOCK_NAME}` and stop it"
        )
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError:
        raise CommandFailed(f"process {pid} belongs to another user: run this as that user") from None


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
