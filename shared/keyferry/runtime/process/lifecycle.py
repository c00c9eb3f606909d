"""The life cycle of every service: ordered start, readiness, ordered drain.

start   settings, logs, telemetry, bus, the service's own resources (views, database, HTTP), ready, queue groups
stop    not ready, leave the queue groups, finish running work, flush queues, close
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
from keyferry.runtime.bus.consumer_state import ConsumerState
from keyferry.runtime.bus.dispatch import ReceivedMessage
from keyferry.runtime.metrics.gauges import ProcessGauges
from keyferry.runtime.metrics.operations_port import OperationsPort
from keyferry.runtime.metrics.registry import EveryMetric, stop_counting
from keyferry.runtime.metrics.service_figures import register_figures
from keyferry.runtime.process import logs, notify
from keyferry.runtime.process.settings import CannotStart, ServiceSettings
from keyferry.runtime.tracing.storage import SpanStorage
from keyferry.runtime.tracing.telemetry import Telemetry
from keyferry.runtime.views import KvView

_log = logging.getLogger(__name__)

EXIT_CANNOT_START = 78
"""EX_CONFIG of sysexits.h: a restart will not help until the operator changes something."""
_READY_POLL_SECONDS = 0.02
_STILL_WAITING_AFTER_SECONDS = 5.0
_SUBSCRIBE_ANYWAY_SECONDS = 10.0
"""After this, a service that is not ready subscribes all the same, so that an operator can ask what it waits for."""

_COLLECT_AFTER_ALLOCATIONS = 20_000
"""Python's default is 700, meant for short programs; requests leave few cycles behind."""

Hook = Callable[[], Awaitable[object]]


