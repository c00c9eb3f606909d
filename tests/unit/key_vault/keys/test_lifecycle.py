"""The state machine of keys, and when they are tested again."""

from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.key import USABLE, KeyStatus, KeyTestResult
from services.key_vault.keys import lifecycle
from services.key_vault.keys.lifecycle import Event
from tests.unit.key_vault.keys.stored_keys import NOW, check, key

STATUSES = st.sampled_from(KeyStatus)
EVENTS = st.sampled_from(Event)
JITTER = st.floats(0, 1)
NO_CONDITION = (KeyStatus.UNTESTED, KeyStatus.VALID, KeyStatus.DEGRADED, KeyStatus.INVALID)
RESTING = st.sampled_from(NO_CONDITION)
FAILURES = st.none() | st.sampled_from(FailureClass)


@given(STATUSES, EVENTS, RESTING)
def test_only_a_rejection_makes_a_key_invalid(status: KeyStatus, event: Event, resting: KeyStatus) -> None:
    after = lifecycle.transition(status, event, resting)
    if after is KeyStatus.INVALID and status is not KeyStatus.INVALID:
        assert event is Event.REJECTED or resting is KeyStatus.INVALID


@given(FAILURES, st.sampled_from(KeyTestResult))
def test_only_authentication_failures_reject_a_key(failure: FailureClass | None, result: KeyTestResult) -> None:
    event = lifecycle.classify_test(check(result, failure))
    assert (event is Event.REJECTED) == (result is KeyTestResult.INVALID and failure is FailureClass.AUTH)


@pytest.mark.parametrize(
    "failure",
    [
        FailureClass.RATE_LIMIT,
        FailureClass.OVERLOADED,
        FailureClass.TIMEOUT,
        FailureClass.SERVER,
        FailureClass.UNREACHABLE,
    ],
)
@pytest.mark.parametrize("result", [KeyTestResult.INVALID, KeyTestResult.DEGRADED, KeyTestResult.INCONCLUSIVE])
@pytest.mark.parametrize("status", list(KeyStatus))
def test_provider_outage_leaves_every_status(failure: FailureClass, result: KeyTestResult, status: KeyStatus) -> None:
    assert lifecycle.apply_test(key(status=status), check(result, failure), 0.5).status is status


@given(STATUSES, EVENTS, RESTING)
def test_no_test_ends_a_manual_or_date_status(status: KeyStatus, event: Event, resting: KeyStatus) -> None:
    after = lifecycle.transition(status, event, resting)
    lifting = {
        KeyStatus.DISABLED: Event.SWITCHED_ON,
        KeyStatus.EXPIRED: Event.EXTENDED,
        KeyStatus.UNDECRYPTABLE: Event.FOUND,
    }
    if status in lifting and after in USABLE:
        assert event in (lifting[status], Event.REPLACED)
        assert event is not Event.REPLACED or status is KeyStatus.UNDECRYPTABLE


@given(st.lists(EVENTS, max_size=12), RESTING)
def test_events_are_idempotent(events: list[Event], resting: KeyStatus) -> None:
    status = KeyStatus.UNTESTED
    for event in events:
        once = lifecycle.transition(status, event, resting)
        assert lifecycle.transition(once, event, resting) is once
        status = once


@pytest.mark.parametrize(
    ("status", "event", "after"),
    [
        (KeyStatus.UNTESTED, Event.ACCEPTED, KeyStatus.VALID),
        (KeyStatus.VALID, Event.FELL_SHORT, KeyStatus.DEGRADED),
        (KeyStatus.DEGRADED, Event.ACCEPTED, KeyStatus.VALID),
        (KeyStatus.VALID, Event.REJECTED, KeyStatus.INVALID),
        (KeyStatus.INVALID, Event.ACCEPTED, KeyStatus.VALID),
        (KeyStatus.VALID, Event.RAN_OUT, KeyStatus.EXPIRED),
        (KeyStatus.DISABLED, Event.RAN_OUT, KeyStatus.DISABLED),
        (KeyStatus.EXPIRED, Event.SWITCHED_OFF, KeyStatus.DISABLED),
        (KeyStatus.EXPIRED, Event.EXTENDED, KeyStatus.DEGRADED),
        (KeyStatus.DISABLED, Event.SWITCHED_ON, KeyStatus.DEGRADED),
        (KeyStatus.VALID, Event.LOST, KeyStatus.UNDECRYPTABLE),
        (KeyStatus.UNDECRYPTABLE, Event.SWITCHED_OFF, KeyStatus.UNDECRYPTABLE),
        (KeyStatus.UNDECRYPTABLE, Event.FOUND, KeyStatus.DEGRADED),
        (KeyStatus.INVALID, Event.REPLACED, KeyStatus.UNTESTED),
        (KeyStatus.DISABLED, Event.REPLACED, KeyStatus.DISABLED),
    ],
)
def test_transition_table(status: KeyStatus, event: Event, after: KeyStatus) -> None:
    assert lifecycle.transition(status, event, KeyStatus.DEGRADED) is after


