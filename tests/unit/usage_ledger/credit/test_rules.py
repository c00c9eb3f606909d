"""The rules of leases: what is granted, what attempts take of their holds, and when the rest may be released."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.credit import RETIRED_UNIX_MS, SKEW_MS
from services.usage_ledger.credit.rules import (
    PART,
    PLENTY,
    DueHold,
    LeaseBalance,
    StreamMark,
    Watermark,
    bounded,
    counted,
    given_back_now,
    grant_amount,
    may_release,
    passed,
    passed_until_ms,
    settle,
)

NOW = 1_800_000_000_000


@pytest.mark.parametrize(
    ("available", "need", "want", "granted"),
    [
        (0, 1, 100, None),
        (99, 100, 100, None),
        (100, 100, 800, 100),
        (PLENTY * 100 - 1, 100, 800, 100),
        (PLENTY * 100, 100, 300, 300),
        (PLENTY * 100, 100, 800, 500),
        (PLENTY * 100, 100, 50, 100),
        (10**15, 100, 10**12, 10**12),
        (-5, 0, 0, None),
        (0, 0, 0, 0),
    ],
)
def test_what_is_granted(available: int, need: int, want: int, granted: int | None) -> None:
    assert grant_amount(available, need, want) == granted


@pytest.mark.parametrize(("available", "granted"), [(0, None), (1, 1), (50, 1)])
def test_without_leases_in_advance_a_grant_is_for_one_attempt(available: int, granted: int | None) -> None:
    assert grant_amount(available, 1, 8, in_advance=False) == granted


@given(st.integers(-(10**15), 10**15), st.integers(0, 10**15), st.integers(0, 10**15))
def test_a_grant_covers_the_need_and_is_there(available: int, need: int, want: int) -> None:
    granted = grant_amount(available, need, want)
    if granted is None:
        assert available < need
    else:
        assert need <= granted <= available
        assert granted <= max(need, want)
        assert granted == need or granted * PART <= available


def test_an_attempt_takes_what_it_costs_and_returns_the_rest_of_its_hold() -> None:
    done = settle(LeaseBalance(1000), [DueHold(amount=300, due=120)])
    assert (done.captured, done.returned, done.absorbed) == (120, 180, 0)
    assert done.balance == LeaseBalance(1000, settled=300)
    assert done.balance.rest == 700


def test_an_attempt_costs_at_most_its_hold() -> None:
    done = settle(LeaseBalance(1000), [DueHold(300, 450), DueHold(300, 300)])
    assert (done.captured, done.returned, done.absorbed) == (600, 0, 150)


def test_a_lease_is_accounted_for_when_every_share_is_settled_or_given_back() -> None:
    assert settle(LeaseBalance(300), [DueHold(300, 10)]).balance.rest == 0
    assert settle(LeaseBalance(301), [DueHold(300, 10)]).balance.rest == 1
    assert settle(LeaseBalance(1000, given_back=700), [DueHold(300, 10)]).balance.rest == 0


def test_more_holds_than_the_lease_has_are_absorbed() -> None:
    done = settle(LeaseBalance(100, given_back=50), [DueHold(80, 80)])
    assert (done.captured, done.returned, done.absorbed, done.balance.rest) == (50, 0, 30, 0)


def test_what_is_lacking_is_known_of_each_hold() -> None:
    done = settle(LeaseBalance(50), [DueHold(amount=40, due=40), DueHold(amount=40, due=40)])
    assert done.shortfalls == (0, 30)


def test_an_attempt_of_a_released_lease_is_absorbed() -> None:
    done = settle(LeaseBalance(100, given_back=100), [DueHold(80, 30)])
    assert (done.captured, done.returned, done.absorbed) == (0, 0, 30)


def test_a_negative_cost_takes_nothing() -> None:
    done = settle(LeaseBalance(100), [DueHold(80, -5)])
    assert (done.captured, done.returned, done.absorbed) == (0, 80, 0)


def test_a_repeated_return_gives_nothing_back_twice() -> None:
    assert given_back_now(LeaseBalance(1000), 700) == 700
    assert given_back_now(LeaseBalance(1000, given_back=700), 700) == 0
    assert given_back_now(LeaseBalance(1000, given_back=700), 400) == 0
    assert given_back_now(LeaseBalance(1000, given_back=700), 1000) == 300


def test_what_is_settled_cannot_be_given_back() -> None:
    assert given_back_now(LeaseBalance(1000, settled=400), 1000) == 600


amounts = st.integers(0, 1000)


@given(amounts, st.lists(st.one_of(st.tuples(amounts, amounts), amounts), max_size=30))
def test_a_lease_never_pays_more_than_it_has(amount: int, steps: list[tuple[int, int] | int]) -> None:
    balance, out = LeaseBalance(amount), 0
    for step in steps:
        if isinstance(step, int):
            now = given_back_now(balance, step)
            out += now
            balance = LeaseBalance(amount, balance.given_back + now, balance.settled)
        else:
            done = settle(balance, [DueHold(*step)])
            out += done.captured + done.returned
            assert done.captured + done.absorbed == step[1]
            assert done.captured + done.returned <= step[0]
            balance = done.balance
        assert balance.rest == amount - out >= 0


def test_a_watermark_ahead_of_the_clock_is_not_believed() -> None:
    assert bounded(NOW - 5, NOW) == NOW - 5
    assert bounded(NOW + 10**9, NOW) == NOW + SKEW_MS
    assert bounded(RETIRED_UNIX_MS, NOW) == RETIRED_UNIX_MS


def test_only_what_is_processed_counts_and_the_newest_of_it() -> None:
    marks = [Watermark(10, NOW), Watermark(20, NOW - 5), Watermark(30, NOW + 5)]
    assert counted(marks, 9) is None
    assert counted(marks, 10) == marks[0]
    assert counted(marks, 29) == marks[1]
    assert counted(marks, 30) == marks[2]


def test_the_stream_has_passed_the_last_position_that_is_processed() -> None:
    marks = [StreamMark(NOW, 5), StreamMark(NOW + 1000, 8), StreamMark(NOW + 2000, 8), StreamMark(NOW + 3000, 9)]
    assert passed_until_ms(marks, 4) == 0
    assert passed_until_ms(marks, 8) == NOW + 2000
    assert passed_until_ms(marks, 9) == NOW + 3000


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=20), st.integers(0, 25), st.integers(0, 25))
def test_marks_that_are_not_kept_are_not_needed(marks: list[tuple[int, int]], processed: int, more: int) -> None:
    known = [StreamMark(NOW + taken, position) for taken, position in marks]
    kept = passed(known, processed)
    assert sum(mark.position <= processed for mark in kept) <= 1
    for later in (processed, processed + more):
        assert passed_until_ms(kept, later) == passed_until_ms(known, later)


PAST = [StreamMark(NOW + SKEW_MS + 1, 7)]


@pytest.mark.parametrize(
    ("workers", "marks", "processed", "released"),
    [
        ({}, PAST, 7, True),
        ({}, PAST, 6, False),
        ({}, [StreamMark(NOW + SKEW_MS, 7)], 7, False),
        ({}, [], 7, False),
        ({"w1": [Watermark(6, NOW + SKEW_MS + 1)]}, PAST, 7, True),
        ({"w1": [Watermark(6, NOW + SKEW_MS)]}, PAST, 7, False),
        ({"w1": [Watermark(8, NOW + 10**6)]}, PAST, 7, False),
        ({"w1": [Watermark(6, NOW + 10**6), Watermark(7, NOW)]}, PAST, 7, False),
        ({"w1": [Watermark(6, NOW + 10**6)], "w2": [Watermark(6, NOW - 1)]}, PAST, 7, False),
        ({"w1": [Watermark(6, RETIRED_UNIX_MS)]}, PAST, 7, True),
    ],
)
def test_a_lease_is_released_past_every_watermark_only(
    workers: dict[str, list[Watermark]], marks: list[StreamMark], processed: int, released: bool
) -> None:
    assert may_release(NOW, workers, marks, processed) is released
