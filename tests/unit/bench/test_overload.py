"""The figures of the overload cases, from single requests."""

import pytest

from tests.bench import goals
from tests.bench.failure import BenchError
from tests.bench.figure import Figure
from tests.bench.overload import GOODPUT, HANG, RECOVERY, REFUSAL
from tests.bench.overload.cases import p99_ratio, recovery_seconds, row
from tests.bench.overload.offered_load import Exchange, StreamLoad, together


def load(*exchanges: Exchange, name: str = "load", seconds: float = 10.0) -> StreamLoad:
    return StreamLoad(name, seconds, list(exchanges))


def answers(count: int, seconds: float) -> list[Exchange]:
    return [Exchange(number / 100, seconds, 200) for number in range(count)]


def test_a_row_separates_answers_refusals_and_failures() -> None:
    found = row(load(Exchange(0, 0.1, 200), Exchange(1, 0.2, 503), Exchange(2, 0.3, 429), Exchange(3, 9, 502)))
    assert (found.offered_per_second, found.answered_per_second, found.refused_per_second) == (0.4, 0.1, 0.2)
    assert (found.failed, found.answered_p99_ms, found.refused_p99_ms) == (1, 100, 300)


def test_the_system_has_recovered_in_the_first_second_that_is_answered() -> None:
    refused = [Exchange(second + 0.5, 0.01, 503) for second in range(3)]
    assert recovery_seconds(load(*refused, *[Exchange(3.2, 0.1, 200)])) == 3
    assert recovery_seconds(load(*refused)) == 10
    assert recovery_seconds(load(Exchange(0.5, 0.1, 200))) == 0


def test_a_ratio_needs_answers() -> None:
    assert p99_ratio(load(*answers(200, 0.2)), load(*answers(200, 0.1))) == pytest.approx(2)
    with pytest.raises(BenchError, match="too few"):
        p99_ratio(load(*answers(99, 0.2)), load(*answers(200, 0.1)))
    refused = [Exchange(0, 0.01, 503)] * 10
    with pytest.raises(BenchError, match="too few"):
        p99_ratio(load(*answers(200, 0.2), *refused), load(*answers(200, 0.1)))


def test_streams_are_added_up() -> None:
    both = together([load(*answers(3, 0.1)), load(*answers(4, 0.1))], "both")
    assert (both.name, both.seconds, len(both.exchanges)) == ("both", 10, 7)


@pytest.mark.parametrize(
    ("name", "found", "met"),
    [(HANG, 1.2, True), (HANG, 1.21, False), (GOODPUT, 90, True), (GOODPUT, 89, False), (REFUSAL, 51, False)],
)
def test_goals_of_overload(name: str, found: float, met: bool) -> None:
    (result,) = goals.evaluate_figures([Figure(name, found)])
    assert result.met is met
    assert goals.evaluate_figures([Figure(RECOVERY, 0)])[0].met
