"""The watermark: behind every attempt without a stored record, and a promise that none begins behind it."""

import random

from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.credit import RETIRED_UNIX_MS, Hold, Reservation
from services.provider_worker.settlement import SettlementTracker

NOW = 1_800_000_000_000


def until(end_ms: int) -> Reservation:
    return Reservation(holds=[Hold(lease_id="l1", account="credits/acme", amount=5)], not_after_unix_ms=end_ms)


def test_without_attempts_it_is_now() -> None:
    assert SettlementTracker().watermark(NOW) == NOW


def test_the_oldest_unsettled_reservation_bounds_it() -> None:
    tracker = SettlementTracker()
    assert tracker.begin("a", until(NOW + 20_000), NOW)
    assert tracker.begin("b", until(NOW + 10_000), NOW)
    assert tracker.watermark(NOW + 30_000) == NOW + 10_000
    tracker.settled("b")
    assert tracker.watermark(NOW + 30_000) == NOW + 20_000
    tracker.settled("a")
    assert tracker.watermark(NOW + 30_000) == NOW + 30_000


def test_it_is_never_ahead_of_the_clock() -> None:
    tracker = SettlementTracker()
    assert tracker.begin("a", until(NOW + 20_000), NOW)
    assert tracker.watermark(NOW + 1) == NOW + 1


def test_an_attempt_may_begin_until_its_reservation_ends() -> None:
    tracker = SettlementTracker()
    assert tracker.begin("a", until(NOW), NOW)
    assert not tracker.begin("b", until(NOW - 1), NOW)
    assert len(tracker) == 1


def test_a_promise_holds_when_the_clock_is_set_back() -> None:
    tracker = SettlementTracker()
    assert tracker.watermark(NOW) == NOW
    assert not tracker.begin("a", until(NOW - 1), NOW - 60_000)
    assert tracker.begin("b", until(NOW), NOW - 60_000)


def test_what_an_earlier_process_left_is_unsettled() -> None:
    tracker = SettlementTracker()
    tracker.restore([("a", until(NOW - 50_000)), ("b", until(NOW - 40_000))])
    assert tracker.watermark(NOW) == NOW - 50_000
    tracker.settled("a")
    assert tracker.watermark(NOW) == NOW - 40_000


def test_a_worker_retires_only_with_every_record_stored() -> None:
    tracker = SettlementTracker()
    assert tracker.begin("a", until(NOW + 10), NOW)
    assert tracker.retire() is None
    tracker.settled("a")
    assert tracker.retire() == RETIRED_UNIX_MS
    assert not tracker.begin("b", until(NOW + 10), NOW)


def test_settling_twice_or_something_unknown_changes_nothing() -> None:
    tracker = SettlementTracker()
    assert tracker.begin("a", until(NOW + 10), NOW)
    tracker.settled("a")
    tracker.settled("a")
    tracker.settled("unknown")
    assert tracker.watermark(NOW + 100) == NOW + 100


@given(st.integers(0, 2**32))
def test_a_watermark_keeps_its_promise(seed: int) -> None:
    chance = random.Random(seed)
    tracker = SettlementTracker()
    now, promised = NOW, 0
    unsettled: dict[str, int] = {}
    for step in range(80):
        now += chance.choice([0, 1, 50, 3000, -200])
        match chance.randrange(3):
            case 0:
                end = now + chance.randrange(-3000, 30_000)
                began = tracker.begin(str(step), until(end), now)
                assert began is (end >= max(now, promised))
                if began:
                    unsettled[str(step)] = end
            case 1 if unsettled:
                one = chance.choice(sorted(unsettled))
                del unsettled[one]
                tracker.settled(one)
            case _:
                watermark = tracker.watermark(now)
                assert watermark == min([now, *unsettled.values()])
                promised = max(promised, watermark)
    assert len(tracker) == len(unsettled)
