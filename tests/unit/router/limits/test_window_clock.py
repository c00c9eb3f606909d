"""The time of windows goes on whatever the system's clock does, and comes back to it."""

from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.limit_counters import SKEW_MS, WINDOW_MS
from services.router.limits.window_clock import WindowClock

READINGS = st.lists(st.tuples(st.integers(0, 10**14), st.integers(0, 10**6)), min_size=2, max_size=50)


@given(READINGS)
def test_it_never_goes_back_within_a_window_whatever_the_clock_does(readings: list[tuple[int, int]]) -> None:
    clock, monotonic, last = WindowClock(), 0, -1
    for wall_ms, elapsed in readings:
        monotonic += elapsed
        now = clock.advance(wall_ms, monotonic)
        over = (last + elapsed) // WINDOW_MS > last // WINDOW_MS
        assert now >= last or (over and now == wall_ms)
        last = now


@given(READINGS, st.integers(0, 10**14))
def test_a_minute_later_it_shows_what_other_routers_clocks_show(readings: list[tuple[int, int]], wall_ms: int) -> None:
    clock, monotonic = WindowClock(), 0
    for wrong_ms, elapsed in readings:
        monotonic += elapsed
        clock.advance(wrong_ms, monotonic)
    for step_ms in range(0, WINDOW_MS + 1, 1000):
        now = clock.advance(wall_ms + step_ms, monotonic + step_ms)
    assert abs(now - (wall_ms + WINDOW_MS)) <= SKEW_MS


def test_after_a_jump_back_it_goes_on_at_the_pace_of_the_monotonic_clock_until_its_window_ends() -> None:
    clock = WindowClock()
    assert clock.advance(1_000_000, 0) == 1_000_000
    assert clock.advance(400_000, 250) == 1_000_250
    assert clock.advance(419_740, 19_990) == 1_019_990
    assert clock.advance(419_750, 20_000) == 419_750


def test_a_small_step_back_opens_no_window_twice() -> None:
    clock = WindowClock()
    assert clock.advance(1_020_100, 0) == 1_020_100
    assert clock.advance(1_019_900, 10) == 1_020_110
    assert clock.advance(1_079_890, 60_000) == 1_079_890


def test_after_a_jump_forward_it_follows() -> None:
    clock = WindowClock()
    clock.advance(1_000_000, 0)
    assert clock.advance(99_000_000, 10) == 99_000_000