@given(JITTER)
def test_key_is_retested_after_about_a_week(jitter: float) -> None:
    again = lifecycle.apply_test(key(), check(), jitter).next_test_at
    assert again is not None
    assert timedelta(days=6.3) <= again - NOW <= timedelta(days=7.7)


def test_jitter_spreads_tests() -> None:
    times = [lifecycle.apply_test(key(), check(), jitter / 10).next_test_at for jitter in range(11)]
    assert all(earlier < later for earlier, later in pairwise(time for time in times if time is not None))
    assert len(set(times)) == 11


def test_disabled_key_is_tested_after_ninety_days() -> None:
    off = lifecycle.reschedule(key(status=KeyStatus.DISABLED, last=check()), NOW, 0.5)
    assert off.next_test_at == NOW + timedelta(days=90)


def test_inconclusive_test_is_repeated_after_an_hour() -> None:
    again = lifecycle.apply_test(key(), check(KeyTestResult.INCONCLUSIVE, FailureClass.TIMEOUT), 0.5)
    assert again.next_test_at == NOW + timedelta(hours=1)
    assert again.status is KeyStatus.VALID


def test_enabled_untested_key_is_tested_at_once() -> None:
    assert lifecycle.reschedule(key(status=KeyStatus.UNTESTED), NOW, 0.5).next_test_at == NOW


def test_next_check_is_at_expiry_if_sooner() -> None:
    soon = NOW + timedelta(hours=3)
    looked_at = lifecycle.apply_test(key(expires_at=soon), check(), 0.5)
    assert looked_at.next_test_at == soon
    assert not lifecycle.is_expired(looked_at, soon - timedelta(seconds=1))
    assert lifecycle.is_expired(looked_at, soon)
    assert not lifecycle.is_expired(key(status=KeyStatus.EXPIRED, expires_at=NOW), NOW), "once is enough"


def test_expired_key_is_not_tested() -> None:
    assert (
        lifecycle.reschedule(key(status=KeyStatus.EXPIRED, last=check(), expires_at=NOW), NOW, 0.5).next_test_at is None
    )


def test_months_are_in_utc() -> None:
    east = timezone(timedelta(hours=3))
    assert lifecycle.month_of(datetime(2027, 1, 1, 1, tzinfo=east)) == "2026-12"


def test_401_in_a_call_schedules_a_test_at_once() -> None:
    tested = key(last=check(at=NOW - timedelta(days=2)), next_test_at=NOW + timedelta(days=5))
    refused = lifecycle.schedule_after_auth_failure(tested, NOW - timedelta(seconds=1), NOW)
    assert refused is not None
    assert refused.next_test_at == NOW
    assert refused.status is KeyStatus.VALID, "the test decides, not the call"
    assert lifecycle.schedule_after_auth_failure(refused, NOW, NOW) is None, "it is due already"


def test_burst_of_401s_causes_one_test() -> None:
    just_tested = key(last=check(at=NOW), next_test_at=NOW + timedelta(days=7))
    again = lifecycle.schedule_after_auth_failure(just_tested, NOW + timedelta(seconds=1), NOW + timedelta(seconds=1))
    assert again is not None
    assert again.next_test_at == NOW + lifecycle.MIN_TEST_INTERVAL


def test_401_from_before_the_last_test_changes_nothing() -> None:
    assert lifecycle.schedule_after_auth_failure(key(last=check(at=NOW)), NOW - timedelta(minutes=1), NOW) is None


@pytest.mark.parametrize("status", [KeyStatus.INVALID, KeyStatus.DISABLED, KeyStatus.EXPIRED])
def test_401_of_an_unused_key_changes_nothing(status: KeyStatus) -> None:
    assert lifecycle.schedule_after_auth_failure(key(status=status), NOW, NOW) is None
