"""One run of the system in the foreground."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Iterator, Mapping
from typing import cast

from deploy.embedded import preflight
from deploy.embedded.control import Command, CommandFailed, ControlServer, Line, Send
from deploy.embedded.errors import LaunchFailed, SettingsInvalid
from deploy.embedded.home import Home
from deploy.embedded.managed_process import ProcessTimeouts
from deploy.embedded.page_build import PageBuild, PageState
from deploy.embedded.secret_files import operator_token
from deploy.embedded.services import operator_settings
from deploy.embedded.sign_in_link import make_console_link
from deploy.embedded.supervisor import Supervisor
from deploy.embedded.system import Build, System
from deploy.embedded.terminal import Terminal
from keyferry.runtime.concurrency import cancel_and_wait
from keyferry.runtime.process.settings import SettingsError

_DEFAULT_DRAIN_SECONDS = 30.0
_KILL_MARGIN_SECONDS = 5.0
"""A service ends its own drain first; the kill is for one that hangs."""
_PAGE_NOTES = {
    PageState.BUILDING: "                 (its page is being built: opened now, it waits until that is done)\n",
    PageState.FAILED: "                 (without its page, which could not be built: `make page` tries again)\n",
}
_SAME_SIGNAL_SECONDS = 0.5
"""Process managers often signal a process and then its group: within this time that counts as one request."""


class Launch:
    """One run of the system, shown on `terminal`."""

    def __init__(self, home: Home, environment: Mapping[str, str], terminal: Terminal) -> None:
        self._home = home
        self._environment = environment
        self._terminal = terminal
        self._stop_requested = asyncio.Event()
        self._stopped = asyncio.Event()
        self._stop_requested_at_seconds = 0.0
        self._ready = False
        self._supervisor = Supervisor(
            log_dir=home.log,
            run_dir=home.run,
            timeouts=ProcessTimeouts(drain_seconds=_parse_drain_seconds(environment) + _KILL_MARGIN_SECONDS),
            log=terminal.log,
            on_change=self._refresh_state,
        )
        self._system = System(home, self._supervisor, environment, terminal.log)

    def check(self) -> None:
        """Check everything that can be checked before anything is started, and show notes. Raises the first failure."""
        preflight.check_home(self._home)
        preflight.check_services(self._home, self._system.addresses, self._system.environment)
        for note in preflight.find_ignored_settings(self._environment):
            self._terminal.show(note)

    async def run(self, build: Build) -> int:
        """Start, run and stop; return the exit status. Raises whatever prevented the start, after stopping everything again."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._request_stop)
        self._terminal.show(f"Starting Keyferry in {self._home.path}")
        commands: dict[str, Command] = {
            "status": self._on_status,
            "compare": self._on_compare,
            "restart": self._on_restart,
            "users": self._on_users,
            "console": self._on_console,
            "stop": self._on_stop,
        }
        page = PageBuild(self._environment, self._terminal.log, build.page_sources)
        async with ControlServer(self._home.run, commands):
            try:
                async with self._supervisor:
                    await self._run_until_stopped(self._start_and_wait(build, page))
            finally:
                await page.stop()
                self._system.remove_state()
                self._stopped.set()
        self._terminal.log("stopped")
        return 0

    async def _start_and_wait(self, build: Build, page: PageBuild) -> None:
        await page.begin()
        await self._system.start(build)
        following = asyncio.create_task(self._system.internal_users.run(), name="follow internal services")
        watching = asyncio.create_task(self._system.keep_nats_storing(), name="keep NATS storing")
        try:
            await self._system.settle_billing_demo()
            await self._system.run_smoke_test(build.smoke_test)
            self._ready = True
            self._show_welcome(page.state)
            await self._stop_requested.wait()
        finally:
            await cancel_and_wait(following)
            await cancel_and_wait(watching)

    async def _run_until_stopped(self, work: Awaitable[None]) -> None:
        """Run `work` until it ends or a stop is requested, even during startup."""
        working = asyncio.ensure_future(work)
        stopping = asyncio.create_task(self._stop_requested.wait())
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        self._ready = False
        for task in (working, stopping):
            task.cancel()
        results = await asyncio.gather(working, stopping, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]

    def _request_stop(self) -> None:
        now_seconds = asyncio.get_running_loop().time()
        if self._stop_requested.is_set():
            if now_seconds - self._stop_requested_at_seconds > _SAME_SIGNAL_SECONDS:
                self._supervisor.force_stop()
        else:
            self._stop_requested_at_seconds = now_seconds
            self._terminal.show("Stopping: requests in progress may finish; press Ctrl-C again to stop now")
            self._stop_requested.set()

    def _refresh_state(self) -> None:
        if self._ready:
            self._system.write_state()

    def _show_welcome(self, page: PageState) -> None:
        token_file = self._home.demo_token_file
        url = self._system.addresses.http_url
        self._terminal.headline("Keyferry is up")
        token = token_file.read_text().strip() if token_file.exists() else "none"
        link = make_console_link(self._home, self._system.addresses, self._environment)
        demo = self._system.billing_demo
        self._terminal.show(
            f"  console        {link.url}\n"
            f"                 ({link.explain()})\n"
            f"{_PAGE_NOTES.get(page, '')}"
            f"  API            {url}/v1\n"
            f"  client token   {token}\n"
            f"                 (demo tenant; also in {token_file})\n"
            f"  management     {self._system.addresses.console_url}/api/v1\n"
            f"                 (operator token in {operator_token(self._home)})\n"
            f"{demo.describe() if demo else ''}"
            f"  logs           {self._home.log}\n"
            "\nTry it:\n"
            f"  curl -N {url}/v1/chat/completions \\\n"
            f'    -H "Authorization: Bearer $(cat {token_file})" -H "Content-Type: application/json" \\\n'
            """    -d '{"model": "echo", "stream": true, "messages": [{"role": "user", "content": "Hello"}]}'\n"""
            "\nCtrl-C or `make down` stops it after requests in progress have finished."
        )

    async def _on_status(self, _: Line, __: Send) -> Line:
        processes = [cast(Line, process) for process in self._supervisor.status()]
        return {"pid": os.getpid(), "http_url": self._system.addresses.http_url, "processes": list(processes)}

    async def _on_compare(self, request: Line, _: Send) -> Line:
        wanted = request.get("settings")
        if not isinstance(wanted, dict):
            raise CommandFailed('compare needs {"settings": {NAME: VALUE}}')
        running = operator_settings(self._environment)
        return {"different": [*_compare(running, {name: str(value) for name, value in wanted.items()})]}

    async def _on_restart(self, request: Line, send: Send) -> Line:
        service = request.get("service")
        if not isinstance(service, str):
            raise CommandFailed('restart needs {"service": NAME}')

        def log(text: str) -> None:
            send({"progress": text})
            self._terminal.log(text)

        try:
            await self._supervisor.restart(service, log)
        except LaunchFailed as error:
            raise CommandFailed(str(error)) from None
        return {"restarted": service}

    async def _on_users(self, _: Line, __: Send) -> Line:
        try:
            return {"internal_services": await self._system.internal_users.apply()}
        except LaunchFailed as error:
            raise CommandFailed(str(error)) from None

    async def _on_console(self, _: Line, __: Send) -> Line:
        try:
            link = make_console_link(self._home, self._system.addresses, self._environment)
        except SettingsError as error:
            raise CommandFailed(str(error)) from None
        return {"url": link.url, "explanation": link.explain()}

    async def _on_stop(self, _: Line, send: Send) -> Line:
        send({"progress": "stopping: requests in progress may finish"})
        self._stop_requested.set()
        await self._stopped.wait()
        return {"stopped": True}


def _compare(running: Mapping[str, str], wanted: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each setting that differs, without the values, which may be secret."""
    for name in sorted(running.keys() | wanted.keys()):
        if name not in running:
            yield f"{name} is set here, and not for the running system"
        elif name not in wanted:
            yield f"{name} is set for the running system, and not here"
        elif running[name] != wanted[name]:
            yield f"{name} has another value here than for the running system"


def _parse_drain_seconds(environment: Mapping[str, str]) -> float:
    text = environment.get("KEYFERRY_DRAIN_SECONDS") or str(_DEFAULT_DRAIN_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise SettingsInvalid(f"KEYFERRY_DRAIN_SECONDS={text!r} is not a duration: use a number of seconds")
    return seconds
