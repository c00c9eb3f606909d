"""Percentiles of a sketch are right within 1 %, and sketches merge without loss."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.latency.sketch import RELATIVE_ERROR, LatencySketch, merge

latencies = st.lists(st.integers(0, 10**7), min_size=1, max_size=200)
percents = st.sampled_from([1, 50, 95, 99, 100])


def sketch_of(values: Sequence[int]) -> LatencySketch:
    sketch = LatencySketch()
    for value in values:
        sketch.add(value)
    return sketch


def nearest_rank(values: Sequence[int], percent: float) -> int:
    return sorted(values)[max(1, math.ceil(len(values) * percent / 100)) - 1]


@given(latencies, percents)
def test_a_percentile_is_within_one_percent_of_the_exact_one(values: list[int], percent: float) -> None:
    exact, found = nearest_rank(values, percent), sketch_of(values).percentile(percent)
    assert found is not None
    assert abs(found - exact) <= exact * RELATIVE_ERROR + 0.5


@given(st.lists(latencies, max_size=6), percents)
def test_the_sum_of_sketches_is_the_sketch_of_all_values(parts: list[list[int]], percent: float) -> None:
    """Of windows, or of processes that got a part of the attempts each."""
    merged, whole = merge(map(sketch_of, parts)), sketch_of([value for part in parts for value in part])
    assert merged.counts == whole.counts
    assert merged.percentile(percent) == whole.percentile(percent)
    assert merge([LatencySketch(merged.counts), LatencySketch()]).counts == whole.counts


@given(latencies)
def test_percentiles_are_in_order(values: list[int]) -> None:
    sketch = sketch_of(values)
    found = [sketch.percentile(percent) or 0 for percent in (1, 50, 95, 99)]
    assert found == sorted(found)


def test_an_empty_sketch_has_no_percentile() -> None:
    assert LatencySketch().percentile(50) is None


@pytest.mark.parametrize("absurd", [2**63 - 1, 10**12])
def test_absurd_latencies_count_as_a_day_and_take_no_memory(absurd: int) -> None:
    sketch = sketch_of([absurd, absurd - 1, -5])
    assert len(sketch.counts) == 2
    assert abs((sketch.percentile(99) or 0) - 86_400_000) <= 864_000
    assert sketch.percentile(1) == 0
