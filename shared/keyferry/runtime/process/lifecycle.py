"""One life for every service: start in order, say when ready, drain in order.

start   settings, logs, trace, bus, what the service opens (views, database, HTTP), ready, a share of the work
stop    not ready, leave the queue groups, finish what runs, flush what is queued, close
"""

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from importlib.metadata import version
from typing import Any

import uvloop
from faststream import FastStream
from nats.errors import Error as NatsError

from keyferry.contracts.service import Ping, ServiceReport
from keyferry.contracts.topology import SERVICE_PING, Role
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.dispatch import Received
from keyferry.runtime.process import logs, notify
from keyferry.runtime.process.settings import CannotStart, ServiceSettings
from keyferry.runtime.process.telemetry import Telemetry
from keyferry.runtime.views import KvView

_log = logging.getLogger(__name__)

EXIT_CANNOT_START = 78
"""EX_CONFIG of sysexits.h: starting again will not help until somebody changes something."""
_READY_POLL_SECONDS = 0.02
_STILL_WAITING_AFTER_SECONDS = 5.0
_SUBSCRIBE_ANYWAY_SECONDS = 10.0
"""Then a service that is not ready can at least be asked by an operator what it waits for."""

_COLLECT_AFTER_ALLOCATIONS = 20_000
"""Python's own figure is 700, made for short programs; requests leave few cycles behind."""

Hook = Callable[[], Awaitable[object]]


class Service:
    """One process of one service. `app.py` fills it; `run` lives it."""

    def __init__(self, role: Role, settings: ServiceSettings) -> None:
        self.role = role
        self.settings = settings
        self.bus = Bus(role, settings)
        self.telemetry = Telemetry(role.value)
        self.facts: Callable[[], dict[str, str]] = dict
        self._opens: list[Hook] = []
        self._leaves: list[Hook] = []
        self._drains: list[Hook] = []
        self._conditions: list[tuple[str, Callable[[], bool]]] = []
        self.draining = False
        """Whether the process is on its way out: it finishes what it has."""
        self._failure: Exception | None = None
        self._stack = AsyncExitStack()
        self.app = FastStream(
            self.bus.broker,
            on_startup=[self._guarded(self._open)],
            after_startup=[self._guarded(self._subscribe)],
            on_shutdown=[self._drain],
            after_shutdown=[self._close],
            logger=None,
        )
        self.bus.subscribe(SERVICE_PING, self._on_ping)

    def opens(self, open_: Hook, close: Hook | None = None) -> None:
        """Open something once the bus is connected, before messages come; closed in reverse order, after draining."""
        self._opens.append(open_)
        if close is not None:
            self.closes(close)

    def closes(self, close: Hook) -> None:
        """Close something after draining, in the reverse of the order in which this was called."""
        self._stack.push_async_callback(close)

    def leaves(self, hook: Hook) -> None:
        """Run `hook` first of all when draining: a door that is not on the bus stops taking work, and finishes what it has."""
        self._leaves.append(hook)

    def drains(self, hook: Hook) -> None:
        """Run `hook` when no new work comes any more and what ran is finished: to flush what is queued."""
        self._drains.append(hook)

    def needs(self, what: str, holds: Callable[[], bool]) -> None:
        """The service is ready only while `holds()`; `what` is what a person reads while it does not."""
        self._conditions.append((what, holds))

    def needs_view(self, view: KvView[Any]) -> None:
        """The service is ready only once it has a whole copy of `view`."""
        self.needs(f"a whole copy of the {view.bucket.name} view", lambda: view.ready)

    def waiting_for(self) -> list[str]:
        """What the service cannot work without and does not have now, in words."""
        reasons = [] if self.bus.connected else ["the bus (NATS)"]
        return reasons + [what for what, holds in self._conditions if not holds()]

    @property
    def ready(self) -> bool:
        """Whether requests should come here."""
        return not self.draining and not self.waiting_for()

    # --- life

    async def run(self) -> None:
        """Live until SIGTERM or SIGINT. Raises what kept the service from starting."""
        await self.app.run()
        if self._failure is not None:
            raise self._failure

    def _guarded(self, step: Hook) -> Hook:
        async def guarded() -> None:
            if self._failure is not None:
                return
            try:
                await step()
            except Exception as error:  # the framework would log it and go on: stop, and let `run` raise it
                self._failure = error
                self.app.exit()

        return guarded

    async def _open(self) -> None:
        await self.bus.connect()
        for open_ in self._opens:
            await open_()
        # Once subscribed, this process gets its share of the questions: it should know the answers, if that takes no age.
        with suppress(TimeoutError):
            async with asyncio.timeout(_SUBSCRIBE_ANYWAY_SECONDS):
                await self._until_ready()

    async def _subscribe(self) -> None:
        await self.bus.start(self._until_ready)
        _spare_the_collector()
        notify.ready()
        _log.info("ready", extra={"slot": self.settings.slot, "instance_id": self.bus.instance_id})

    async def _until_ready(self) -> None:
        waited = 0.0
        while not self.ready:
            await asyncio.sleep(_READY_POLL_SECONDS)
            waited += _READY_POLL_SECONDS
            if waited >= _STILL_WAITING_AFTER_SECONDS:
                _log.warning("not ready", extra={"waiting_for": self.waiting_for()})
                waited = 0.0

    async def _drain(self) -> None:
        self.draining = True
        notify.stopping()
        _log.info("draining", extra={"in_flight": self.bus.in_flight})
        for hook in self._leaves:
            await hook()
        await self.bus.leave()
        if cut := await self.bus.finish(self.settings.drain_seconds):
            _log.warning("work was cut off by the drain limit", extra={"pieces": cut})
        for hook in self._drains:
            await hook()

    async def _close(self) -> None:
        await self._stack.aclose()
        self.telemetry.close()
        _log.info("stopped")

    async def _on_ping(self, _: Received[Ping]) -> ServiceReport:
        return ServiceReport(
            service=self.role.value,
            slot=self.settings.slot,
            pid=os.getpid(),
            instance_id=self.bus.instance_id,
            version=version("keyferry"),
            ready=self.ready,
            waiting_for=self.waiting_for(),
            facts=self.facts(),
        )


def _spare_the_collector() -> None:
    """What was loaded at start stays: the cyclic collector need not walk it again and again on the hot path."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER_ALLOCATIONS)


def main(role: Role, create_app: Callable[[], Service]) -> None:
    """Run a service as a process: exit 0 after a drain, EXIT_CANNOT_START with one plain message when it cannot start."""
    logs.configure(role, os.environ.get("KEYFERRY_LOG_LEVEL", "INFO"))

    async def live() -> None:
        service = create_app()
        gc.enable()  # `boot` had it off while everything was imported
        await service.run()

    try:
        uvloop.run(live())
    except CannotStart as error:
        _log.critical(str(error))
        sys.exit(EXIT_CANNOT_START)
    except (OSError, NatsError) as error:
        _log.critical("cannot start: %s", type(error).__name__)
        sys.exit(1)
