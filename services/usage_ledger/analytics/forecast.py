"""What a month will come to, from the days before.

The rest of the month is taken to be like the days that were seen: their mean times the time that is left, and a range in which
four of five months end if days vary by themselves as those did. Pure.
"""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal

from keyferry.contracts.analytics_answers import ForecastRange
from keyferry.contracts.text import BIGINT_MAX

MAX_DAYS = 28
"""Whole days that are looked at: four weeks, so that each weekday counts alike."""
_EIGHTY_PERCENT = Decimal("1.2816")
"""Standard deviations around the mean of a normal distribution within which 80 % of it is."""


def forecast(so_far: Decimal, days: Sequence[Decimal], days_left: Decimal) -> ForecastRange | None:
    """Return the range in which an amount will end, given whole days before; None without any. Amounts are micro-dollars."""
    if not days:
        return None
    count = Decimal(len(days))
    mean = sum(days, Decimal(0)) / count
    squares = sum(((day - mean) ** 2 for day in days), Decimal(0))
    # One day says nothing about how days vary: as much as its own amount.
    variance = squares / (count - 1) if count > 1 else mean**2
    # The mean itself is only estimated, the more vaguely the fewer days it is of.
    deviation = (variance * days_left * (1 + days_left / count)).sqrt()
    likely, margin = so_far + mean * days_left, _EIGHTY_PERCENT * deviation
    return ForecastRange(
        so_far_micro_usd=_whole(so_far),
        low_micro_usd=_whole(max(so_far, likely - margin)),
        likely_micro_usd=_whole(likely),
        high_micro_usd=_whole(likely + margin),
    )


def _whole(amount: Decimal) -> int:
    return min(int(amount.to_integral_value(ROUND_HALF_UP)), BIGINT_MAX)