class Service:
    """One process of one service. `app.py` configures it; `run` runs it."""

    def __init__(self, role: Role, settings: ServiceSettings) -> None:
        self.role = role
        self.settings = settings
        self.telemetry = Telemetry(role.value, options=settings.trace_options())
        self.bus = Bus(role, settings, self.telemetry)
        self._spans = SpanStorage(self.bus, self.telemetry)
        self.facts: Callable[[], dict[str, str]] = dict
        self.degraded: Callable[[], list[str]] = list
        """What an operator should attend to although requests are served: it does not make the process unready."""
        self._opens: list[Hook] = []
        self._leaves: list[Hook] = []
        self._drains: list[Hook] = []
        self._conditions: list[tuple[str, Callable[[], bool]]] = []
        self.draining = False
        """Whether the process is shutting down and only finishes running work."""
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
        self.metrics = ProcessGauges()
        """Figures that are read when somebody asks for them; counters and histograms are objects of the modules that count."""
        self._operations = OperationsPort(
            settings.metrics_host,
            settings.metrics_port,
            metrics=EveryMetric(self.metrics),
            waiting_for=self.waiting_for,
            draining=lambda: self.draining,
        )
        self._consumers = ConsumerState(lambda: self.bus.jetstream, lambda: self.bus.consumers)
        register_figures(self.metrics, self, self.bus, self._consumers)

    def opens(self, open_: Hook, close: Hook | None = None) -> None:
        """Open a resource once the bus is connected, before messages arrive; it is closed in reverse order, after the drain."""
        self._opens.append(open_)
        if close is not None:
            self.closes(close)

    def closes(self, close: Hook) -> None:
        """Close a resource after the drain, in reverse order of registration."""
        self._stack.push_async_callback(close)

    def leaves(self, hook: Hook) -> None:
        """Run `hook` first when draining: for servers outside the bus, which stop taking work and finish what they have."""
        self._leaves.append(hook)

    def drains(self, hook: Hook) -> None:
        """Run `hook` once no new work arrives and running work is finished: to flush queues."""
        self._drains.append(hook)

    def needs(self, what: str, holds: Callable[[], bool]) -> None:
        """Make the service ready only while `holds()` is true; `what` names the condition for a person."""
        self._conditions.append((what, holds))

    def needs_view(self, view: KvView[Any]) -> None:
        """Make the service ready only once it has a complete copy of `view`."""
        self.needs(f"a complete copy of the {view.bucket.name} view", lambda: view.ready)

    def waiting_for(self) -> list[str]:
        """Return descriptions of the conditions that do not hold now."""
        reasons = [] if self.bus.connected else [_name_bus(self.bus.obstacle)]
        return reasons + [what for what, holds in self._conditions if not holds()]

    def notes(self) -> list[str]:
        """Return what an operator should attend to now, in this service, its connection and its operations port."""
        of_bus = (text for alerts in self.bus.alerts for text in alerts())
        return [*self.degraded(), *of_bus, *self._operations.alerts()]

    @property
    def ready(self) -> bool:
        """Whether the process should receive requests."""
        return not self.draining and not self.waiting_for()

    # --- life cycle

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT. Raises the error that prevented the start."""
        await self.app.run()
        if self._failure is not None:
            raise self._failure

    def _guarded(self, step: Hook) -> Hook:
        async def guarded() -> None:
            if self._failure is not None or self.draining:
                return
            try:
                await step()
            except Exception as error:  # FastStream would log it and go on: stop, and let `run` raise it
                if self.draining:  # the bus closes under a start that goes on while the process was asked to stop
                    return
                self._failure = error
                self.app.exit()

        return guarded

    async def _open(self) -> None:
        await self._operations.start()
        await self.bus.connect()
        await self._spans.start()
        for open_ in self._opens:
            await open_()
        # Once subscribed, this process gets its share of the requests: give the views time to load first.
        with suppress(TimeoutError):
            async with asyncio.timeout(_SUBSCRIBE_ANYWAY_SECONDS):
                await self._until_ready()

    async def _subscribe(self) -> None:
        if self.settings.metrics_port:
            await self._consumers.start()
        await self.bus.start(self._until_ready)
        _freeze_loaded_objects()
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
        await self._consumers.stop()
        for hook in self._leaves:
            await hook()
        await self.bus.leave()
        if cut := await self.bus.finish(self.settings.drain_seconds):
            _log.warning("cancelled work that exceeded the drain time", extra={"tasks": cut})
        for hook in self._drains:
            await hook()
        await self._spans.stop()

    async def _close(self) -> None:
        await self._stack.aclose()
        await self._operations.stop()
        self.telemetry.close()
        _log.info("stopped")

    async def _on_ping(self, _: ReceivedMessage[Ping]) -> ServiceReport:
        return ServiceReport(
            service=self.role.value,
            slot=self.settings.slot,
            pid=os.getpid(),
            instance_id=self.bus.instance_id,
            version=version("keyferry"),
            ready=self.ready,
            waiting_for=self.waiting_for(),
            degraded=self.notes(),
            facts=self.facts(),
        )


def _name_bus(obstacle: str | None) -> str:
    return "the bus (NATS)" if obstacle is None else f"the bus (NATS): {obstacle}"


def _freeze_loaded_objects() -> None:
    """Exempt everything loaded so far from garbage collection: it stays, and each collection would walk it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER_ALLOCATIONS)


def main(role: Role, create_app: Callable[[], Service]) -> None:
    """Run a service as a process; exit 0 after a drain, EXIT_CANNOT_START with one message when it cannot start."""
    level = os.environ.get("KEYFERRY_LOG_LEVEL") or "INFO"
    # An unknown level is reported by the settings like every other invalid one, and that needs a log.
    logs.configure(role, level if level.upper() in logs.LEVELS else "INFO")

    async def run() -> None:
        service = create_app()
        if service.settings.metrics_port == 0:
            stop_counting()
        gc.freeze()  # what was imported stays: searching it for garbage takes a fifth as long as importing it
        gc.enable()  # `boot` had it off
        await service.run()

    try:
        uvloop.run(run())
    except CannotStart as error:
        _log.critical(str(error))
        sys.exit(EXIT_CANNOT_START)
    except (OSError, NatsError) as error:
        _log.critical("cannot start: %s", type(error).__name__)
        sys.exit(1)
