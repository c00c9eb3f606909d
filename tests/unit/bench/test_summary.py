"""Medians, ratios within a round, and results for the goals."""

import pytest

from tests.bench import goals
from tests.bench.case import Case, Kind
from tests.bench.load import Load
from tests.bench.measure import Measurement
from tests.bench.summary import summarize

_PLAIN_64 = Case(Kind.PLAIN, 64)
_PLAIN_1 = Case(Kind.PLAIN, 1)


def _measurement(
    system: str, number: int, per_second: int, p50_us: int, case: Case = _PLAIN_64, errors: int = 0
) -> Measurement:
    seen = Load(per_second, per_second, errors, 1.0, p50_us, p50_us * 2, p50_us * 3, per_second * 5)
    return Measurement(system, case, number, seen, {"router": p50_us / 10}, {"router": per_second * 1000})


def test_figures_are_medians_and_errors_are_summed() -> None:
    rounds = [(100, 10, 0), (300, 30, 1), (200, 500, 2)]
    [one] = summarize(
        [_measurement("spike", number, rate, p50, errors=errors) for number, (rate, p50, errors) in enumerate(rounds)]
    )
    assert (one.per_second, one.per_second_low, one.per_second_high) == (200, 100, 300)
    assert (one.p50_us, one.p90_us, one.p99_us) == (30, 60, 90)
    assert one.errors == 3
    assert one.cpu_us_per_request == {"router": 3.0}
    assert one.client_cpu_us_per_request == 5.0
    assert one.memory_bytes == {"router": 200_000}
    assert one.against == {}


def test_a_ratio_is_formed_within_a_round_before_the_median_is_taken() -> None:
    direct = [_measurement("direct", number, rate, 100) for number, rate in enumerate((1000, 100, 500))]
    product = [_measurement("product", number, rate, 300) for number, rate in enumerate((500, 10, 400))]
    summaries = {one.system: one for one in summarize(direct + product)}
    compared = summaries["product"].against["direct"]
    # The ratios are 0.5, 0.1 and 0.8; the ratio of the medians would be 0.8.
    assert compared.per_second_ratio == pytest.approx(0.5)
    assert compared.p50_ratio == pytest.approx(3.0)
    assert (compared.added_p50_us, compared.added_p99_us) == (200, 600)


def test_cases_are_not_compared_with_each_other() -> None:
    summaries = summarize([_measurement("direct", 1, 9, 9, _PLAIN_1), _measurement("spike", 1, 9, 9, _PLAIN_64)])
    assert [one.against for one in summaries] == [{}, {}]


def test_goals_are_evaluated_on_the_product_only() -> None:
    assert goals.evaluate(summarize([_measurement("spike", 1, 9999, 1)])) == []


@pytest.mark.parametrize(("per_second", "met"), [(1999, False), (2000, True)])
def test_the_rate_goal_is_a_lower_limit(per_second: int, met: bool) -> None:
    [result] = goals.evaluate(summarize([_measurement("product", 1, per_second, 1)]))
    assert (result.found, result.limit, result.met) == (per_second, 2000, met)


@pytest.mark.parametrize(("product_p50_us", "met"), [(3099, True), (3100, False)])
def test_the_latency_goal_is_about_what_is_added_to_a_direct_call(product_p50_us: int, met: bool) -> None:
    measurements = [
        _measurement("direct", 1, 10, 100, _PLAIN_1),
        _measurement("product", 1, 10, product_p50_us, _PLAIN_1),
    ]
    p50 = goals.evaluate(summarize(measurements))[0]
    assert p50.goal == "added latency at one client, p50"
    assert p50.met is met


def test_a_goal_that_needs_a_direct_call_is_not_evaluated_without_one() -> None:
    assert goals.evaluate(summarize([_measurement("product", 1, 10, 100, _PLAIN_1)])) == []
