"""When a failed delivery is tried again, when it is given up, and when its target is switched off. Pure."""

from datetime import datetime, timedelta

from keyferry.runtime.backoff import Backoff, apply_jitter

RETRY_DELAYS = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(minutes=30),
    timedelta(hours=1),
    timedelta(hours=2),
    timedelta(hours=4),
    timedelta(hours=8),
    timedelta(hours=8),
    timedelta(hours=12),
    timedelta(hours=12),
    timedelta(hours=24),
)
"""After the first attempt, the second, and so on: fourteen attempts within three days."""
GIVE_UP_AFTER = timedelta(days=3)
"""From when a delivery was made; also how long a target may fail before it is switched off."""
_JITTER = 0.1
_PAUSES = Backoff(first_seconds=1.0, longest_seconds=300.0, jitter=_JITTER)
"""Between attempts at one target that fails, whatever is due: a target that is down is not asked for each delivery."""


def next_attempt(created_at: datetime, attempts: int, now: datetime, chance: float) -> datetime | None:
    """Return when to try again after `attempts` failures, or None to give up. `chance` is a random number from 0 to 1."""
    if attempts > len(RETRY_DELAYS) or now - created_at >= GIVE_UP_AFTER:
        return None
    delay = RETRY_DELAYS[attempts - 1]
    return now + timedelta(seconds=apply_jitter(delay.total_seconds(), _JITTER, chance))


def pause_of_target(failures: int, now: datetime, chance: float) -> datetime:
    """Return until when nothing is sent to a target that has failed `failures` times in a row, which is at least once."""
    return now + timedelta(seconds=_PAUSES.delay_seconds(failures - 1, chance))


def is_dead(
    failing_since: datetime, last_delivered_at: datetime | None, given_up_since: datetime | None, now: datetime
) -> bool:
    """Return whether a target that fails is to be switched off, because nothing was delivered for three days.

    `given_up_since` is when the delivery was made that is given up now, if one is.
    """
    if now - failing_since >= GIVE_UP_AFTER:
        return True
    return given_up_since is not None and (last_delivered_at is None or last_delivered_at < given_up_since)
