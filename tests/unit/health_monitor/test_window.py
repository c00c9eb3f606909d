"""Sliding windows: their contents and their bounds."""

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.health_monitor.window import SlidingCounts, SlidingSketch, Tally
from tests.unit.health_monitor.attempts import NOON, seconds

SPAN, BUCKET = seconds(10), seconds(1)
moments = st.integers(0, 40_000).map(lambda ms: NOON + timedelta(milliseconds=ms))


def _since(ended: list[tuple[datetime, bool]], oldest: datetime) -> Tally:
    within = [failed for at, failed in ended if at > oldest]
    return Tally(len(within), sum(within))


@given(st.lists(st.tuples(moments, st.booleans()), max_size=80))
def test_the_window_covers_its_span_but_for_at_most_one_bucket(ended: list[tuple[datetime, bool]]) -> None:
    counts = SlidingCounts(SPAN)
    now, received = NOON, list[tuple[datetime, bool]]()
    for at, failed in ended:
        now = max(now, at)
        counts.add(at, now, failed=failed)
        received.append((at, failed))
        tally, least, most = counts.tally(now), _since(received, now - SPAN + BUCKET), _since(received, now - SPAN)
        assert least.attempts <= tally.attempts <= most.attempts
        assert least.failures <= tally.failures <= most.failures
    assert counts.tally(now + SPAN) == Tally()


def test_old_attempts_are_not_counted_and_reported_as_such() -> None:
    counts = SlidingCounts(SPAN)
    assert not counts.add(NOON - SPAN, NOON, failed=True)
    assert counts.add(NOON - SPAN + BUCKET, NOON, failed=True)
    assert counts.tally(NOON) == Tally(1, 1)


def test_the_future_counts_as_now() -> None:
    counts = SlidingCounts(SPAN)
    assert counts.add(NOON + seconds(3600), NOON, failed=True)
    assert counts.tally(NOON) == Tally(1, 1)
    assert counts.tally(NOON + SPAN) == Tally()


def test_a_clock_that_was_set_back_leaves_nothing_behind() -> None:
    counts = SlidingCounts(SPAN)
    counts.add(NOON, NOON, failed=True)
    assert counts.tally(NOON - seconds(3600)) == Tally()


def test_clear_removes_all_counts() -> None:
    counts = SlidingCounts(SPAN)
    counts.add(NOON, NOON, failed=False)
    counts.clear()
    assert counts.tally(NOON) == Tally()


def test_a_sliding_sketch_holds_the_latencies_of_its_span_only() -> None:
    latencies = SlidingSketch(SPAN)
    assert latencies.merged(NOON).percentile(50) is None
    latencies.add(NOON - SPAN, NOON, 9)
    assert len(latencies.merged(NOON)) == 0
    latencies.add(NOON, NOON, 100)
    latencies.add(NOON + seconds(3600), NOON, 100)
    assert len(latencies.merged(NOON)) == 2
    assert len(latencies.merged(NOON + SPAN)) == 0


def test_a_sliding_sketch_forgets_the_future_after_a_clock_was_set_back() -> None:
    latencies = SlidingSketch(SPAN)
    latencies.add(NOON, NOON, 100)
    assert len(latencies.merged(NOON - seconds(3600))) == 0


@given(st.lists(st.tuples(moments, st.integers(0, 10**6)), max_size=60))
def test_the_windows_of_a_sliding_sketch_add_up(ended: list[tuple[datetime, int]]) -> None:
    latencies, counts, now = SlidingSketch(SPAN), SlidingCounts(SPAN), NOON
    for at, latency_ms in ended:
        now = max(now, at)
        latencies.add(at, now, latency_ms)
        counts.add(at, now, failed=False)
        assert len(latencies.merged(now)) == counts.tally(now).attempts
