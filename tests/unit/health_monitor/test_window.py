"""Sliding windows: their contents and their bounds."""

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.health_monitor.window import Latencies, SlidingCounts, Tally
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


def test_percentiles_are_nearest_rank() -> None:
    latencies = Latencies(seconds(300))
    assert latencies.percentiles(NOON) is None
    for latency_ms in range(1, 101):
        latencies.add(NOON, latency_ms)
    assert latencies.percentiles(NOON) == (50, 95)


def test_old_latencies_are_ignored_and_the_oldest_are_dropped() -> None:
    latencies = Latencies(seconds(300))
    latencies.add(NOON - seconds(300), 9)
    assert latencies.percentiles(NOON) is None
    for latency_ms in range(10_000):
        latencies.add(NOON, latency_ms)
    p50_ms, p95_ms = latencies.percentiles(NOON) or (0, 0)
    assert 9_700 < p50_ms < p95_ms < 10_000


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=100))
def test_percentiles_are_observed_latencies_in_order(latencies_ms: list[int]) -> None:
    latencies = Latencies(seconds(300))
    for latency_ms in latencies_ms:
        latencies.add(NOON, latency_ms)
    percentiles = latencies.percentiles(NOON)
    assert percentiles is not None
    assert {*percentiles} <= {*latencies_ms}
    assert min(latencies_ms) <= percentiles[0] <= percentiles[1] <= max(latencies_ms)
