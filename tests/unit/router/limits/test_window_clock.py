"""The time of windows never goes back, and never stands still."""

from hypothesis import given
from hypothesis import strategies as st

from services.router.limits.window_clock import WindowClock

READINGS = st.lists(st.tuples(st.integers(0, 10**14), st.integers(0, 10**6)), min_size=2, max_size=50)


@given(READINGS)
def test_it_never_goes_back_whatever_the_clock_does(readings: list[tuple[int, int]]) -> None:
    clock, monotonic, last = WindowClock(), 0, -1
    for wall_ms, elapsed in readings:
        monotonic += elapsed
        now = clock.advance(wall_ms, monotonic)
        assert now >= last
        last = now


def test_after_a_jump_back_it_goes_on_at_the_pace_of_the_monotonic_clock() -> None:
    clock = WindowClock()
    assert clock.advance(1_000_000, 0) == 1_000_000
    assert clock.advance(400_000, 250) == 1_000_250
    assert clock.advance(400_100, 61_000) == 1_061_000
    assert clock.advance(1_061_500, 61_500) == 1_061_500


def test_after_a_jump_forward_it_follows() -> None:
    clock = WindowClock()
    clock.advance(1_000_000, 0)
    assert clock.advance(99_000_000, 10) == 99_000_000
