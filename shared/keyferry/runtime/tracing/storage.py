"""Stores the spans of kept traces on the bus, announces which traces are kept, and takes the announcements of others.

Messages are not acknowledged, and what cannot be sent waits within bounds: no work depends on a span.
"""

import asyncio
import logging
from collections import defaultdict

from nats.errors import Error as NatsError
from pydantic import ValidationError

from keyferry.contracts.text import clean
from keyferry.contracts.traces import (
    MAX_ATTRIBUTES,
    SPANS_RECORDED,
    TRACES_KEPT,
    SpanBatch,
    SpanEvent,
    SpanLink,
    SpanRecord,
    TracesKept,
)
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.dispatch import ReceivedMessage
from keyferry.runtime.tracing.context import parse
from keyferry.runtime.tracing.span import Span
from keyferry.runtime.tracing.telemetry import Telemetry

_log = logging.getLogger(__name__)

STORE_SECONDS = 0.25
"""How long spans and announcements are gathered. A trace is whole after twice as long: the others have to hear of it first."""
_SPANS_AT_ONCE = 100
_TRACES_A_MESSAGE = 1000
_MAX_NAME = 300
_MAX_LINKS = 128
_MAX_EVENTS = 64


class SpanStorage:
    """Stores a process's spans from time to time, while there are any."""

    def __init__(self, bus: Bus, telemetry: Telemetry) -> None:
        self._bus = bus
        self._telemetry = telemetry
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        bus.subscribe(TRACES_KEPT, self._on_kept)

    async def start(self) -> None:
        """Store what the process records from now on."""
        self._telemetry.on_work = self._schedule
        self._schedule()

    async def stop(self) -> None:
        """Store what there is, and nothing that comes later."""
        self._telemetry.on_work = lambda: None
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            await asyncio.wait({self._task})
        await self.store()

    async def store(self) -> None:
        """Publish the spans of kept traces, and announce those that this process found worth a look."""
        if not self._bus.connected:
            return
        telemetry = self._telemetry
        announced, spans = telemetry.take_announcements(), telemetry.take()
        try:
            for at in range(0, len(announced), _TRACES_A_MESSAGE):
                kept = TracesKept(trace_ids=announced[at : at + _TRACES_A_MESSAGE])
                await self._bus.client.publish(TRACES_KEPT.format(), kept.encode())
            while spans:
                await self._store(spans[:_SPANS_AT_ONCE])
                spans = spans[_SPANS_AT_ONCE:]
        except NatsError:
            telemetry.put_back(spans)

    # --- inside

    async def _store(self, spans: list[Span]) -> None:
        traces: defaultdict[str, list[SpanRecord]] = defaultdict(list)
        for span in spans:
            try:
                traces[span.trace_id].append(_record(span, self._bus.user, self._bus.instance_id))
            except ValidationError:
                self._telemetry.counts["dropped"] += 1
                _log.warning("a span does not fit its contract", extra={"span": clean(span.name, _MAX_NAME)})
        for trace_id, records in traces.items():
            subject = SPANS_RECORDED.format(trace=trace_id, service=self._bus.user)
            await self._bus.client.publish(subject, SpanBatch(spans=records).encode())
        if self._telemetry.exporter is not None:
            self._telemetry.exporter.export(spans)

    async def _on_kept(self, received: ReceivedMessage[TracesKept]) -> None:
        self._telemetry.on_kept(received.message.trace_ids)

    def _schedule(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(STORE_SECONDS, self._begin)

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._run(), name="store spans")

    async def _run(self) -> None:
        try:
            await self.store()
        finally:
            self._timer = None
            if self._telemetry.has_work:
                self._telemetry.on_work()


def _record(span: Span, service: str, instance_id: str) -> SpanRecord:
    """Return an ended span as it is stored. Raises ValidationError."""
    attributes = dict(list(span.named_attributes().items())[:MAX_ATTRIBUTES])
    return SpanRecord(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_span_id=span.parent_span_id,
        name=clean(span.name, _MAX_NAME),
        kind=span.kind,
        service=service,
        instance_id=instance_id,
        start_unix_ns=span.start_unix_ns,
        end_unix_ns=span.end_unix_ns,
        error=span.error,
        attributes=attributes,
        events=[SpanEvent(name=name, at_unix_ns=at) for name, at in (span.events or [])[:_MAX_EVENTS]],
        links=[
            SpanLink(trace_id=linked.trace_id, span_id=linked.span_id)
            for linked in map(parse, span.links[:_MAX_LINKS])
            if linked is not None
        ],
    )
