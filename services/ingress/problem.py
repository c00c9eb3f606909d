"""A failed request as an HTTP problem, before a dialect gives it its shape. Pure."""

from dataclasses import dataclass

from keyferry.contracts.failure import Failure
from keyferry.contracts.frames import Accepted
from keyferry.contracts.limits import RateLimits
from keyferry.contracts.route import DecisionSummary
from keyferry.runtime.http.problem import HttpProblem


@dataclass(eq=False, kw_only=True)
class FailedRequest(HttpProblem):
    """A request that a provider or another service failed, with what is known of its route."""

    failure: Failure
    accepted: Accepted | None = None
    decision_id: str | None = None
    rate_limits: RateLimits | None = None
    """What is left of the caller's limits, or was when the request was admitted; null if it has none."""
    decision: DecisionSummary | None = None
    """Where the request asked for it, and no worker has taken it."""
