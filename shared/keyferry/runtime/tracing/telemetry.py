"""The spans of one process: started by its handlers, held in memory, stored for the traces that are kept.

Most requests are of no interest to anybody, but which ones were is known only at their end, and by then their spans have ended in
several processes. So each process holds its last spans in memory, and stores those of a trace that was sampled at its start, or
that some process says is worth a look (`TRACES_KEPT`). An OpenTelemetry SDK span costs ten times as much as one of these.
"""

import os
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from keyferry.contracts.traces import SpanKind
from keyferry.runtime.tracing.context import TraceContext, parse
from keyferry.runtime.tracing.sampling import KeepBudget, KeepReason, KeptTraces, TraceOptions, keep_reason
from keyferry.runtime.tracing.span import Attribute, Span

if TYPE_CHECKING:
    from keyferry.runtime.tracing.otlp import OtlpExporter

_COLLECTORS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_MAX_PENDING = 8192
"""Spans of kept traces that wait to be stored; while the bus is away, the oldest are dropped."""


class Telemetry:
    """The recorder of one process."""

    def __init__(
        self,
        service: str,
        environment: Mapping[str, str] = os.environ,
        options: TraceOptions = TraceOptions(),  # noqa: B008 - frozen
    ) -> None:
        self.options = options
        self.exporter = _create_exporter(service, environment)
        self.counts: Counter[str] = Counter()
        """Traces kept by their reasons, those that the budget left out (`over_budget`), and spans that were lost (`dropped`)."""
        self.on_work: Callable[[], None] = lambda: None
        """Called when there is something to store or to announce."""
        self.records = options.buffer_spans > 0
        """Whether spans are recorded at all."""
        self._random = random.Random()
        self._recent: deque[Span] = deque(maxlen=options.buffer_spans)
        self._pending: deque[Span] = deque()
        self._kept = KeptTraces()
        self._budget = KeepBudget(options.max_per_second, time.monotonic())
        self._announced: list[str] = []
        self._newly_kept: set[str] = set()

    def start(
        self,
        name: str,
        parent: str | None = None,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        start_unix_ns: int | None = None,
        from_outside: bool = False,
        span_id: str | None = None,
    ) -> Span:
        """Start a span under `parent` (a traceparent), or a new trace where there is none.

        The sampled flag of a parent `from_outside` counts against the budget, and is cleared where that is used up.
        """
        context = parse(parent)
        if context is None:
            trace_id, parent_id, sampled = f"{self._random.getrandbits(128) or 1:032x}", None, self._sample()
        else:
            trace_id, parent_id, sampled = context
            if not self.records:
                return self._pass_on(context, parent)
            if from_outside and sampled:
                sampled = self._may_keep(KeepReason.CALLER)
        return Span(
            self if self.records else None,
            name,
            kind,
            trace_id,
            span_id or f"{self._random.getrandbits(64) or 1:016x}",
            parent_id,
            sampled,
            start_unix_ns or time.time_ns(),
        )

    def record(
        self,
        name: str,
        parent: str | None,
        start_unix_ns: int,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        **attributes: Attribute,
    ) -> None:
        """Record an operation that ends now, under `parent`."""
        span = self.start(name, parent, kind=kind, start_unix_ns=start_unix_ns)
        span.attributes = attributes
        span.end()

    @contextmanager
    def span(self, name: str, parent: str | None = None, *, kind: SpanKind = SpanKind.INTERNAL) -> Iterator[Span]:
        """Wrap a block in a span; an exception that leaves the block marks it as failed by its type's name."""
        span = self.start(name, parent, kind=kind)
        try:
            yield span
        except BaseException as error:  # passed on: the span only records it
            span.fail(type(error).__name__)
            raise
        finally:
            span.end()

    def finish(self, span: Span) -> None:
        """End the span of a request or an attempt, and keep its trace if it failed, was cancelled or was slow."""
        span.end()
        reason = keep_reason(span.error, span.seconds, self.options.slow_seconds)
        if reason is not None:
            span.keep(reason)

    # --- the owner of spans

    def end(self, span: Span) -> None:
        """Queue an ended span of a kept trace; hold any other, in place of the oldest one held."""
        if span.sampled or span.trace_id in self._kept:
            self._queue(span)
        else:
            self._recent.append(span)

    def keep(self, span: Span, reason: KeepReason) -> None:
        """Announce that a trace is worth a look, unless it is kept already or too many are."""
        if span.sampled or span.trace_id in self._newly_kept:
            return
        if span.trace_id in self._kept:
            self._kept.add(span.trace_id, time.monotonic())
        elif not self._may_keep(reason):
            return
        self._announced.append(span.trace_id)
        self.on_kept([span.trace_id])

    # --- storage

    @property
    def has_work(self) -> bool:
        """Whether there is something to store or to announce."""
        return bool(self._pending or self._newly_kept or self._announced)

    def on_kept(self, trace_ids: list[str]) -> None:
        """Store the spans of these traces: those that are held, and those that end within `KEPT_SECONDS`."""
        now = time.monotonic()
        self._newly_kept.update(trace_id for trace_id in trace_ids if self._kept.add(trace_id, now))
        if self._newly_kept:
            self.on_work()

    def take(self) -> list[Span]:
        """Return the spans to store now; they are not returned again."""
        if self._newly_kept:
            wanted, self._newly_kept = self._newly_kept, set()
            held = [span for span in self._recent if span.trace_id in wanted]
            if held:
                self._recent = deque(
                    (span for span in self._recent if span.trace_id not in wanted), self._recent.maxlen
                )
                self._pending.extend(held)
        self._kept.expire(time.monotonic())
        spans, self._pending = list(self._pending), deque()
        return spans

    def take_announcements(self) -> list[str]:
        """Return the traces that this process found worth a look since the last call."""
        announced, self._announced = self._announced, []
        return announced

    def put_back(self, spans: list[Span]) -> None:
        """Queue spans again that could not be stored, before the others."""
        self._pending.extendleft(reversed(spans))
        self._bound()

    def close(self) -> None:
        """Export the remaining spans."""
        if self.exporter is not None:
            self.exporter.export(self.take())
            self.exporter.close()

    # --- inside

    def _sample(self) -> bool:
        ratio = self.options.sample_ratio
        return ratio > 0 and self.records and self._random.random() < ratio and self._may_keep(KeepReason.SAMPLED)

    def _may_keep(self, reason: KeepReason) -> bool:
        if self._budget.take(time.monotonic()):
            self.counts[reason] += 1
            return True
        self.counts["over_budget"] += 1
        return False

    def _pass_on(self, context: TraceContext, parent: str | None) -> Span:
        span = Span(None, "", SpanKind.INTERNAL, context.trace_id, context.span_id, None, context.sampled, 0)
        span.traceparent = parent or span.traceparent
        return span

    def _queue(self, span: Span) -> None:
        self._pending.append(span)
        if len(self._pending) > _MAX_PENDING:
            self._bound()
        self.on_work()

    def _bound(self) -> None:
        while len(self._pending) > _MAX_PENDING:
            self._pending.popleft()
            self.counts["dropped"] += 1


def _create_exporter(service: str, environment: Mapping[str, str]) -> "OtlpExporter | None":
    """Return an exporter to the collector that the standard variables name, if they name one."""
    if not any(environment.get(name) for name in _COLLECTORS) or environment.get("OTEL_SDK_DISABLED") == "true":
        return None
    from keyferry.runtime.tracing.otlp import OtlpExporter

    return OtlpExporter(service)
