"""Exponential backoff: doubling, its bounds, and its jitter."""

from hypothesis import given
from hypothesis import strategies as st

from keyferry.runtime.backoff import Backoff, apply_jitter


def test_the_delay_doubles_from_the_first_to_the_longest() -> None:
    backoff = Backoff(0.5, 3.0)
    assert [backoff.delay_seconds(failures) for failures in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_any_number_of_failures_gives_the_longest_delay() -> None:
    assert Backoff(20.0, 1280.0).delay_seconds(1_000_000) == 1280.0


@given(chance=st.floats(0, 1), failures=st.integers(0, 100), jitter=st.floats(0, 1))
def test_jitter_shortens_a_delay_by_its_share_at_most(chance: float, failures: int, jitter: float) -> None:
    full = Backoff(0.05, 1.0).delay_seconds(failures)
    delay = Backoff(0.05, 1.0, jitter).delay_seconds(failures, chance)
    assert full * (1 - jitter) - 1e-9 <= delay <= full


def test_the_extremes_of_chance_are_the_bounds() -> None:
    assert apply_jitter(2.0, 0.5, 0.0) == 1.0
    assert apply_jitter(2.0, 0.5, 1.0) == 2.0
