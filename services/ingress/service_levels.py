"""Which requests count for the service levels of routing and of fallback.

A request counts once its caller is known and its body is read; before, only what the gateway itself could not do. A request that
its caller gave up counts for none. Pure.
"""

from collections.abc import Callable

from keyferry.contracts.failure import FailureClass, Where
from keyferry.contracts.frames import Accepted
from keyferry.contracts.service_levels import ServiceLevelName
from keyferry.runtime.http.problem import HttpProblem
from services.ingress import routes
from services.ingress.problem import FailedRequest

_OWN_FAULTS = frozenset({FailureClass.INTERNAL, FailureClass.INDETERMINATE})
_OWN_FAULTS_BEFORE_A_CALL = frozenset({FailureClass.UNAVAILABLE, FailureClass.OVERLOADED, FailureClass.EXPIRED})
_NOT_CALLED = frozenset({Where.GATEWAY, Where.NOT_SENT})
_ABOUT_THE_MODEL = "model"
"""The field at fault of a refusal because no candidate is healthy: providers' doing, found out and said by the router."""

_COUNTED = frozenset({routes.CHAT, routes.EMBEDDINGS})


class RequestLevels:
    """Counts requests at their end; `count` gets the level, and whether the event is good."""

    def __init__(self, count: Callable[[ServiceLevelName, bool], None]) -> None:
        self._count = count

    def note_end(self, problem: HttpProblem | None, accepted: Accepted | None) -> None:
        """Count a request that was sent on: it was answered, or ended with `problem`."""
        self._count(ServiceLevelName.ROUTING, is_routed(problem))
        if (recovered := is_recovered(problem, accepted)) is not None:
            self._count(ServiceLevelName.FALLBACK, recovered)

    def note_problem(self, path: str, problem: HttpProblem) -> None:
        """Count a request that ends with an error instead of an answer, if it counts at all."""
        if isinstance(problem, FailedRequest):
            self.note_end(problem, problem.accepted)
        elif problem.status >= 500 and path in _COUNTED:
            self._count(ServiceLevelName.ROUTING, False)


def is_routed(problem: HttpProblem | None) -> bool:
    """Return whether a request was answered, or refused or failed for a reason that is not the gateway's own fault."""
    if problem is None:
        return True
    if not isinstance(problem, FailedRequest):
        return problem.status < 500
    failure = problem.failure
    if failure.failure_class in _OWN_FAULTS:
        return False
    if failure.failure_class is FailureClass.UNAVAILABLE and failure.where is Where.NO_ANSWER:
        return False  # the bus went away before anybody could say that the request had been taken
    not_called = failure.where in _NOT_CALLED and failure.param != _ABOUT_THE_MODEL
    return not (not_called and failure.failure_class in _OWN_FAULTS_BEFORE_A_CALL)


def is_recovered(problem: HttpProblem | None, accepted: Accepted | None) -> bool | None:
    """Return whether a request whose first attempt had failed was answered; None for one without a second attempt.

    A failure that is the request's own, which no other provider would answer either, counts for nothing.
    """
    if accepted is None or accepted.attempt_number < 2:
        return None
    if problem is None:
        return True
    bad_request = isinstance(problem, FailedRequest) and problem.failure.failure_class is FailureClass.BAD_REQUEST
    return None if bad_request else False
