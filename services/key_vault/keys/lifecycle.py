"""The life cycle of a provider key: its status after each event, and when the vault tests it next.

Only an authentication error of its provider makes a key invalid. A timeout, a 5xx or a 429 says something about the provider and
nothing about the key, so it leaves the status unchanged. Pure.
"""

from datetime import UTC, datetime, timedelta
from enum import StrEnum

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.key import KeyStatus, KeyTest, KeyTestResult, ProviderKey

RETEST_EVERY = timedelta(days=7)
FORCED_AFTER = timedelta(days=90)
"""Disabled keys are tested only this often, so that an invalid one is noticed all the same."""
RETRY_AFTER = timedelta(hours=1)
"""After an inconclusive test."""
MIN_TEST_INTERVAL = timedelta(minutes=5)
"""Between two tests after auth failures: a burst of 401 responses needs only one."""
_SPREAD = 0.1
"""Spreads the tests of keys that were added together."""

INCONCLUSIVE_FAILURES = frozenset(
    {
        FailureClass.RATE_LIMIT,
        FailureClass.OVERLOADED,
        FailureClass.TIMEOUT,
        FailureClass.SERVER,
        FailureClass.TRUNCATED,
        FailureClass.UNREACHABLE,
        FailureClass.LIMIT,
        FailureClass.CREDIT,
        FailureClass.BUDGET,
        FailureClass.UNAVAILABLE,
        FailureClass.EXPIRED,
        FailureClass.CANCELLED,
        FailureClass.INDETERMINATE,
        FailureClass.INTERNAL,
    }
)
"""Failures of a test that say nothing about the key, whatever the test's result."""


class Event(StrEnum):
    """What can happen to a key."""

    ACCEPTED = "accepted"
    """A test passed."""
    FELL_SHORT = "fell_short"
    """The provider accepts the key; credit, a region or a model is missing."""
    REJECTED = "rejected"
    """The provider does not accept the key."""
    INCONCLUSIVE = "inconclusive"
    """A test was inconclusive."""
    REPLACED = "replaced"
    """Its secret was replaced; a test of the new one follows."""
    RAN_OUT = "ran_out"
    """Its expiry date has passed."""
    EXTENDED = "extended"
    """Its expiry date was moved to the future, or removed."""
    SWITCHED_OFF = "switched_off"
    SWITCHED_ON = "switched_on"
    LOST = "lost"
    """The vault cannot decrypt its record."""
    FOUND = "found"
    """The vault can decrypt its record again."""


_STATUS_AFTER_TEST = {
    Event.ACCEPTED: KeyStatus.VALID,
    Event.FELL_SHORT: KeyStatus.DEGRADED,
    Event.REJECTED: KeyStatus.INVALID,
}
_ENDS = {
    Event.EXTENDED: KeyStatus.EXPIRED,
    Event.SWITCHED_ON: KeyStatus.DISABLED,
    Event.FOUND: KeyStatus.UNDECRYPTABLE,
}
"""Event -> the only status that it ends."""
_BEGINS = {
    Event.RAN_OUT: KeyStatus.EXPIRED,
    Event.SWITCHED_OFF: KeyStatus.DISABLED,
    Event.LOST: KeyStatus.UNDECRYPTABLE,
}
_RANK = (KeyStatus.EXPIRED, KeyStatus.DISABLED, KeyStatus.UNDECRYPTABLE)
"""Statuses that no test ends; a later one overrides an earlier one."""


def transition(status: KeyStatus, event: Event, tested: KeyStatus) -> KeyStatus:
    """Return the status after `event`. `tested` is the status by its last test alone, for when another condition ends."""
    if event in _STATUS_AFTER_TEST:
        return status if status in _RANK else _STATUS_AFTER_TEST[event]
    if event in _ENDS:
        return tested if status is _ENDS[event] else status
    if event in _BEGINS:
        return _stronger(status, _BEGINS[event])
    if event is Event.REPLACED:
        # A new record can be decrypted; what a person or a date decided about the key still holds.
        return status if status in (KeyStatus.DISABLED, KeyStatus.EXPIRED) else KeyStatus.UNTESTED
    return status


