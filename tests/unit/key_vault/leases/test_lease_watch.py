"""When a worker's lease requests raise an alarm, each bound at its limit."""

import pytest

from keyferry.contracts.lease_management import LeaseAlarm, LeaseAlarmReason
from services.key_vault.leases.lease_watch import (
    MOST_FURTHER_KEYS,
    MOST_REFUSALS,
    USUAL_KEYS,
    WINDOW_SECONDS,
    LeaseWatch,
)

NOW = 1_900_000_000_000
WINDOW_MS = WINDOW_SECONDS * 1000
ONE, TWO = "provider-worker-1", "provider-worker-2"


def refusals(watch: LeaseWatch, count: int, worker: str = ONE, now: int = NOW) -> list[LeaseAlarm | None]:
    return [watch.count_refusal(worker, "acme", now) for _ in range(count)]


def test_refusals_within_a_minute_raise_one_alarm() -> None:
    watch = LeaseWatch()
    *before, alarm = refusals(watch, MOST_REFUSALS)
    assert before == [None] * (MOST_REFUSALS - 1)
    assert alarm is not None
    assert (alarm.worker, alarm.reason, alarm.refusals) == (ONE, LeaseAlarmReason.REFUSALS, MOST_REFUSALS)
    assert f"{ONE} asked {MOST_REFUSALS} times for keys without a valid grant" in alarm.detail
    assert refusals(watch, 1000) == [None] * 1000, "one in a minute, and no flood"


def test_the_next_alarm_comes_after_a_minute_if_it_goes_on() -> None:
    watch = LeaseWatch()
    refusals(watch, MOST_REFUSALS)
    assert refusals(watch, MOST_REFUSALS, now=NOW + WINDOW_MS - 1)[-1] is None
    again = watch.count_refusal(ONE, "acme", NOW + WINDOW_MS)
    assert again is not None
    assert again.refusals == MOST_REFUSALS + 1, "the first ones are over"


def test_refusals_that_are_far_apart_raise_none() -> None:
    watch = LeaseWatch()
    apart = WINDOW_MS // (MOST_REFUSALS - 1)
    assert [watch.count_refusal(ONE, "acme", NOW + number * apart) for number in range(50)] == [None] * 50


def test_workers_are_counted_apart() -> None:
    watch = LeaseWatch()
    assert refusals(watch, MOST_REFUSALS - 1) == refusals(watch, MOST_REFUSALS - 1, TWO)
    alarm = watch.count_refusal(TWO, "acme", NOW)
    assert alarm is not None
    assert alarm.worker == TWO


def test_an_alarm_that_was_not_recorded_is_raised_again() -> None:
    watch = LeaseWatch()
    alarm = refusals(watch, MOST_REFUSALS)[-1]
    assert alarm is not None
    watch.retract(alarm)
    assert watch.count_refusal(ONE, "acme", NOW) is not None


def lease(watch: LeaseWatch, number: int, *, request: str, key: str = "key_1", now: int = NOW) -> LeaseAlarm | None:
    return watch.count_lease(ONE, f"tenant-{number % 3}", request, key, now)


def test_leases_are_limited_by_the_setting() -> None:
    watch = LeaseWatch(most_leases=50)
    raised = [lease(watch, number, request=f"req_{number}") for number in range(51)]
    assert raised[:-1] == [None] * 50
    alarm = raised[-1]
    assert alarm is not None
    assert (alarm.reason, alarm.leases, alarm.requests, alarm.tenants) == (LeaseAlarmReason.LEASES, 51, 51, 3)


def test_leases_over_more_than_a_minute_raise_none() -> None:
    watch = LeaseWatch(most_leases=50)
    apart = WINDOW_MS // 50
    assert not any(lease(watch, n, request=f"req_{n}", now=NOW + n * apart) for n in range(500))


def test_several_keys_for_each_request_raise_one() -> None:
    watch = LeaseWatch()
    raised = [
        lease(watch, 0, request=f"req_{number // 16}", key=f"key_{number}") for number in range(MOST_FURTHER_KEYS * 2)
    ]
    alarm = next(one for one in raised if one is not None)
    assert alarm.reason is LeaseAlarmReason.FURTHER_KEYS
    assert alarm.leases - alarm.requests * USUAL_KEYS == MOST_FURTHER_KEYS + 1
    assert sum(one is not None for one in raised) == 1


def test_the_same_key_again_for_a_request_is_no_further_key() -> None:
    watch = LeaseWatch()
    assert not any(lease(watch, 0, request="req_1") for _ in range(500))


@pytest.mark.parametrize("keys", [1, 2, USUAL_KEYS])
def test_fallback_and_retry_are_not_suspicious(keys: int) -> None:
    """While a provider is down, the requests of every tenant need a further key or two, within the same minute."""
    watch = LeaseWatch()
    for number in range(1000):
        for key in range(keys):
            assert lease(watch, number, request=f"req_{number}", key=f"key_{number}_{key}") is None


def test_keys_of_the_minute_before_are_not_counted() -> None:
    watch = LeaseWatch()
    for minute in range(3):
        for number in range(USUAL_KEYS + MOST_FURTHER_KEYS):
            assert lease(watch, 0, request="req_1", key=f"key_{number}", now=NOW + minute * WINDOW_MS) is None


def test_refusals_for_one_tenant_name_it() -> None:
    """Its program does not sign, or its clock is wrong; a worker that was broken into asks for those of many."""
    alarm = refusals(LeaseWatch(), MOST_REFUSALS)[-1]
    assert alarm is not None
    assert alarm.tenants == 1
    assert "for requests of acme: look at its programs first" in alarm.detail
    watch = LeaseWatch()
    many = [watch.count_refusal(ONE, f"tenant-{number}", NOW) for number in range(MOST_REFUSALS)][-1]
    assert many is not None
    assert many.tenants == MOST_REFUSALS
    assert "its programs" not in many.detail


def test_refusals_hide_no_other_alarm() -> None:
    watch = LeaseWatch(most_leases=50)
    assert refusals(watch, MOST_REFUSALS)[-1] is not None
    raised = [lease(watch, 0, request=f"req_{number}") for number in range(51)]
    assert [alarm.reason for alarm in raised if alarm is not None] == [LeaseAlarmReason.LEASES]


def test_an_alarm_says_what_to_do_on_one_line() -> None:
    alarm = refusals(LeaseWatch(), MOST_REFUSALS)[-1]
    assert alarm is not None
    assert LeaseAlarm.decode(alarm.encode()) == alarm
    assert alarm.detail.isprintable()
    assert "replace the keys that it leased" in alarm.detail
