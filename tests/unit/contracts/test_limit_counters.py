"""What is added to the counters of limits while a request is answered, and when it has ended."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.limit_counters import (
    EPOCH_MS,
    SKEW_MS,
    WINDOW_MS,
    add_tokens,
    counter_subject,
    renew,
    settle,
)
from keyferry.contracts.limits import Admission, HeldCount, LimitKind

NOW_MS = 1_800_000_000_000
WINDOW, EPOCH = NOW_MS // WINDOW_MS, NOW_MS // EPOCH_MS
TOKENS = HeldCount(kind=LimitKind.TPM, window=WINDOW, amount=100)
PLACE = HeldCount(kind=LimitKind.CONCURRENCY, client_token_id="tok_1", window=EPOCH, amount=1)
HELD = Admission(held=[TOKENS, PLACE])


def subject(kind: str, scope: str, window: int) -> str:
    return f"kf.v1.limit.counted.{kind}.acme.{scope}.{window}"


@pytest.mark.parametrize(
    ("used", "later_ms", "expected"),
    [
        (30, 0, [(subject("tpm", "-", WINDOW), -70)]),
        (130, 0, [(subject("tpm", "-", WINDOW), 30)]),
        (100, 0, []),
        (None, 0, []),
        (30, WINDOW_MS, []),
        (130, WINDOW_MS, [(subject("tpm", "-", WINDOW + 1), 30)]),
    ],
)
def test_real_usage_replaces_the_estimate(used: int | None, later_ms: int, expected: list[tuple[str, int]]) -> None:
    place = (subject("concurrency", "tok_1", EPOCH), -1)
    assert settle(HELD, "acme", used, NOW_MS + later_ms) == [*expected, place]


def test_a_failed_attempt_that_was_charged_counts_beside_the_next_one() -> None:
    assert add_tokens(HELD, "acme", 12, NOW_MS) == [(subject("tpm", "-", WINDOW), 12)]
    assert add_tokens(HELD, "acme", 0, NOW_MS) == []


def test_a_place_moves_into_the_present_epoch_without_a_moment_in_which_it_does_not_count() -> None:
    assert renew(HELD, "acme", NOW_MS) == (HELD, [])
    moved, increments = renew(HELD, "acme", NOW_MS + EPOCH_MS + SKEW_MS)
    assert increments == [(subject("concurrency", "tok_1", EPOCH + 1), 1), (subject("concurrency", "tok_1", EPOCH), -1)]
    assert moved.held == [TOKENS, PLACE.model_copy(update={"window": EPOCH + 1})]
    assert settle(moved, "acme", 100, NOW_MS)[-1] == (subject("concurrency", "tok_1", EPOCH + 1), -1)


@given(st.integers(0, 4 * EPOCH_MS), st.integers(-SKEW_MS, SKEW_MS))
def test_a_place_counts_for_a_router_whose_clock_differs(later_ms: int, skew_ms: int) -> None:
    held, _ = renew(HELD, "acme", NOW_MS + later_ms)
    epoch_of_router = (NOW_MS + later_ms + skew_ms) // EPOCH_MS
    assert held.held[1].window in (epoch_of_router, epoch_of_router - 1) or later_ms < SKEW_MS


def test_a_place_that_a_wrong_clock_has_put_into_a_later_epoch_comes_back() -> None:
    ahead = Admission(held=[PLACE.model_copy(update={"window": EPOCH + 120})])
    moved, increments = renew(ahead, "acme", NOW_MS + SKEW_MS)
    assert moved.held == [PLACE]
    assert increments == [
        (subject("concurrency", "tok_1", EPOCH), 1),
        (subject("concurrency", "tok_1", EPOCH + 120), -1),
    ]


@given(st.lists(st.integers(0, 10 * EPOCH_MS), max_size=20))
def test_renewing_and_settling_leaves_nothing_behind(times: list[int]) -> None:
    counters: dict[str, int] = {subject("concurrency", "tok_1", EPOCH): 1, subject("tpm", "-", WINDOW): 100}
    held = HELD
    for time in sorted(times):
        held, increments = renew(held, "acme", NOW_MS + time)
        for name, amount in increments:
            counters[name] = counters.get(name, 0) + amount
    for name, amount in settle(held, "acme", 0, NOW_MS):
        counters[name] = counters.get(name, 0) + amount
    assert set(counters.values()) == {0}


@pytest.mark.parametrize("token", ["a.b", "*", ">", "ü", "x" * 200])
def test_any_token_id_is_one_token_of_the_subject(token: str) -> None:
    made = counter_subject(LimitKind.RPM, "acme", token, window=1)
    assert made.count(".") == 7
    assert made.isascii()
    assert not set("*> ") & set(made)
