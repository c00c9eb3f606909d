"""Whether a failed attempt may be followed by another, and the message that asks the router for it.

Only before anything was delivered: afterwards another provider's answer would continue a sentence that it did not begin. Pure.
"""

from keyferry.contracts.chat import START_WITHIN_MS, AttemptRun, FailedAttempt, Reroute
from keyferry.contracts.failure import Failure, FailureClass

_MIN_LEFT_MS = 100
"""With less of the deadline left, another attempt could not answer."""

RETRYABLE_ELSEWHERE = frozenset(
    {
        FailureClass.AUTH,
        FailureClass.QUOTA,
        FailureClass.RATE_LIMIT,
        FailureClass.OVERLOADED,
        FailureClass.CONTEXT_LENGTH,
        FailureClass.CONTENT_FILTER,
        FailureClass.NOT_FOUND,
        FailureClass.TIMEOUT,
        FailureClass.SERVER,
        FailureClass.TRUNCATED,
        FailureClass.UNREACHABLE,
        FailureClass.INTERNAL,
    }
)
"""Failures that another candidate may not have; not those of a request that is invalid, forbidden, late or cancelled."""


def reroute(
    run: AttemptRun, failure: Failure, *, left_ms: int, now_unix_ms: int, no_key: bool = False
) -> Reroute | None:
    """Return the request to plan anew, or None where the failure is final: no other candidate, no time, same everywhere.

    `no_key` says that the attempt's key could not be leased; then another candidate may have one, whatever the failure's class.
    """
    elsewhere = no_key or failure.failure_class in RETRYABLE_ELSEWHERE
    if not elsewhere or not run.remaining_candidates or left_ms < _MIN_LEFT_MS:
        return None
    this_attempt = FailedAttempt(
        attempt_id=run.attempt_id,
        provider=run.provider,
        endpoint=run.endpoint,
        model=run.model,
        key_id=run.key_id,
        failure=failure,
    )
    return run.derive(
        Reroute,
        model=run.model_asked,
        deadline_ms=left_ms,
        start_by_unix_ms=now_unix_ms + START_WITHIN_MS,
        decision_id=run.decision_id,
        failed_attempts=[*run.failed_attempts, this_attempt],
        admission=run.admission,
        rate_limits=run.rate_limits,
    )
