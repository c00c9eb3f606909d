"""Delays before retries, what fits into a deadline, and the part of the time that an attempt may take."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.fallback.delays import (
    MIN_ANSWER_MS,
    first_answer_within_ms,
    fits,
    retry_delay_ms,
    wait_ms,
)
from tests.support.router.simulated_requests import EPOCH

REQUESTS = [f"req_{number}" for number in range(400)]


@pytest.mark.parametrize(("retry", "most_ms"), [(1, 250), (2, 500), (3, 1000), (6, 8000), (60, 8000)])
def test_delays_are_spread_over_the_whole_of_a_doubling_range_up_to_eight_seconds(retry: int, most_ms: int) -> None:
    delays = [retry_delay_ms(request, retry, None, EPOCH) for request in REQUESTS]
    assert max(delays) <= most_ms
    assert max(delays) > 0.9 * most_ms
    assert min(delays) < 0.1 * most_ms
    assert 0.4 * most_ms < sum(delays) / len(delays) < 0.6 * most_ms


def test_the_same_request_gets_the_same_delay_and_its_next_retry_another() -> None:
    assert retry_delay_ms("req_1", 1, None, EPOCH) == retry_delay_ms("req_1", 1, None, EPOCH)
    fractions = {retry_delay_ms("req_1", retry, None, EPOCH) / 2**retry for retry in (1, 2, 3)}
    assert len(fractions) == 3


@given(st.integers(0, 600_000), st.text(max_size=20))
def test_a_pause_is_waited_out_and_no_more_than_a_quarter_of_a_second_longer(pause_ms: int, request_id: str) -> None:
    delay = wait_ms(request_id, EPOCH + timedelta(milliseconds=pause_ms), EPOCH)
    assert pause_ms <= delay <= pause_ms + 250
    assert retry_delay_ms(request_id, 1, EPOCH + timedelta(milliseconds=pause_ms), EPOCH) >= pause_ms


def test_a_pause_that_is_over_is_not_waited_for() -> None:
    assert wait_ms("req_1", EPOCH - timedelta(hours=1), EPOCH) <= 250


@given(st.integers(1, 5), st.integers(0, 10**9), st.sampled_from(REQUESTS))
def test_a_retry_after_that_is_over_makes_no_delay_shorter(retry: int, ago_ms: int, request_id: str) -> None:
    """`Retry-After: 0`, a negative one or a date in the past is no invitation to come back without a delay."""
    over = EPOCH - timedelta(milliseconds=ago_ms)
    assert retry_delay_ms(request_id, retry, over, EPOCH) >= retry_delay_ms(request_id, retry, None, EPOCH)


@given(st.integers(0, 100_000), st.integers(0, 100_000), st.integers(0, 100_000))
def test_a_wait_leaves_time_for_the_answer(delay_ms: int, deadline_ms: int, longest_ms: int) -> None:
    if fits(delay_ms, deadline_ms, longest_ms):
        assert deadline_ms - delay_ms >= MIN_ANSWER_MS
        assert delay_ms <= longest_ms


def test_without_a_deadline_nobody_waits() -> None:
    assert not fits(0, None, 30_000)


@given(st.integers(0, 10_000_000))
def test_an_attempt_leaves_the_others_a_third_of_the_time_or_half_a_minute(deadline_ms: int) -> None:
    assert first_answer_within_ms(deadline_ms, others=False) is None
    within_ms = first_answer_within_ms(deadline_ms, others=True)
    if within_ms is not None:
        left_ms = deadline_ms - within_ms
        assert left_ms == min(deadline_ms // 3, 30_000)
        assert within_ms >= 1000


@pytest.mark.parametrize(
    ("deadline_ms", "within_ms"), [(30_000, 20_000), (600_000, 570_000), (3000, 2000), (1000, None)]
)
def test_parts_of_deadlines(deadline_ms: int, within_ms: int | None) -> None:
    assert first_answer_within_ms(deadline_ms, others=True) == within_ms
