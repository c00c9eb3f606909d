"""Failures are limited by client address, in bounded memory, and are forgiven with time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.runtime.http.address_limiter import AddressLimiter
from keyferry.runtime.http.problem import HttpProblem

HOME = "203.0.113.7"


def test_an_address_may_fail_so_often_at_once_and_then_as_often_in_each_minute() -> None:
    limiter = AddressLimiter(20)
    for _ in range(20):
        limiter.take(HOME, 100.0)
    with pytest.raises(HttpProblem) as raised:
        limiter.take(HOME, 100.0)
    assert (raised.value.status, raised.value.code, raised.value.headers) == (
        429,
        "too_many_attempts",
        {"retry-after": "3"},
    )
    limiter.take("203.0.113.8", 100.0)
    limiter.take(HOME, 103.0)
    with pytest.raises(HttpProblem):
        limiter.take(HOME, 103.0)
    for _ in range(20):
        limiter.take(HOME, 200.0)


def test_what_is_refused_does_not_prolong_the_wait() -> None:
    limiter = AddressLimiter(20)
    for _ in range(1000):
        limiter.count(HOME, 5.0)
    assert limiter.retry_after_seconds(HOME, 5.0) == 3
    assert limiter.retry_after_seconds(HOME, 8.0) == 0


def test_an_ipv6_network_is_one_client_and_an_ipv4_mapped_address_is_its_ipv4_address() -> None:
    limiter = AddressLimiter(1)
    limiter.take("2001:db8:1:2::1", 0.0)
    assert limiter.retry_after_seconds("2001:db8:1:2:ffff::9", 0.0) == 60
    assert limiter.retry_after_seconds("2001:db8:1:3::1", 0.0) == 0
    limiter.take(HOME, 0.0)
    assert limiter.retry_after_seconds(f"::ffff:{HOME}", 0.0) == 60


@pytest.mark.parametrize("address", ["", "unix:", "fe80::1%eth0", "x" * 10_000, "\x00"])
def test_what_is_no_address_is_counted_as_it_is(address: str) -> None:
    limiter = AddressLimiter(1)
    limiter.take(address, 0.0)
    with pytest.raises(HttpProblem):
        limiter.take(address, 0.0)


def test_memory_is_bounded_and_the_busiest_address_stays_limited() -> None:
    limiter = AddressLimiter(1, addresses=100)
    for number in range(100_000):
        limiter.count(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0.0)
        limiter.count(HOME, 0.0)
    assert len(limiter) == 100
    assert limiter.retry_after_seconds(HOME, 0.0) == 60


def test_a_clock_that_goes_back_locks_nobody_out() -> None:
    limiter = AddressLimiter(20)
    limiter.count(HOME, 1000.0)
    limiter.count(HOME, 10.0)
    assert limiter.retry_after_seconds(HOME, 10.0) == 0


@given(st.lists(st.floats(0, 30), max_size=200), st.integers(1, 50))
def test_no_minute_has_more_than_twice_the_rate(pauses: list[float], per_minute: int) -> None:
    limiter, now, taken = AddressLimiter(per_minute), 0.0, list[float]()
    for pause in pauses:
        now += pause
        if not limiter.retry_after_seconds(HOME, now):
            taken.append(now)
        limiter.count(HOME, now)
    for start in taken:
        assert sum(start <= at < start + 60 for at in taken) <= 2 * per_minute
