"""One operation in a trace, while it runs and once it has ended."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from keyferry.contracts.traces import SpanKind
from keyferry.runtime.tracing.sampling import KeepReason

Attribute = str | bool | int | float | None


class SpanOwner(Protocol):
    """What starts spans, and takes them once they have ended."""

    def start(self, name: str, parent: str | None = None, *, kind: SpanKind = SpanKind.INTERNAL) -> "Span":
        """Start a span under `parent` (a traceparent)."""

    def end(self, span: "Span") -> None:
        """Store an ended span, or hold it in case that its trace is kept."""

    def keep(self, span: "Span", reason: KeepReason) -> None:
        """Have every process store the trace of a span."""


class Span:
    """One operation in a trace. `traceparent` goes into its messages.

    A span without an owner is not recorded: it only passes the context on.
    """

    __slots__ = (
        "attributes",
        "end_unix_ns",
        "error",
        "events",
        "kind",
        "links",
        "name",
        "owner",
        "parent_span_id",
        "sampled",
        "span_id",
        "start_unix_ns",
        "trace_id",
        "traceparent",
    )

    def __init__(
        self,
        owner: SpanOwner | None,
        name: str,
        kind: SpanKind,
        trace_id: str,
        span_id: str,
        parent_span_id: str | None,
        sampled: bool,
        start_unix_ns: int,
    ) -> None:
        self.owner = owner
        self.name = name
        self.kind = kind
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_span_id = parent_span_id
        self.sampled = sampled
        self.start_unix_ns = start_unix_ns
        self.end_unix_ns = 0
        """0 while it runs."""
        self.error: str | None = None
        self.attributes: dict[str, Attribute] | None = None
        self.events: list[tuple[str, int]] | None = None
        self.links: tuple[str, ...] = ()
        """Of each the `traceparent`."""
        self.traceparent = f"00-{trace_id}-{span_id}-{'01' if sampled else '00'}"

    def set(self, **attributes: Attribute) -> None:
        """Add attributes; `gen_ai__request__model` becomes `gen_ai.request.model`; None is left out."""
        if self.attributes is None:
            self.attributes = attributes
        else:
            self.attributes.update(attributes)

    def add_event(self, name: str) -> None:
        """Record a moment within the span."""
        if self.events is None:
            self.events = []
        self.events.append((name, time.time_ns()))

    def fail(self, failure_class: str) -> None:
        """Mark the span as failed. Only the class: an exception's text may hold what must not leave the process."""
        self.error = failure_class

    def keep(self, reason: KeepReason) -> None:
        """Have the trace stored that this span is part of, whatever its share: it is worth a look."""
        if self.owner is not None:
            self.owner.keep(self, reason)

    def child(self, name: str, kind: SpanKind = SpanKind.INTERNAL) -> "Span":
        """Start a part of this operation; this span itself where nothing is recorded."""
        return self if self.owner is None else self.owner.start(name, self.traceparent, kind=kind)

    def end(self) -> None:
        """End the span; again, without effect."""
        if self.owner is not None and not self.end_unix_ns:
            self.end_unix_ns = max(self.start_unix_ns, time.time_ns())
            self.owner.end(self)

    def named_attributes(self) -> dict[str, str | bool | int | float]:
        """Return the attributes that have a value, by their names in full."""
        return {name.replace("__", "."): value for name, value in (self.attributes or {}).items() if value is not None}

    @property
    def seconds(self) -> float:
        """How long an ended span took."""
        return (self.end_unix_ns - self.start_unix_ns) / 1e9


_CURRENT: ContextVar[Span | None] = ContextVar("current_span", default=None)


def current_span() -> Span | None:
    """Return the span that the running task works for, if it said so by `work_for`."""
    return _CURRENT.get()


def work_for(span: Span | None) -> None:
    """Make `span` the one that the running task, and those that it starts, work for."""
    _CURRENT.set(span)


@contextmanager
def child_span(name: str, kind: SpanKind = SpanKind.INTERNAL) -> Iterator[Span | None]:
    """Wrap a block in a part of the current span, if there is one; an exception marks it as failed by its type's name."""
    parent = _CURRENT.get()
    if parent is None or parent.owner is None:
        yield parent
        return
    span = parent.child(name, kind)
    _CURRENT.set(span)
    try:
        yield span
    except BaseException as error:  # passed on: the span only records it
        span.fail(type(error).__name__)
        raise
    finally:
        _CURRENT.set(parent)
        span.end()
