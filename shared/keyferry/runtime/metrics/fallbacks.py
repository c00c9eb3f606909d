"""How requests end whose first attempt failed: counted where each ends, at a worker or a router."""

from keyferry.runtime.metrics.registry import BoundedCounter

FALLBACKS = BoundedCounter(
    "keyferry_fallbacks_total",
    "Requests that were planned again after a failed attempt: served by another attempt, exhausted after others had failed too,"
    " cancelled by the caller, or none where no other candidate was left.",
    ("result",),
    preset=[("served",), ("exhausted",), ("cancelled",), ("none",)],
)
