"""The forecast of a month is a range around what the days before come to."""

from decimal import Decimal

import pytest

from services.usage_ledger.analytics.forecast import forecast

DAY = Decimal(1_000_000)


def test_equal_days_leave_no_doubt() -> None:
    found = forecast(3 * DAY, [DAY] * 28, Decimal(10))
    assert found is not None
    assert (found.low_micro_usd, found.likely_micro_usd, found.high_micro_usd) == (13_000_000,) * 3


def test_days_that_vary_widen_the_range() -> None:
    """Days of 0 and 2 dollars: mean 1, variance 28/27; 9 days are left, so 9 * (1 + 9/28) of it, whose root is 3.511885."""
    found = forecast(Decimal(0), [Decimal(0), 2 * DAY] * 14, Decimal(9))
    assert found is not None
    assert found.likely_micro_usd == 9_000_000
    assert found.high_micro_usd == pytest.approx(9_000_000 + 1.2816 * 3_511_885, abs=100)
    assert found.low_micro_usd == pytest.approx(9_000_000 - 1.2816 * 3_511_885, abs=100)


def test_a_month_never_ends_below_what_it_has() -> None:
    found = forecast(5 * DAY, [Decimal(0), 50 * DAY], Decimal("0.5"))
    assert found is not None
    assert found.low_micro_usd == found.so_far_micro_usd == 5_000_000


def test_without_a_whole_day_there_is_no_forecast() -> None:
    assert forecast(DAY, [], Decimal(10)) is None


def test_one_day_makes_a_wide_range() -> None:
    found = forecast(Decimal(0), [DAY], Decimal(4))
    assert found is not None
    # Its deviation is as large as itself: sqrt(4 * (1 + 4)) * 1.2816 of it.
    assert found.likely_micro_usd == 4_000_000
    assert found.high_micro_usd == pytest.approx(4_000_000 + 1.2816 * 4_472_136, abs=100)
    assert found.low_micro_usd == 0


def test_two_days_vary_by_their_own_difference() -> None:
    """Days of 1 and 3 dollars have a variance of 2; with one day left that times 1 + 1/2, whose root is 1.732051."""
    found = forecast(Decimal(0), [DAY, 3 * DAY], Decimal(1))
    assert found is not None
    assert found.high_micro_usd == pytest.approx(2_000_000 + 1.2816 * 1_732_051, abs=100)


def test_half_a_micro_dollar_is_rounded_up() -> None:
    found = forecast(Decimal("2.5"), [Decimal(2)], Decimal(1))
    assert found is not None
    assert (found.so_far_micro_usd, found.likely_micro_usd) == (3, 5)


def test_an_absurd_amount_is_cut() -> None:
    found = forecast(Decimal(10**30), [Decimal(10**30)], Decimal(1))
    assert found is not None
    assert found.high_micro_usd == 2**63 - 1