def classify_test(check: KeyTest) -> Event:
    """Return a test's event. Only an auth failure of the provider rejects a key, whatever result the worker reports."""
    if check.result is KeyTestResult.VALID:
        return Event.ACCEPTED
    if check.failure_class in INCONCLUSIVE_FAILURES:
        return Event.INCONCLUSIVE
    if check.result is KeyTestResult.INVALID:
        return Event.REJECTED if check.failure_class is FailureClass.AUTH else Event.INCONCLUSIVE
    return Event.FELL_SHORT if check.result is KeyTestResult.DEGRADED else Event.INCONCLUSIVE


def status_by_test(check: KeyTest | None) -> KeyStatus:
    """Return a key's status by its last test alone."""
    return KeyStatus.UNTESTED if check is None else _STATUS_AFTER_TEST.get(classify_test(check), KeyStatus.UNTESTED)


def status_after(key: ProviderKey, event: Event) -> KeyStatus:
    """Return a stored key's status after `event`."""
    return transition(key.status, event, status_by_test(key.last_test))


def apply_test(key: ProviderKey, check: KeyTest, jitter: float) -> ProviderKey:
    """Return the key with a test's findings. `jitter` is a number from 0 to 1."""
    status = status_after(key, classify_test(check))
    changed = key.model_copy(update={"status": status, "last_test": check, "models": check.models or key.models})
    return _schedule(changed, check.tested_at, _until_next_test(changed), jitter)


def schedule_after_auth_failure(key: ProviderKey, failed_at: datetime, now: datetime) -> ProviderKey | None:
    """Return the key scheduled for a test after an auth failure in a call; null if nothing changes.

    A failure from before the last test needs no other test: batches of attempts can arrive late and twice.
    """
    last = key.last_test.tested_at if key.last_test else None
    if key.status in _RANK or key.status is KeyStatus.INVALID or (last is not None and failed_at <= last):
        return None
    at = now if last is None else max(now, last + MIN_TEST_INTERVAL)
    if key.next_test_at is not None and key.next_test_at <= at:
        return None
    return key.model_copy(update={"next_test_at": at})


def is_expired(key: ProviderKey, now: datetime) -> bool:
    """Return whether a key's expiry date has passed and its status does not show it yet."""
    late = key.expires_at is not None and key.expires_at <= now
    return late and status_after(key, Event.RAN_OUT) is not key.status


def _schedule(key: ProviderKey, since: datetime, after: timedelta | None, jitter: float) -> ProviderKey:
    """Return the key with the time of its next check: a test, or its expiry if that comes first."""
    times = [] if after is None else [since + after * (1 - _SPREAD + 2 * _SPREAD * jitter)]
    if key.expires_at is not None and status_after(key, Event.RAN_OUT) is not key.status:
        times.append(key.expires_at)
    return key.model_copy(update={"next_test_at": min(times, default=None)})


def reschedule(key: ProviderKey, now: datetime, jitter: float) -> ProviderKey:
    """Return the key rescheduled after an edit: by its last test, or at once where there is none."""
    if key.last_test is None:
        return _schedule(key, now, None if _until_next_test(key) is None else timedelta(), jitter)
    return _schedule(key, key.last_test.tested_at, _until_next_test(key), jitter)


def month_of(now: datetime) -> str:
    """Return the calendar month (UTC) in the format of `KeySpend.month`."""
    return now.astimezone(UTC).strftime("%Y-%m")


def age_days(since: datetime, now: datetime) -> int:
    """Return whole days, not negative if the clock was set back."""
    return max(0, (now - since) // timedelta(days=1))


def _until_next_test(key: ProviderKey) -> timedelta | None:
    """Return the time from the last test to the next; null for no test."""
    if key.status in (KeyStatus.EXPIRED, KeyStatus.UNDECRYPTABLE):
        return None
    if key.status is KeyStatus.DISABLED:
        return FORCED_AFTER
    conclusive = key.last_test is None or classify_test(key.last_test) is not Event.INCONCLUSIVE
    return RETEST_EVERY if conclusive else RETRY_AFTER


def _stronger(status: KeyStatus, condition: KeyStatus) -> KeyStatus:
    ranks = {kind: rank for rank, kind in enumerate(_RANK)}
    return condition if ranks[condition] >= ranks.get(status, -1) else status
