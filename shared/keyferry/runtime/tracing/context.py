"""The context of a trace as messages carry it: `traceparent` of W3C Trace Context. Pure.

`tracestate` is not passed on: a trace of ours ends at the provider, which is sent neither.
"""

import re
from typing import NamedTuple

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[\x20-\x7e]*)?")
"""OpenTelemetry's propagator takes three times as long, in each service and for each message."""
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
_INVALID_VERSION, _FIRST_VERSION = "ff", "00"
_SAMPLED = 1


class TraceContext(NamedTuple):
    """The caller's place in its trace."""

    trace_id: str
    span_id: str
    sampled: bool
    """Whether the caller records its own part of the trace."""


def parse(traceparent: str | None) -> TraceContext | None:
    """Return what a `traceparent` says, or None where it is missing or malformed.

    Of later versions the part is read that they share with the first (W3C Trace Context, section 3.2.4).
    """
    match = _TRACEPARENT.fullmatch(traceparent or "")
    if match is None:
        return None
    version, trace, span, flags, rest = match.groups()
    if version == _INVALID_VERSION or (rest is not None and version == _FIRST_VERSION):
        return None
    if trace == _NO_TRACE or span == _NO_SPAN:
        return None
    return TraceContext(trace, span, bool(int(flags, 16) & _SAMPLED))


def trace_id(traceparent: str | None) -> str | None:
    """Return the trace id of a `traceparent`, 32 hex digits."""
    context = parse(traceparent)
    return None if context is None else context.trace_id
