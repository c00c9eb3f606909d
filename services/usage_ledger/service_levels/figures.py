"""Computes attained levels, error budgets and burn rates from counts. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from keyferry.contracts.service_levels import (
    BURN_RULES,
    OBJECTIVES,
    PER_MILLION,
    PERMILLE,
    WINDOWS,
    Objective,
    ServiceLevel,
    ServiceLevelName,
    Severity,
    WindowBurn,
)

MIN_BAD_EVENTS = 10
"""In the long window of a burn rate, below which it raises no alert: of three requests, one that fails is no trend."""


@dataclass(frozen=True, slots=True)
class EventCount:
    """Good and bad events of one level in a span."""

    good: int = 0
    bad: int = 0

    @property
    def total(self) -> int:
        """All events."""
        return self.good + self.bad


NONE = EventCount()


def assess(name: ServiceLevelName, period: EventCount, windows: Mapping[timedelta, EventCount]) -> ServiceLevel:
    """Return the state of an objective. `windows` has the counts of those of WINDOWS with events."""
    objective = OBJECTIVES[name]
    burns = {window: burn_of(objective, windows.get(window, NONE)) for window in WINDOWS}
    return ServiceLevel(
        name=name.value,
        good_means=objective.good,
        target_permille=objective.target_permille,
        threshold_ms=objective.threshold_ms,
        good=period.good,
        bad=period.bad,
        attained_ppm=period.good * PER_MILLION // period.total if period.total else None,
        met=period.good * PERMILLE >= period.total * objective.target_permille if period.total else None,
        budget_left_permille=_budget_left(objective, period),
        windows=[
            WindowBurn(
                minutes=int(window.total_seconds()) // 60,
                good=windows.get(window, NONE).good,
                bad=windows.get(window, NONE).bad,
                burn_permille=burns[window],
            )
            for window in WINDOWS
        ],
        alert=_find_alert(burns, windows),
    )


def _budget_left(objective: Objective, period: EventCount) -> int | None:
    """Return what is left of the error budget, in thousandths, rounded down: negative exactly if the objective is not met."""
    if not period.total:
        return None
    budget_permille = PERMILLE - objective.target_permille
    return (period.total * budget_permille - period.bad * PERMILLE) * PERMILLE // (period.total * budget_permille)


def burn_of(objective: Objective, count: EventCount) -> int:
    """Return how many times faster than its budget allows an objective failed, in thousandths, rounded down."""
    if not count.total:
        return 0
    budget_permille = PERMILLE - objective.target_permille
    return count.bad * PERMILLE * PERMILLE // (count.total * budget_permille)


def _find_alert(burns: Mapping[timedelta, int], windows: Mapping[timedelta, EventCount]) -> Severity | None:
    for rule in BURN_RULES:  # the most urgent first
        enough = windows.get(rule.long, NONE).bad >= MIN_BAD_EVENTS
        if enough and burns[rule.long] >= rule.rate_permille and burns[rule.short] >= rule.rate_permille:
            return rule.severity
    return None
