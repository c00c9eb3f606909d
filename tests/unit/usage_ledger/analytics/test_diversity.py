"""The effective number of kinds, and the median."""

import pytest

from services.usage_ledger.analytics.diversity import effective_number, median
from services.usage_ledger.analytics.installation import permille


@pytest.mark.parametrize(
    ("counts", "number"), [([], 0), ([0], 0), ([7], 1), ([5, 5], 2), ([3, 3, 3, 0], 3), ([1] * 1000, 1000)]
)
def test_kinds_that_are_used_equally_count_alike(counts: list[int], number: int) -> None:
    assert effective_number(counts) == pytest.approx(number)


def test_a_rare_kind_counts_little() -> None:
    assert 1 < effective_number([10**9, 1]) < 1.0001
    assert effective_number([10**18, 10**18]) == pytest.approx(2)


@pytest.mark.parametrize(("values", "middle"), [([], None), ([4], 4), ([9, 1], 1), ([3, 100, 1], 3)])
def test_the_median(values: list[int], middle: int | None) -> None:
    assert median(values) == middle


@pytest.mark.parametrize(("part", "whole", "share"), [(0, 0, None), (0, 3, 0), (1, 3, 333), (2, 3, 667), (3, 3, 1000)])
def test_shares(part: int, whole: int, share: int | None) -> None:
    assert permille(part, whole) == share
