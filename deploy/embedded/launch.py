"""One life of the system in the foreground."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Mapping
from typing import cast

from deploy.embedded.control import Command, CommandFailed, ControlServer, Line, Tell
from deploy.embedded.failure import LaunchFailed
from deploy.embedded.home import Home
from deploy.embedded.screen import Screen
from deploy.embedded.seat import Patience
from deploy.embedded.secret_files import operator_token
from deploy.embedded.supervisor import Supervisor
from deploy.embedded.system import Build, SettingsInvalid, System

_DEFAULT_DRAIN_SECONDS = 30.0
_KILL_MARGIN_SECONDS = 5.0
"""A service ends its own draining first; the kill is for one that hangs."""
_SAME_SIGNAL_SECONDS = 0.5
"""Programs that stop others often signal a process and then its group: that is no second, impatient request."""


class Launch:
    """One life of the system, told to `screen`."""

    def __init__(self, home: Home, environment: Mapping[str, str], screen: Screen) -> None:
        self._home = home
        self._environment = environment
        self._screen = screen
        self._stop = asyncio.Event()
        self._stopped = asyncio.Event()
        self._told_at_seconds = 0.0
        self._proven = False
        self._supervisor = Supervisor(
            log_dir=home.log,
            run_dir=home.run,
            patience=Patience(drain_seconds=_drain_seconds(environment) + _KILL_MARGIN_SECONDS),
            say=screen.step,
            changed=self._refresh,
        )
        self._system = System(home, self._supervisor, environment, screen.step)

    async def live(self, build: Build) -> int:
        """Start, run, stop; the exit status. Raises what kept the system from starting, once all is stopped again."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._told_to_stop)
        self._screen.show(f"Keyferry starts in {self._home.path}")
        commands: dict[str, Command] = {
            "status": self._on_status,
            "restart": self._on_restart,
            "stop": self._on_stop,
        }
        async with ControlServer(self._home.run, commands):
            try:
                async with self._supervisor:
                    await self._until_told(self._bring_up(build))
            finally:
                self._system.forget()
                self._stopped.set()
        self._screen.step("stopped")
        return 0

    async def _bring_up(self, build: Build) -> None:
        await self._system.start(build)
        await self._system.prove(build.proof)
        self._proven = True
        self._welcome()
        await self._stop.wait()

    async def _until_told(self, work: Awaitable[None]) -> None:
        """Do `work` until it ends or somebody wants a stop, also in the middle of a start."""
        working = asyncio.ensure_future(work)
        told = asyncio.create_task(self._stop.wait())
        await asyncio.wait({working, told}, return_when=asyncio.FIRST_COMPLETED)
        self._proven = False
        for task in (working, told):
            task.cancel()
        results = await asyncio.gather(working, told, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]

    def _told_to_stop(self) -> None:
        now_seconds = asyncio.get_running_loop().time()
        if self._stop.is_set():
            if now_seconds - self._told_at_seconds > _SAME_SIGNAL_SECONDS:
                self._supervisor.cut()
        else:
            self._told_at_seconds = now_seconds
            self._screen.show("Stopping: work under way may finish, another Ctrl-C cuts it off")
            self._stop.set()

    def _refresh(self) -> None:
        if self._proven:
            self._system.write_state()

    def _welcome(self) -> None:
        token_file = self._home.demo_token_file
        url = self._system.addresses.http_url
        self._screen.headline("Keyferry is up")
        token = token_file.read_text().strip() if token_file.exists() else "none was made"
        self._screen.show(
            f"  API            {url}/v1\n"
            f"  client token   {token}\n"
            f"                 (demo tenant; also in {token_file})\n"
            f"  management     {self._system.addresses.console_url}/api/v1\n"
            f"                 (operator token in {operator_token(self._home)})\n"
            f"  logs           {self._home.log}\n"
            "\nTry it:\n"
            f"  curl -N {url}/v1/chat/completions \\\n"
            f'    -H "Authorization: Bearer $(cat {token_file})" -H "Content-Type: application/json" \\\n'
            """    -d '{"model": "echo", "stream": true, "messages": [{"role": "user", "content": "Hello"}]}'\n"""
            "\nCtrl-C or `make down` stops it, and lets work under way finish."
        )

    async def _on_status(self, _: Line, __: Tell) -> Line:
        seats = [cast(Line, seat) for seat in self._supervisor.status()]
        return {"pid": os.getpid(), "http_url": self._system.addresses.http_url, "processes": list(seats)}

    async def _on_restart(self, request: Line, tell: Tell) -> Line:
        service = request.get("service")
        if not isinstance(service, str):
            raise CommandFailed('restart needs {"service": NAME}')

        def say(text: str) -> None:
            tell({"progress": text})
            self._screen.step(text)

        try:
            await self._supervisor.restart(service, say)
        except LaunchFailed as error:
            raise CommandFailed(str(error)) from None
        return {"restarted": service}

    async def _on_stop(self, _: Line, tell: Tell) -> Line:
        tell({"progress": "stopping: work under way may finish"})
        self._stop.set()
        await self._stopped.wait()
        return {"stopped": True}


def _drain_seconds(environment: Mapping[str, str]) -> float:
    text = environment.get("KEYFERRY_DRAIN_SECONDS") or str(_DEFAULT_DRAIN_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise SettingsInvalid(f"KEYFERRY_DRAIN_SECONDS={text!r} is no time: use a number of seconds")
    return seconds
