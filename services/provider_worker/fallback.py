"""Whether a failed attempt may be followed by another, and the message that asks the router for it. Pure.

Only before anything was delivered: afterwards another provider's words would continue a sentence that it did not begin.
"""

from keyferry.contracts.chat import START_WITHIN_MS, AttemptRun, FailedAttempt, Reroute
from keyferry.contracts.failure import Failure, FailureClass

_WORTH_TRYING_MS = 100
"""With less left of the deadline another attempt could not answer."""

ELSEWHERE = frozenset(
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
"""Failures that another candidate may not have. A request that is simply wrong, forbidden, late or unwanted is not among them."""


def reroute(
    run: AttemptRun, failure: Failure, *, left_ms: int, now_unix_ms: int, no_key: bool = False
) -> Reroute | None:
    """The request to plan anew, or None where the failure is final: no other candidate, no time, or the same everywhere.

    `no_key` says that the key for the attempt could not be had, whatever class its failure is of: another may have one.
    """
    elsewhere = no_key or failure.failure_class in ELSEWHERE
    if not elsewhere or not run.remaining_candidates or left_ms < _WORTH_TRYING_MS:
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
    )
