"""Whether and when a failed request is retried: only while nothing was delivered and nothing can have been charged.

The router already falls back to other providers. This policy covers a gateway or provider that asks the client to wait, and one
that could not be reached at all. Pure.
"""

from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.runtime.backoff import Backoff

_RETRIES = Backoff(first_seconds=0.1, longest_seconds=2.0, jitter=0.5)
_SPREAD = 0.25
"""The largest jitter added to a requested wait, so that clients that were rejected together do not return together."""

_ASK_TO_WAIT = frozenset({FailureClass.RATE_LIMIT, FailureClass.LIMIT, FailureClass.OVERLOADED})
_NOT_ACCEPTED = frozenset({FailureClass.UNAVAILABLE, FailureClass.OVERLOADED})


def is_safe_to_retry(failure: Failure, *, accepted: bool) -> bool:
    """Return whether a failure is temporary and the provider cannot have charged.

    `accepted` says that a worker had the request: a gateway that fails after that may have called the provider.
    """
    if failure.charged_earlier:
        return False
    kind, where = failure.failure_class, failure.where
    if where is Where.NOT_SENT:
        return kind is FailureClass.UNREACHABLE or kind in _NOT_ACCEPTED
    if where is Where.GATEWAY and not accepted and kind in _NOT_ACCEPTED:
        return True
    refused = where is Where.HTTP_STATUS or (where is Where.GATEWAY and not accepted)
    return refused and kind in _ASK_TO_WAIT and failure.retry_after_ms is not None


def wait_seconds(
    failure: Failure, *, accepted: bool, retries: int, max_retries: int, left_seconds: float, chance: float
) -> float | None:
    """Return how long to wait before the next attempt, or None if there must be none.

    `retries` have been made, `left_seconds` remain of the deadline, and `chance` is a random number from 0 to 1.
    """
    if retries >= max_retries or not is_safe_to_retry(failure, accepted=accepted):
        return None
    if failure.retry_after_ms is not None:
        wait = failure.retry_after_ms / 1000 * (1 + _SPREAD * chance)
    else:
        wait = _RETRIES.delay_seconds(retries, chance)
    return wait if wait < left_seconds else None
