"""What the ingress counts: HTTP requests, and how the requests to models end as their callers see it."""

import time

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.usage import RequestKind
from keyferry.runtime.http.problem import HttpProblem
from keyferry.runtime.metrics import buckets
from keyferry.runtime.metrics.http_requests import CLIENT_CLOSED, UNKNOWN_ROUTE, count_http_request
from keyferry.runtime.metrics.registry import BoundedCounter, BoundedHistogram
from services.ingress import routes
from services.ingress.http_exchange import HttpExchange
from services.ingress.problem import FailedRequest
from services.ingress.service_levels import is_routed

_KINDS = {routes.CHAT: RequestKind.CHAT.value, routes.EMBEDDINGS: RequestKind.EMBEDDING.value}
_OUTCOMES = ("completed", "refused", "failed", "cancelled", "invalid")
_NOT_AUTHENTICATED = (401, 403)

_CALLERS = frozenset(
    {
        *(FailureClass.POLICY, FailureClass.LIMIT, FailureClass.CREDIT, FailureClass.BUDGET, FailureClass.CANCELLED),
        *(FailureClass.CONTEXT_LENGTH, FailureClass.CONTENT_FILTER, FailureClass.NOT_FOUND, FailureClass.BAD_REQUEST),
    }
)
"""What the request itself or its tenant's limits are the reason for."""
_REQUESTS = BoundedCounter(
    "keyferry_requests_total",
    "Requests to models of authenticated callers, by how they ended.",
    ("kind", "outcome"),
    preset=[(kind, outcome) for kind in _KINDS.values() for outcome in _OUTCOMES],
)
_DURATION = BoundedHistogram(
    "keyferry_request_duration_seconds",
    "Time from the head of a request to a model until the end of its answer.",
    ("kind", "outcome"),
    buckets=buckets.REQUEST,
)
_FIRST_TOKEN = BoundedHistogram(
    "keyferry_first_token_seconds",
    "Time from the head of a streamed request until the first piece of its answer was sent.",
    buckets=buckets.REQUEST,
)
_FAILURES = BoundedCounter(
    "keyferry_request_failures_total",
    "Requests to models that were refused or failed, by the class of the failure and whose it is.",
    ("failure_class", "cause"),
    preset=[
        *((one.value, "caller") for one in sorted(_CALLERS)),
        *((one.value, "gateway") for one in (FailureClass.UNAVAILABLE, FailureClass.OVERLOADED, FailureClass.INTERNAL)),
    ],
)


def cause_of(problem: FailedRequest) -> str:
    """Return whose a failure is: the gateway's, as the service level of routing counts it, the caller's, or the provider's."""
    if not is_routed(problem):
        return "gateway"
    return "caller" if problem.failure.failure_class in _CALLERS else "provider"


class ObservedRequest:
    """One HTTP request from its arrival to its end."""

    __slots__ = ("_began", "_cancelled", "_problem", "route")

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._problem: HttpProblem | None = None
        self._cancelled = False
        self.route = UNKNOWN_ROUTE

    def fail(self, problem: HttpProblem) -> None:
        """Note that the request ends with an error."""
        self._problem = problem

    def cancel(self) -> None:
        """Note that the client has gone."""
        self._cancelled = True

    def end(self, exchange: HttpExchange) -> None:
        """Count the request."""
        seconds = time.perf_counter() - self._began
        status = None if self._cancelled else exchange.status
        count_http_request(self.route, CLIENT_CLOSED if status is None else status, seconds)
        kind = _KINDS.get(self.route)
        problem = self._problem
        if kind is None or exchange.method != "POST" or _is_strangers(problem):
            return
        outcome = self._outcome(exchange)
        _REQUESTS.inc(kind, outcome)
        _DURATION.observe(seconds, kind, outcome)
        if exchange.first_piece_at is not None:
            _FIRST_TOKEN.observe(exchange.first_piece_at - self._began)

    def _outcome(self, exchange: HttpExchange) -> str:
        """Return how the request ended, and count its failure."""
        if self._cancelled:
            return "cancelled"
        problem = self._problem or exchange.broken_by
        if problem is None:
            return "completed"
        if isinstance(problem, FailedRequest):
            cause = cause_of(problem)
            _FAILURES.inc(problem.failure.failure_class.value, cause)
            return "refused" if cause == "caller" else "failed"
        if problem.status < 500:
            return "invalid"
        _FAILURES.inc((FailureClass.UNAVAILABLE if problem.status == 503 else FailureClass.INTERNAL).value, "gateway")
        return "failed"


def _is_strangers(problem: HttpProblem | None) -> bool:
    """Return whether the request was refused for its credential, before anything else of it was read."""
    return problem is not None and not isinstance(problem, FailedRequest) and problem.status in _NOT_AUTHENTICATED
