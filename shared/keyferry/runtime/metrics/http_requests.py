"""What every service counts that serves HTTP: requests by the template of their route, never by their path."""

from keyferry.runtime.metrics import buckets
from keyferry.runtime.metrics.registry import BoundedCounter, BoundedHistogram

CLIENT_CLOSED = 499
"""The status of a request whose client was gone before the answer, as nginx logs it."""
UNKNOWN_ROUTE = "unknown"
_MAX_ROUTES = 500
"""The management API has 300."""

_REQUESTS = BoundedCounter(
    "keyferry_http_requests_total",
    "HTTP requests answered, by route and status.",
    ("route", "status"),
    max_values=_MAX_ROUTES,
)
_DURATION = BoundedHistogram(
    "keyferry_http_request_duration_seconds",
    "Time to answer an HTTP request, streams to their end.",
    ("route",),
    buckets=buckets.HTTP,
    max_values=_MAX_ROUTES,
)


def count_http_request(route: str, status: int, seconds: float) -> None:
    """Count a request that has ended."""
    _REQUESTS.inc(route, str(status))
    _DURATION.observe(seconds, route)
