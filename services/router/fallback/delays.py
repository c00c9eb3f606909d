"""How long an attempt waits before it begins, and how long it may take while others are left. Pure."""

from datetime import datetime, timedelta
from hashlib import blake2b

from keyferry.runtime.backoff import Backoff

BACKOFF = Backoff(first_seconds=0.25, longest_seconds=8.0, jitter=1.0)
"""Full jitter: callers that failed together do not come back together."""
MIN_ANSWER_MS = 500
"""What a wait has to leave of the deadline for the answer."""
SHORT_WAIT_MS = 1000
"""The longest wait for a model that comes before its replacement."""
_SHARE = 3
_MAX_RESERVE_MS = 30_000
_MIN_SPLIT_MS = 1500
"""A shorter deadline is not divided: neither part could be answered in."""
_MS = timedelta(milliseconds=1)


def retry_delay_ms(request_id: str, retry: int, recovery: datetime | None, now: datetime) -> int:
    """Return the delay before the `retry`-th retry of a candidate, counted from 1: until its recovery, and some jitter.

    The same request gets the same jitter. A recovery that is past already, such as after `Retry-After: 0`, makes it no shorter.
    """
    backoff_ms = int(BACKOFF.delay_seconds(retry - 1, _chance(request_id, retry)) * 1000)
    return backoff_ms if recovery is None else max(backoff_ms, wait_ms(request_id, recovery, now))


def wait_ms(request_id: str, recovery: datetime, now: datetime) -> int:
    """Return how long to wait for a candidate that recovers then, with some jitter, so that not all requests come at once."""
    jitter_ms = BACKOFF.delay_seconds(0, _chance(request_id, 0)) * 1000
    return max(0, int(-(-(recovery - now) // _MS))) + int(jitter_ms)


def fits(delay_ms: int, deadline_ms: int | None, longest_wait_ms: int) -> bool:
    """Return whether a wait leaves enough of the deadline; without a deadline nobody can wait."""
    return deadline_ms is not None and delay_ms <= longest_wait_ms and delay_ms + MIN_ANSWER_MS <= deadline_ms


def first_answer_within_ms(deadline_ms: int, *, others: bool) -> int | None:
    """Return how long an attempt may take until its answer begins; None for the whole deadline.

    With other candidates left, it leaves them a third of the time, and half a minute at most: a provider that hangs must not
    take the time of those that would answer.
    """
    if not others or deadline_ms < _MIN_SPLIT_MS:
        return None
    return deadline_ms - min(deadline_ms // _SHARE, _MAX_RESERVE_MS)


def _chance(request_id: str, number: int) -> float:
    digest = blake2b(f"{request_id} retry {number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 256**8
