"""The life of a provider key: what happens to it, what it is then, and when the vault looks at it again.

Only an authentication answer of its provider condemns a key. A timeout, a 5xx or a 429 says something about the provider and
nothing about the key, so it leaves the status as it is.
"""

from datetime import UTC, datetime, timedelta
from enum import StrEnum

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.key import KeyStatus, KeyTest, KeyTestResult, ProviderKey

RETEST_EVERY = timedelta(days=7)
FORCED_AFTER = timedelta(days=90)
"""Keys that are switched off are left alone for this long; then they are tested all the same, so that no age goes unseen."""
RETRY_AFTER = timedelta(hours=1)
"""After a test that could tell nothing."""
NOT_MORE_OFTEN_THAN = timedelta(minutes=5)
"""Between two tests that refused calls ask for: a burst of 401 answers is one piece of news."""
_SPREAD = 0.1
"""Keys that were added together are not tested together."""

SAYS_NOTHING = frozenset(
    {
        FailureClass.RATE_LIMIT,
        FailureClass.OVERLOADED,
        FailureClass.TIMEOUT,
        FailureClass.SERVER,
        FailureClass.TRUNCATED,
        FailureClass.UNREACHABLE,
        FailureClass.LIMIT,
        FailureClass.UNAVAILABLE,
        FailureClass.EXPIRED,
        FailureClass.CANCELLED,
        FailureClass.INDETERMINATE,
        FailureClass.INTERNAL,
    }
)
"""Failures of a test from which nothing about the key follows, whatever the test concludes."""


class Event(StrEnum):
    """What can happen to a key."""

    ACCEPTED = "accepted"
    """A test went through."""
    FELL_SHORT = "fell_short"
    """The provider knows the key; money, a region or a model is missing."""
    REJECTED = "rejected"
    """The provider does not know the key."""
    INCONCLUSIVE = "inconclusive"
    """A test could tell nothing."""
    REPLACED = "replaced"
    """Another secret took its place; a test of that one follows."""
    RAN_OUT = "ran_out"
    """Its date has passed."""
    EXTENDED = "extended"
    """Its date was moved to the future, or taken away."""
    SWITCHED_OFF = "switched_off"
    SWITCHED_ON = "switched_on"
    LOST = "lost"
    """The vault cannot open its record."""
    FOUND = "found"
    """The vault can open its record again."""


_TESTED = {
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
"""Conditions that no test lifts; the later hides the earlier."""


def transition(status: KeyStatus, event: Event, resting: KeyStatus) -> KeyStatus:
    """What a key in `status` is after `event`. `resting` is what its last test said (`resting`), for conditions that end."""
    if event in _TESTED:
        return status if status in _RANK else _TESTED[event]
    if event in _ENDS:
        return resting if status is _ENDS[event] else status
    if event in _BEGINS:
        return _stronger(status, _BEGINS[event])
    if event is Event.REPLACED:
        # A new record can be opened; what a person or a date decided about the key still holds.
        return status if status in (KeyStatus.DISABLED, KeyStatus.EXPIRED) else KeyStatus.UNTESTED
    return status


def classify_test(check: KeyTest) -> Event:
    """What a test means for its key, whatever it concludes: a worker's word condemns nothing without the provider's."""
    if check.result is KeyTestResult.VALID:
        return Event.ACCEPTED
    if check.failure_class in SAYS_NOTHING:
        return Event.INCONCLUSIVE
    if check.result is KeyTestResult.INVALID:
        return Event.REJECTED if check.failure_class is FailureClass.AUTH else Event.INCONCLUSIVE
    return Event.FELL_SHORT if check.result is KeyTestResult.DEGRADED else Event.INCONCLUSIVE


def resting(check: KeyTest | None) -> KeyStatus:
    """What a key is by its last test alone."""
    return KeyStatus.UNTESTED if check is None else _TESTED.get(classify_test(check), KeyStatus.UNTESTED)


def happened(key: ProviderKey, event: Event) -> KeyStatus:
    """`transition` for a stored key."""
    return transition(key.status, event, resting(key.last_test))


def tested(key: ProviderKey, check: KeyTest, jitter: float) -> ProviderKey:
    """The key with what a test found. `jitter` is a number from 0 to 1."""
    status = happened(key, classify_test(check))
    changed = key.model_copy(update={"status": status, "last_test": check, "models": check.models or key.models})
    return scheduled(changed, check.tested_at, _until_next_test(changed), jitter)


def refused_upstream(key: ProviderKey, refused_at: datetime, now: datetime) -> ProviderKey | None:
    """The key, to be tested at once, because its provider refused it in a call; null where that is no news.

    A refusal from before the last test is answered by that test: packs of attempts can come late and twice.
    """
    last = key.last_test.tested_at if key.last_test else None
    if key.status in _RANK or key.status is KeyStatus.INVALID or (last is not None and refused_at <= last):
        return None
    at = now if last is None else max(now, last + NOT_MORE_OFTEN_THAN)
    if key.next_test_at is not None and key.next_test_at <= at:
        return None
    return key.model_copy(update={"next_test_at": at})


def over_time(key: ProviderKey, now: datetime) -> bool:
    """Whether a key's date has passed and its status does not say so yet."""
    late = key.expires_at is not None and key.expires_at <= now
    return late and happened(key, Event.RAN_OUT) is not key.status


def scheduled(key: ProviderKey, since: datetime, after: timedelta | None, jitter: float) -> ProviderKey:
    """The key with the moment at which the vault looks at it next: to test it, or because its date comes before that."""
    times = [] if after is None else [since + after * (1 - _SPREAD + 2 * _SPREAD * jitter)]
    if key.expires_at is not None and happened(key, Event.RAN_OUT) is not key.status:
        times.append(key.expires_at)
    return key.model_copy(update={"next_test_at": min(times, default=None)})


def rescheduled(key: ProviderKey, now: datetime, jitter: float) -> ProviderKey:
    """The key after a change that was no test: looked at when its last test asks for it, at once where there is none."""
    if key.last_test is None:
        return scheduled(key, now, None if _until_next_test(key) is None else timedelta(), jitter)
    return scheduled(key, key.last_test.tested_at, _until_next_test(key), jitter)


def month_of(now: datetime) -> str:
    """The calendar month (UTC) as `KeySpend.month` spells it."""
    return now.astimezone(UTC).strftime("%Y-%m")


def _until_next_test(key: ProviderKey) -> timedelta | None:
    """From the last test on; null where no test is to come."""
    if key.status in (KeyStatus.EXPIRED, KeyStatus.UNDECRYPTABLE):
        return None
    if key.status is KeyStatus.DISABLED:
        return FORCED_AFTER
    known = key.last_test is None or classify_test(key.last_test) is not Event.INCONCLUSIVE
    return RETEST_EVERY if known else RETRY_AFTER


def _stronger(status: KeyStatus, condition: KeyStatus) -> KeyStatus:
    ranks = {kind: rank for rank, kind in enumerate(_RANK)}
    return condition if ranks[condition] >= ranks.get(status, -1) else status
