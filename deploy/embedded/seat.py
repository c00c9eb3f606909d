"""One place in the system, for example slot 2 of the workers: which process sits in it, and its successors."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from deploy.embedded.backoff import RestartBackoff
from deploy.embedded.child import Child, Probe, StartFailed, described
from deploy.embedded.logfile import LogFile
from deploy.embedded.process import ProcessSpec

Say = Callable[[str], None]
"""Takes a line of progress for a person."""


class Handover(StrEnum):
    """How a restart passes from one process to the next."""

    SUCCESSOR_FIRST = "successor first"
    """The next one is ready before the old one drains: nobody notices."""
    DRAIN_FIRST = "drain first"
    """The old one is gone before the next one starts: for a process that owns its slot's directory or port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What a seat holds. `specify` is asked anew for every start."""

    service: str
    specify: Callable[[], ProcessSpec]
    slot: int = 1
    replicated: bool = False
    """Whether the slot is part of the name that people see."""
    probe: Probe | None = None
    after: tuple[str, ...] = ()
    """Services that must be ready before this one starts."""
    cut_seconds: float = 0.0
    """How long it may take to stop cleanly even when a stop is cut short: for servers that hold data."""
    handover: Handover = Handover.SUCCESSOR_FIRST

    @property
    def name(self) -> str:
        """The service, with its slot where there are several."""
        return f"{self.service}-{self.slot}" if self.replicated else self.service


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for what, in seconds."""

    ready_seconds: float = 60.0
    drain_seconds: float = 30.0


class Seat:
    """Keeps one process alive: what crashes is started again after a pause; what is restarted hands over."""

    def __init__(
        self,
        placement: Placement,
        *,
        log_dir: Path,
        notify_dir: Path,
        patience: Patience,
        say: Say,
        changed: Callable[[], None],
    ) -> None:
        self.placement = placement
        self.name = placement.name
        self.restarts = 0
        self.child: Child | None = None
        self.ready = asyncio.Event()
        self._log = LogFile(log_dir / f"{self.name}.log")
        self._notify_dir = notify_dir
        self._patience = patience
        self._drain_seconds = patience.drain_seconds
        self._say = say
        self._changed = changed
        self._starts = 0
        self._started_at = 0.0
        self._backoff = RestartBackoff()
        self._changing = asyncio.Lock()
        self._impatient = asyncio.Event()
        self._closing = False
        self._living: set[Child] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Start the first process. Raises StartFailed; nothing is left running then."""
        async with self._changing:
            self._take(await self._launch())

    async def replace(self, say: Say) -> None:
        """Hand over to a new process, telling `say` how it goes. Raises StartFailed when none becomes ready.

        Successor first, the old process then stays. Drain first, the seat keeps trying as after a crash, and so does a seat
        whose process was down already: its pause is cut short.
        """
        if not self.ready.is_set():
            await self._hurry(say)
            return
        async with self._changing:
            old = self.child
            if self.placement.handover is Handover.DRAIN_FIRST and old is not None:
                self.ready.clear()
                await self._dismiss(old, say)
                old = None
            say(f"{self.name}: starting the next process")
            try:
                successor = await self._launch()
            except StartFailed:
                if old is None:
                    self._spawn(self._recover(self.child))
                raise
            self.restarts += 1
            self._take(successor)
            say(f"{self.name}: pid {successor.pid} is ready")
            if old is not None:
                await self._dismiss(old, say)

    async def close(self) -> None:
        """Stop what runs and start nothing more; it has `drain_seconds` to finish."""
        self._closing = True
        self._impatient.set()
        await asyncio.gather(*(self._dismiss(child, self._say) for child in tuple(self._living)))
        await asyncio.gather(*self._tasks)
        self.ready.clear()
        self._log.close()

    def cut(self) -> None:
        """Wait no longer for a drain that has begun, nor for one to come."""
        self._drain_seconds = self.placement.cut_seconds
        if not self._drain_seconds:
            for child in self._living:
                if child.dismissed:
                    child.kill()

    async def _launch(self) -> Child:
        """A new process that is ready. Raises StartFailed after having killed what was not."""
        if self._closing:
            raise StartFailed(f"{self.name} is not started: the system stops")
        self._starts += 1
        self._started_at = time.monotonic()
        notify_path = self._notify_dir / f"{self.name}.{self._starts}"
        child = Child(self.placement.specify(), self._log, self.placement.probe, notify_path)
        if not self.ready.is_set():
            self.child = child
        await child.start()
        self._living.add(child)
        try:
            await child.until_ready(self._patience.ready_seconds)
        except BaseException:  # a cancelled start, too, must leave no process behind
            child.kill()
            await child.until_gone()
            self._living.discard(child)
            raise
        return child

    def _take(self, child: Child) -> None:
        self.child = child
        self.ready.set()
        self._spawn(self._watch(child))
        self._changed()

    async def _watch(self, child: Child) -> None:
        status = await child.until_gone()
        self._living.discard(child)
        if self.child is child and not child.dismissed:
            self.ready.clear()
            self._say(f"{self.name}: pid {child.pid} ended with {described(status)}")
            await self._recover(child)

    async def _recover(self, dead: Child | None) -> None:
        """Start again and again, ever more slowly, unless the seat has been taken meanwhile."""
        async with self._changing:
            while self.child is dead and not self._closing:
                pause_seconds = self._backoff.delay_seconds(time.monotonic() - self._started_at)
                self._say(f"{self.name}: starting again in {pause_seconds:g} s")
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._impatient.wait(), pause_seconds)
                self._impatient.clear()
                try:
                    child = await self._launch()
                except StartFailed as error:
                    self._say(str(error).partition("\n")[0])
                    dead = self.child
                    continue
                self.restarts += 1
                self._take(child)
                self._say(f"{self.name}: pid {child.pid} is ready again")

    async def _hurry(self, say: Say) -> None:
        say(f"{self.name}: was down, starting it")
        self._impatient.set()
        try:
            await asyncio.wait_for(self.ready.wait(), self._patience.ready_seconds)
        except TimeoutError:
            raise StartFailed(f"{self.name} does not become ready; it said:\n{self._log.tail()}") from None
        say(f"{self.name}: is ready")

    async def _dismiss(self, child: Child, say: Say) -> None:
        say(f"{self.name}: pid {child.pid} drains")
        if not await child.stop(self._drain_seconds):
            say(f"{self.name}: pid {child.pid} was killed, as it still ran after {self._drain_seconds:g} s")
        self._living.discard(child)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name=f"seat {self.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
