"""A trace as text: a line for each span, with its time and its place in the whole. Pure."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from keyferry.cli.terminal import format_table
from keyferry.contracts.traces import AttributeValue, StoredTrace
from keyferry.waterfall.rows import Waterfall, WaterfallRow, arrange
from keyferry.waterfall.words import format_duration

_BAR = 32
_DEEPEST = 12
"""Deeper spans are not indented further."""
_LONGEST_NAME = 60
_HEADS = ("START", "TIME", "", "SERVICE", "SPAN")


def format_waterfall(trace: StoredTrace, *, attributes: bool) -> list[str]:
    """Return the lines for a trace that has spans; with their `attributes` if they are wanted."""
    waterfall = arrange(trace.spans)
    began = datetime.fromtimestamp(waterfall.began_unix_ns // 10**9, UTC)
    millisecond = waterfall.began_unix_ns // 10**6 % 1000
    lines = [f"Trace     {trace.trace_id}"]
    if trace.request_id is not None:
        lines.append(f"Request   {trace.request_id}")
    count = "1 span" if len(waterfall.rows) == 1 else f"{len(waterfall.rows)} spans"
    lines.append(
        f"Began     {began:%Y-%m-%d %H:%M:%S}.{millisecond:03d}Z, {count} in {format_duration(waterfall.duration_ns)}"
    )
    lines.append("")
    lines += _table(waterfall)
    if attributes:
        lines += _attributes(waterfall.rows)
    return lines + _notes(trace, waterfall)


def _table(waterfall: Waterfall) -> list[str]:
    cells = []
    for row in waterfall.rows:
        cells.append(_cells(row, waterfall.duration_ns))
        indent = "  " * (min(row.depth, _DEEPEST) + 1)
        for event in row.span.events:
            at = max(event.at_unix_ns - row.span.start_unix_ns, 0)
            offset = row.offset_ns + at
            mark = _bar(offset, 0, waterfall.duration_ns)
            what = f"{indent}* {_short(event.name)} after {format_duration(at)}"
            cells.append((format_duration(offset), "", mark, "", what))
    return format_table(_HEADS, cells, empty="").split("\n")


def _cells(row: WaterfallRow, total_ns: int) -> tuple[str, ...]:
    span = row.span
    failed = "" if span.error is None else f"  FAILED: {span.error}"
    return (
        format_duration(row.offset_ns),
        format_duration(row.duration_ns),
        _bar(row.offset_ns, row.duration_ns, total_ns),
        span.service,
        f"{'  ' * min(row.depth, _DEEPEST)}{_short(span.name)}{failed}",
    )


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _bar(offset_ns: int, duration_ns: int, total_ns: int) -> str:
    """Return a bar in a field of fixed width: `=` while the span ran, `|` for one that is too short for that."""
    if total_ns == 0:
        return f"[{'|':<{_BAR}}]"
    begin = min(offset_ns * _BAR // total_ns, _BAR - 1)
    width = min(duration_ns * _BAR // total_ns, _BAR - begin)
    return f"[{' ' * begin}{('=' * width or '|'):<{_BAR - begin}}]"


def _attributes(rows: Sequence[WaterfallRow]) -> Iterator[str]:
    for row in rows:
        if row.span.attributes:
            yield ""
            yield f"{row.span.service}  {_short(row.span.name)}  ({row.span.span_id}, {row.span.instance_id})"
            yield from (f"  {name:<32} {_value(value)}" for name, value in sorted(row.span.attributes.items()))


def _value(value: AttributeValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _notes(trace: StoredTrace, waterfall: Waterfall) -> list[str]:
    notes = []
    moved = {row.span.instance_id: row.moved_ns for row in waterfall.rows if row.moved_ns >= 10**6}
    notes += [
        f"the clock of {instance} is slow: its spans are shown {format_duration(by)} later than it says"
        for instance, by in sorted(moved.items())
    ]
    if trace.omitted:
        notes.append(f"{trace.omitted} more are stored and not shown: a trace is shown up to a limit")
    if trace.request_id is not None:
        notes.append(
            f"`keyferry explain {trace.request_id} --tenant {trace.tenant}` shows the decision, the attempts and their cost"
        )
    return ["", *notes] if notes else []
