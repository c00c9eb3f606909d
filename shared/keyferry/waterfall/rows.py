"""The spans of a trace as rows in the order in which people read them: each span below its parent, by time.

Spans come from several processes and may be incomplete: a parent may be missing or not shown, the clocks of machines differ, and
a faulty sender may say that two spans are each other's parents. Every span has exactly one row all the same. If a span begins
before the one that called it in another process, its process has a slow clock: all spans of that process are shown later, until
none begins too early. (Jaeger, whose "clock skew adjuster" this is like, moves single spans.) Pure.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from keyferry.contracts.traces import SpanRecord


@dataclass(frozen=True, slots=True)
class WaterfallRow:
    """A span at its place. Times are nanoseconds."""

    span: SpanRecord
    depth: int
    """How many spans it is below."""
    offset_ns: int
    """From the begin of the earliest span."""
    duration_ns: int
    moved_ns: int
    """By how much it is shown later than its process's clock said."""
    orphan: bool
    """Whether it has a parent that is not shown, such as a caller's own span."""


@dataclass(frozen=True, slots=True)
class Waterfall:
    """All rows of a trace, and when and how long it was."""

    rows: Sequence[WaterfallRow]
    began_unix_ns: int
    duration_ns: int


def arrange(spans: Sequence[SpanRecord]) -> Waterfall:
    """Return the rows of a trace. Of spans with the same id the first one counts."""
    by_id: dict[str, SpanRecord] = {}
    for span in sorted(spans, key=lambda each: (each.start_unix_ns, each.span_id)):
        by_id.setdefault(span.span_id, span)
    order = list(_in_order(by_id))
    moved = _clock_corrections(order, by_id)
    if not order:
        return Waterfall((), 0, 0)
    began = {span.span_id: span.start_unix_ns + moved.get(span.instance_id, 0) for _, span in order}
    first = min(began.values())
    rows = [
        WaterfallRow(
            span=span,
            depth=depth,
            offset_ns=began[span.span_id] - first,
            duration_ns=_duration(span),
            moved_ns=moved.get(span.instance_id, 0),
            orphan=span.parent_span_id is not None and span.parent_span_id not in by_id,
        )
        for depth, span in order
    ]
    return Waterfall(rows, first, max(row.offset_ns + row.duration_ns for row in rows))


def _duration(span: SpanRecord) -> int:
    """Return how long a span took; a clock that was set back makes it nothing."""
    return max(span.end_unix_ns - span.start_unix_ns, 0)


def _in_order(by_id: Mapping[str, SpanRecord]) -> Iterator[tuple[int, SpanRecord]]:
    """Yield every span once with its depth, parents before their children. `by_id` is in the order of time."""
    children: defaultdict[str, list[SpanRecord]] = defaultdict(list)
    roots = []
    for span in by_id.values():
        if span.parent_span_id in by_id and span.parent_span_id is not None:
            children[span.parent_span_id].append(span)
        else:
            roots.append(span)
    seen: set[str] = set()
    # What no root leads to is a circle of parents: its earliest span counts as a root.
    for root in (*roots, *by_id.values()):
        pending = [(0, root)]
        while pending:
            depth, span = pending.pop()
            if span.span_id in seen:
                continue
            seen.add(span.span_id)
            yield depth, span
            pending += [(depth + 1, child) for child in reversed(children[span.span_id])]


def _clock_corrections(order: Sequence[tuple[int, SpanRecord]], by_id: Mapping[str, SpanRecord]) -> dict[str, int]:
    """Return by how many nanoseconds each process's clock is slow, by instance; only of those that are."""
    slow: dict[str, int] = {}
    for depth, span in order:
        parent = by_id.get(span.parent_span_id or "")
        if depth == 0 or parent is None or parent.instance_id == span.instance_id:
            continue
        begin = parent.start_unix_ns + slow.get(parent.instance_id, 0)
        if span.start_unix_ns + slow.get(span.instance_id, 0) < begin:
            slow[span.instance_id] = begin - span.start_unix_ns
    return slow
