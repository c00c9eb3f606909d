"""When a request that cannot be answered now may be sent again: the earliest recovery of any candidate. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from keyferry.contracts.chat import FailedAttempt
from keyferry.contracts.failure import Failure, FailureClass
from services.router.fallback.cooldowns import recovery_of

_MS = timedelta(milliseconds=1)
TRY_LATER = frozenset({FailureClass.RATE_LIMIT, FailureClass.OVERLOADED, FailureClass.UNAVAILABLE})
"""Classes whose HTTP status asks the caller to wait: 429 and 503."""


def last_failure(failed_attempts: Sequence[FailedAttempt], recovering: Sequence[datetime], now: datetime) -> Failure:
    """Return the last attempt's failure as the answer; where it asks the caller to wait, until the earliest recovery.

    `recovering` is when each of the candidates that get no requests now takes some again.
    """
    failure = failed_attempts[-1].failure
    if failure.failure_class not in TRY_LATER:
        return failure
    recoveries = [*(recovery_of(failed, now) for failed in failed_attempts), *recovering]
    waits = [recovery - now for recovery in recoveries if recovery is not None and recovery > now]
    if not waits:
        return failure
    return failure.model_copy(update={"retry_after_ms": max(1, min(waits) // _MS)})
