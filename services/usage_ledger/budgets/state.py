"""What is spent and left of a budget, and what will be spent at the end of its window.

The projection goes by the complete parts of the window so far, hours or days: it supposes that the parts to come are like them,
and independent. Its range holds eight of ten such windows; it is wide where days differ much, and where few have passed. Pure.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isqrt

from keyferry.budgets.windows import WindowSpan, account_name
from keyferry.contracts.budget import Budget, BudgetState, ProjectedSpend
from keyferry.contracts.text import BIGINT_MAX

HOUR_SECONDS = 3600
DAY_SECONDS = 24 * HOUR_SECONDS
_DAYS_FOR_DAYS = 4
"""From so many days on the window is cut into days: within a day hours differ, from day to day less."""
_FEWEST_BLOCKS = 3
_DEVIATIONS_PERCENT = 128
"""Eight of ten values of a normal distribution are within 1.28 standard deviations."""


@dataclass(frozen=True, slots=True)
class BlockSum:
    """What was spent in one part of a window."""

    block: int
    """Its position from the beginning of the window."""
    spent_micro_usd: int
    attempts: int = 0
    unpriced: int = 0


def block_seconds(span: WindowSpan, now: datetime) -> int:
    """Return the length of the parts into which a window is cut."""
    days = (now - span.start).total_seconds() // DAY_SECONDS
    return DAY_SECONDS if span.end is None or days >= _DAYS_FOR_DAYS else HOUR_SECONDS


def describe_state(
    budget: Budget, span: WindowSpan, blocks: Sequence[BlockSum], held_micro_usd: int, now: datetime
) -> BudgetState:
    """Return the state of a budget in a window, given what was spent in parts of `block_seconds`."""
    limit = budget.limit_micro_usd
    spent = min(sum(block.spent_micro_usd for block in blocks), BIGINT_MAX)
    held = min(max(held_micro_usd, 0), BIGINT_MAX)
    return BudgetState(
        budget=budget,
        account=account_name(budget.budget_id, span),
        window_start=span.start,
        resets_at=span.end,
        spent_micro_usd=spent,
        held_micro_usd=held,
        left_micro_usd=max(0, limit - spent - held),
        percent=min(spent * 100 // limit, BIGINT_MAX),
        thresholds_passed=passed_thresholds(budget, spent),
        exhausted=spent >= limit,
        attempts=sum(block.attempts for block in blocks),
        unpriced=sum(block.unpriced for block in blocks),
        projected=project(span, blocks, now),
    )


def passed_thresholds(budget: Budget, spent_micro_usd: int) -> list[int]:
    """Return the thresholds that spending has reached. Alerts are about those that were not reached before."""
    return [percent for percent in budget.thresholds if spent_micro_usd * 100 >= percent * budget.limit_micro_usd]


def project(span: WindowSpan, blocks: Iterable[BlockSum], now: datetime) -> ProjectedSpend | None:
    """Return what will be spent at the end of a calendar's window; None without enough to go by."""
    if span.end is None:
        return None
    seconds = block_seconds(span, now)
    complete = int((now - span.start).total_seconds()) // seconds
    if complete < _FEWEST_BLOCKS:
        return None
    sums = [0] * complete
    spent = 0
    for block in blocks:
        spent += block.spent_micro_usd
        if block.block < complete:
            sums[max(block.block, 0)] += block.spent_micro_usd
    if spent == 0:
        return None
    total = sum(sums)
    left_seconds = int((span.end - now).total_seconds())
    likely = spent + total * left_seconds // (complete * seconds)
    spread = _spread(sums, total, left_seconds, seconds)
    return ProjectedSpend(
        low_micro_usd=min(max(spent, likely - spread), BIGINT_MAX),
        likely_micro_usd=min(likely, BIGINT_MAX),
        high_micro_usd=min(likely + spread, BIGINT_MAX),
        basis_hours=complete * seconds // HOUR_SECONDS,
    )


def _spread(sums: Sequence[int], total: int, left_seconds: int, seconds: int) -> int:
    """Return 1.28 standard deviations of what the rest of the window adds.

    With k parts to come after n: the variance of a part times k, and times k^2 / n since its mean is estimated.
    """
    count = len(sums)
    # The sum of squared differences from the mean, times count^2.
    squares = sum((value * count - total) ** 2 for value in sums)
    numerator = squares * left_seconds * (count * seconds + left_seconds)
    denominator = count**2 * (count - 1) * count * seconds**2
    return isqrt(numerator * _DEVIATIONS_PERCENT**2 // (denominator * 100**2))
