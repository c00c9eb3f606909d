"""Words for a trace: why it has no spans, and how long a span took. Pure."""

from collections.abc import Mapping
from datetime import datetime

from keyferry.contracts.traces import TraceAbsence

_WHAT: Mapping[TraceAbsence, str] = {
    TraceAbsence.NO_RECORD: "nothing is recorded under this id",
    TraceAbsence.NO_TRACE_ID: "the request names no trace",
    TraceAbsence.EXPIRED: "the spans of this time are not stored any more",
    TraceAbsence.PENDING: "no span has arrived yet",
    TraceAbsence.NOT_SAMPLED: "the trace was not kept",
    TraceAbsence.LOST: "the trace was to be kept, but no span of it arrived",
}
_DETAIL: Mapping[TraceAbsence, str] = {
    TraceAbsence.NO_RECORD: (
        "Check the id and the tenant. Records arrive about a second after a request. A request that was refused"
        " before it reached a router, as without a valid client token or body, has no record"
    ),
    TraceAbsence.NO_TRACE_ID: (
        "Its sender gave none that can be read. Send a `traceparent` (W3C Trace Context), or none at all: then one is"
        " made"
    ),
    TraceAbsence.EXPIRED: (
        "Spans are kept for a day at most, and the oldest ones make way for new ones. `explain` and `requests show`"
        " have what is kept for longer"
    ),
    TraceAbsence.PENDING: "The request was made a moment ago. Spans arrive within about two seconds of its end: try again then",
    TraceAbsence.NOT_SAMPLED: (
        "Kept are the traces of requests that failed (but not by their own fault or a limit), were cancelled, took long"
        " or were served after a fallback, of those whose caller says so, and of a share of all; this one was none of"
        " them. To keep the next one, send the request with a `traceparent` that ends with -01"
    ),
    TraceAbsence.LOST: (
        "Each process keeps so many traces a second and no more, and sends spans at most once: they are lost if the bus"
        " is away or a process is killed at that moment. `explain` and `requests show` have the records, which are not"
        " lost"
    ),
}
_MICROSECOND = 1000
_MILLISECOND = 10**6
_SECOND = 10**9
_LONG_SECONDS = 600


def describe_absence(absence: TraceAbsence, kept_since: datetime | None = None) -> tuple[str, str]:
    """Return why there are no spans, and what to do or to know. `kept_since` is the time of the oldest one that is."""
    what, remedy = _WHAT[absence], _DETAIL[absence]
    if absence is TraceAbsence.EXPIRED and kept_since is not None:
        remedy = f"The oldest span that is stored is of {kept_since:%Y-%m-%d %H:%M} UTC. {remedy}"
    return what, remedy


def format_duration(nanoseconds: int) -> str:
    """Return a duration with three digits and its unit: `84 µs`, `1.24 ms`, `617 ms`, `1.48 s`, `612 s`."""
    if nanoseconds < _MILLISECOND:
        return f"{nanoseconds / _MICROSECOND:.0f} µs"
    if nanoseconds < 999.5 * _MILLISECOND:
        return f"{_three_digits(nanoseconds / _MILLISECOND)} ms"
    seconds = nanoseconds / _SECOND
    return f"{seconds:.0f} s" if seconds >= _LONG_SECONDS else f"{_three_digits(seconds)} s"


def _three_digits(value: float) -> str:
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"
