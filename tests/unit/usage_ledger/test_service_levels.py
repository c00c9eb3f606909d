"""Attained levels, error budgets, burn rates and alerts, from counts."""

from datetime import timedelta

import pytest

from keyferry.contracts.service_levels import BURN_RULES, OBJECTIVES, WINDOWS, BurnRule, ServiceLevelName, Severity
from services.usage_ledger.service_levels.figures import MIN_BAD_EVENTS, NONE, EventCount, assess

ROUTING, MANAGEMENT = ServiceLevelName.ROUTING, ServiceLevelName.MANAGEMENT
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def test_every_level_has_an_objective_that_permits_failures() -> None:
    assert set(OBJECTIVES) == set(ServiceLevelName)
    assert all(0 < objective.target_permille < 1000 for objective in OBJECTIVES.values())


def test_without_events_nothing_is_claimed() -> None:
    found = assess(ROUTING, NONE, {})
    assert (found.attained_ppm, found.met, found.budget_left_permille, found.alert) == (None, None, None, None)
    assert [window.burn_permille for window in found.windows] == [0] * len(WINDOWS)


@pytest.mark.parametrize(
    ("good", "bad", "attained_ppm", "met", "left_permille"),
    [
        (1_000_000, 0, 1_000_000, True, 1000),
        (999_500, 500, 999_500, True, 500),
        (999_000, 1_000, 999_000, True, 0),
        (998_999, 1_001, 998_999, False, -1),
        (2_996_999, 3_001, 998_999, False, -1),  # missed by a third of a millionth: never rounded up to the target
        (0, 1, 0, False, -999_000),
    ],
)
def test_the_error_budget(good: int, bad: int, attained_ppm: int, met: bool, left_permille: int) -> None:
    found = assess(ROUTING, EventCount(good, bad), {})
    assert (found.attained_ppm, found.met, found.budget_left_permille) == (attained_ppm, met, left_permille)


@pytest.mark.parametrize("rule", BURN_RULES)
def test_an_alert_needs_both_windows(rule: BurnRule) -> None:
    # Burns exactly at the rate of the rule: of a million events, as many of the budget's thousand times the rate.
    bad = rule.rate_permille
    burning = EventCount(1_000_000 - bad, bad)
    long, short = rule.long, rule.short
    assert assess(ROUTING, burning, {long: burning, short: burning}).alert is rule.severity
    assert assess(ROUTING, burning, {long: burning}).alert is None
    assert assess(ROUTING, burning, {short: burning}).alert is None
    slower = EventCount(1_000_000 - bad + 1, bad - 1)
    assert assess(ROUTING, burning, {long: slower, short: burning}).alert is None


def test_the_most_urgent_alert_is_reported() -> None:
    everything = dict.fromkeys(WINDOWS, EventCount(0, 1000))
    assert assess(MANAGEMENT, EventCount(0, 1000), everything).alert is Severity.PAGE


def test_a_few_failures_are_no_trend() -> None:
    few = dict.fromkeys(WINDOWS, EventCount(1, MIN_BAD_EVENTS - 1))
    enough = dict.fromkeys(WINDOWS, EventCount(1, MIN_BAD_EVENTS))
    assert assess(ROUTING, few[DAY], few).alert is None
    assert assess(ROUTING, enough[DAY], enough).alert is Severity.PAGE
