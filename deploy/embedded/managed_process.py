"""One supervised process, for example worker slot 2: started, restarted after a crash, replaced and stopped."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from deploy.embedded.backoff import RestartBackoff
from deploy.embedded.child import Child, Probe, describe_exit
from deploy.embedded.errors import StartFailed
from deploy.embedded.log_file import LogFile
from deploy.embedded.process import ProcessSpec

Log = Callable[[str], None]
"""Takes one line of progress for the operator."""


class RestartOrder(StrEnum):
    """Whether a restart starts the new process or stops the old one first."""

    START_FIRST = "start first"
    """The new process is ready before the old one drains: no interruption."""
    STOP_FIRST = "stop first"
    """The old process has exited before the new one starts: for one that owns a directory or a port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessConfig:
    """What to run and how to restart and stop it. `make_spec` is called again for every start."""

    service: str
    make_spec: Callable[[], ProcessSpec]
    slot: int = 1
    replicated: bool = False
    """Whether the slot is part of the displayed name."""
    probe: Probe | None = None
    after: tuple[str, ...] = ()
    """Services that must be ready before this one starts."""
    forced_stop_seconds: float = 0.0
    """Time for a clean shutdown even when the stop is forced: for servers that hold data."""
    restart_order: RestartOrder = RestartOrder.START_FIRST

    @property
    def name(self) -> str:
        """The service, followed by its slot if it is replicated."""
        return f"{self.service}-{self.slot}" if self.replicated else self.service


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessTimeouts:
    """How long to wait for readiness and for a drain, in seconds."""

    ready_seconds: float = 60.0
    drain_seconds: float = 30.0


class ManagedProcess:
    """Keeps one process running: restarts it with back-off after a crash and replaces it on request."""

    def __init__(
        self,
        config: ProcessConfig,
        *,
        log_dir: Path,
        notify_dir: Path,
        timeouts: ProcessTimeouts,
        log: Log,
        on_change: Callable[[], None],
    ) -> None:
        self.config = config
        self.name = config.name
        self.restarts = 0
        self.child: Child | None = None
        self.ready = asyncio.Event()
        self._output = LogFile(log_dir / f"{self.name}.log")
        self._notify_dir = notify_dir
        self._timeouts = timeouts
        self._drain_seconds = timeouts.drain_seconds
        self._log = log
        self._on_change = on_change
        self._starts = 0
        self._started_at = 0.0
        self._backoff = RestartBackoff()
        self._changing = asyncio.Lock()
        self._skip_delay = asyncio.Event()
        self._closing = False
        self._children: set[Child] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start the first process. Raises StartFailed, and then leaves nothing running."""
        async with self._changing:
            self._set_current(await self._launch())

    async def restart(self, log: Log) -> None:
        """Replace the process by a new one and report progress to `log`. Raises StartFailed if none becomes ready.

        With START_FIRST the old process then keeps running. With STOP_FIRST, and if the process was down already, starts are
        retried with back-off as after a crash; a delay in progress ends at once.
        """
        if not self.ready.is_set():
            await self._start_now(log)
            return
        async with self._changing:
            old = self.child
            if self.config.restart_order is RestartOrder.STOP_FIRST and old is not None:
                self.ready.clear()
                await self._stop_child(old, log)
                old = None
            log(f"{self.name}: starting the new process")
            try:
                successor = await self._launch()
            except StartFailed:
                if old is None:
                    self._spawn(self._recover(self.child))
                raise
            self.restarts += 1
            self._set_current(successor)
            log(f"{self.name}: pid {successor.pid} is ready")
            if old is not None:
                await self._stop_child(old, log)

    async def stop(self) -> None:
        """Stop the running process, which has `drain_seconds` to finish, and start no other."""
        self._closing = True
        self._skip_delay.set()
        await asyncio.gather(*(self._stop_child(child, self._log) for child in tuple(self._children)))
        await asyncio.gather(*self._tasks)
        self.ready.clear()
        self._output.close()

    def force_stop(self) -> None:
        """Stop waiting for a drain, whether it has begun or not."""
        self._drain_seconds = self.config.forced_stop_seconds
        if not self._drain_seconds:
            for child in self._children:
                if child.stop_requested:
                    child.kill()

    async def _launch(self) -> Child:
        """Start a process and wait until it is ready. Raises StartFailed after killing one that is not."""
        if self._closing:
            raise StartFailed(f"{self.name} is not started: the system is stopping")
        self._starts += 1
        self._started_at = time.monotonic()
        notify_path = self._notify_dir / f"{self.name}.{self._starts}"
        child = Child(self.config.make_spec(), self._output, self.config.probe, notify_path)
        if not self.ready.is_set():
            self.child = child
        await child.start()
        self._children.add(child)
        try:
            await child.wait_until_ready(self._timeouts.ready_seconds)
        except BaseException:  # a cancelled start must not leave a process behind either
            child.kill()
            await child.wait_for_exit()
            self._children.discard(child)
            raise
        return child

    def _set_current(self, child: Child) -> None:
        self.child = child
        self.ready.set()
        self._spawn(self._watch(child))
        self._on_change()

    async def _watch(self, child: Child) -> None:
        status = await child.wait_for_exit()
        self._children.discard(child)
        if self.child is child and not child.stop_requested:
            self.ready.clear()
            self._log(f"{self.name}: pid {child.pid} exited with {describe_exit(status)}")
            await self._recover(child)

    async def _recover(self, dead: Child | None) -> None:
        """Retry the start with back-off until it succeeds or another process has taken over."""
        async with self._changing:
            while self.child is dead and not self._closing:
                delay_seconds = self._backoff.delay_seconds(time.monotonic() - self._started_at)
                self._log(f"{self.name}: restarting in {delay_seconds:g} s")
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._skip_delay.wait(), delay_seconds)
                self._skip_delay.clear()
                try:
                    child = await self._launch()
                except StartFailed as error:
                    self._log(str(error).partition("\n")[0])
                    dead = self.child
                    continue
                self.restarts += 1
                self._set_current(child)
                self._log(f"{self.name}: pid {child.pid} is ready again")

    async def _start_now(self, log: Log) -> None:
        """Cut the back-off delay short and wait until the process is ready."""
        log(f"{self.name}: was down, starting it")
        self._skip_delay.set()
        try:
            await asyncio.wait_for(self.ready.wait(), self._timeouts.ready_seconds)
        except TimeoutError:
            raise StartFailed(f"{self.name} did not become ready; last output:\n{self._output.tail()}") from None
        log(f"{self.name}: is ready")

    async def _stop_child(self, child: Child, log: Log) -> None:
        log(f"{self.name}: pid {child.pid} drains")
        if not await child.stop(self._drain_seconds):
            log(f"{self.name}: pid {child.pid} was killed: still running after {self._drain_seconds:g} s")
        self._children.discard(child)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name=f"process {self.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
