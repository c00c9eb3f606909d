"""When a process leaves a NATS server: never while a majority answers, soon once none does, and seldom where none is better."""

import pytest

from keyferry.runtime.bus.server_watch import MajorityCount


def moves(count: MajorityCount, *answered: int) -> list[bool]:
    return [count.add(number) for number in answered]


def test_one_missed_round_is_no_reason_to_leave() -> None:
    assert moves(MajorityCount(3), 3, 1, 3, 1, 2, 0, 2) == [False] * 7


@pytest.mark.parametrize("answered", [0, 1])
def test_two_rounds_without_a_majority_are(answered: int) -> None:
    assert moves(MajorityCount(3), 3, answered, answered) == [False, False, True]


def test_a_server_that_is_alone_from_the_start_is_left_for_another_of_the_list() -> None:
    assert moves(MajorityCount(3), 1, 1) == [False, True]


def test_the_only_server_is_never_left_however_late_it_answers() -> None:
    assert moves(MajorityCount(1), 1, *[0] * 20) == [False] * 21


def test_servers_that_the_list_does_not_name_count_once_they_have_answered() -> None:
    count = MajorityCount(2)
    assert moves(count, 5, 2, 2) == [False, False, True]
    assert count.majority == 3


def test_where_no_server_has_a_majority_it_is_tried_seldom_and_a_majority_ends_that() -> None:
    count = MajorityCount(3)
    assert sum(moves(count, *[1] * 6)) == 3
    assert count.tried_all
    assert sum(moves(count, *[1] * 20)) == 2
    assert moves(count, 2, 1, 1) == [False, False, True]
