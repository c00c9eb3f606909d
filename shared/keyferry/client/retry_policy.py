"""When a failed request may be made again by itself: while nothing was delivered and nothing can have been paid.

Choosing another provider is the router's work, with fresh facts; this is only about a gateway or a provider that asks for
patience, and about one that could not be reached at all.
"""

from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.runtime.backoff import Backoff

_RETRIES = Backoff(first_seconds=0.1, longest_seconds=2.0, jitter=0.5)
_SPREAD = 0.25
"""By how much a wait that was asked for is stretched at most, so that those who were sent away together come back apart."""

_ASKED_FOR_PATIENCE = frozenset({FailureClass.RATE_LIMIT, FailureClass.LIMIT, FailureClass.OVERLOADED})
_NOT_TAKEN = frozenset({FailureClass.UNAVAILABLE, FailureClass.OVERLOADED})


def is_safe_to_retry(failure: Failure, *, taken: bool) -> bool:
    """Whether a failure is one that passes and for which nobody can have been paid.

    `taken` says that a worker had the request: a gateway that fails after that may have called the provider.
    """
    kind, where = failure.failure_class, failure.where
    if where is Where.NOT_SENT:
        return kind is FailureClass.UNREACHABLE or kind in _NOT_TAKEN
    if where is Where.GATEWAY and not taken and kind in _NOT_TAKEN:
        return True
    refused = where is Where.HTTP_STATUS or (where is Where.GATEWAY and not taken)
    return refused and kind in _ASKED_FOR_PATIENCE and failure.retry_after_ms is not None


def wait_seconds(
    failure: Failure, *, taken: bool, retries: int, max_retries: int, left_seconds: float, chance: float
) -> float | None:
    """How long to wait before the next try, or None when there must be none.

    `retries` have been made, `left_seconds` remain of the deadline; `chance` is a random number from 0 to 1.
    """
    if retries >= max_retries or not is_safe_to_retry(failure, taken=taken):
        return None
    if failure.retry_after_ms is not None:
        wait = failure.retry_after_ms / 1000 * (1 + _SPREAD * chance)
    else:
        wait = _RETRIES.delay_seconds(retries, chance)
    return wait if wait < left_seconds else None
