"""The console's page is built while the system starts, in a process of its own; nothing waits for it, and it may fail."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum

from deploy.console_page.build import withdraw_if_stale
from deploy.console_page.errors import PageProblem
from deploy.console_page.sources import PageSources
from deploy.embedded.errors import SettingsInvalid
from deploy.embedded.managed_process import Log
from deploy.embedded.process import ProcessSpec
from deploy.embedded.services import ROOT
from keyferry.runtime.concurrency import cancel_and_wait

BUILD_PAGE = "KEYFERRY_BUILD_PAGE"
"""0 leaves the page as it is: for those who build it themselves, and for tests that need none."""
_STOP_SECONDS = 5.0


class PageState(StrEnum):
    """What has become of the page."""

    LEFT_ALONE = "left_alone"
    BUILDING = "building"
    READY = "ready"
    FAILED = "failed"


class PageBuild:
    """One build, if one is needed. `begin` comes before the console starts, so that it serves no page of other sources."""

    def __init__(self, environment: Mapping[str, str], log: Log, sources: PageSources | None = None) -> None:
        self._wanted = _parse_wanted(environment)
        self._environment = environment
        self._log = log
        self._sources = sources or PageSources()
        self._building: asyncio.Task[None] | None = None
        self.state = PageState.LEFT_ALONE

    async def begin(self) -> None:
        """Take a page of other sources away, and begin to build it anew."""
        if not self._wanted:
            return
        try:
            current = await asyncio.to_thread(withdraw_if_stale, self._sources)
        except PageProblem as problem:
            self._fail(str(problem))
            return
        self.state = PageState.READY if current else PageState.BUILDING
        if not current:
            self._building = asyncio.create_task(self._build(), name="build the console's page")

    async def stop(self) -> None:
        """Stop a build that has not finished."""
        if self._building is not None:
            await cancel_and_wait(self._building)

    async def _build(self) -> None:
        spec = ProcessSpec(
            name="console_page",
            argv=(
                sys.executable,
                "-m",
                "deploy.console_page",
                "build",
                "--background",
                *self._sources.arguments(),
            ),
            env=dict(self._environment),
            cwd=ROOT,
        )
        process = await asyncio.create_subprocess_exec(
            *spec.argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            **spec.arguments(),
        )
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            errors = asyncio.create_task(process.stderr.read())
            async for line in process.stdout:
                self._log(line.decode(errors="replace").rstrip())
            if await process.wait() == 0:
                self.state = PageState.READY
            else:
                self._fail((await errors).decode(errors="replace").strip())
        finally:
            await _end_group(process)

    def _fail(self, reason: str) -> None:
        self.state = PageState.FAILED
        self._log(f"{reason}\nThe console has no page until `make page` succeeds; everything else works without it")


async def _end_group(process: asyncio.subprocess.Process) -> None:
    """End a process and what it has started, if it still runs."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _STOP_SECONDS)


def _parse_wanted(environment: Mapping[str, str]) -> bool:
    text = environment.get(BUILD_PAGE) or "1"
    if text not in ("0", "1"):
        raise SettingsInvalid(f"{BUILD_PAGE}={text!r} is neither 0 nor 1")
    return text == "1"
