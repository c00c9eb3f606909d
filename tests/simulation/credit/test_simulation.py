"""Production's wallet, settlement tracker and rules of leases in a simulated installation under faults.

A failing seed is in the name of its test or in its message: `simulate(seed)` runs it again, event by event.
"""

import pytest

from tests.simulation.credit.release_rules import (
    WRONG_RULES,
    ReleaseRule,
    after_the_longest_call,
    after_the_longest_call_and_the_stream,
    at_the_end,
    past_every_watermark,
    past_the_highest_watermark,
)
from tests.simulation.credit.simulation import SimulationResult, simulate

SEEDS = 60
LONG_SEEDS = 10_000
_PART = 500


def check(seed: int) -> SimulationResult:
    """Assert that a run overspends nothing, collects everything that was spent, and gets everything else back."""
    try:
        result = simulate(seed)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error
    assert not result.overspent, f"seed {seed}: more was spent than was granted: {result}"
    assert not result.leaked, f"seed {seed}: something was spent and not collected: {result}"
    assert not result.refused, f"seed {seed}: a router beside others got nothing although there was enough: {result}"
    assert result.missing == result.open_leases == 0, f"seed {seed}: something did not come back: {result}"
    return result


def leaks(rule: ReleaseRule, seeds: int) -> int | None:
    """Return the first of so many seeds with which a rule lets something be spent that is not collected."""
    return next((seed for seed in range(seeds) if simulate(seed, rule).leaked), None)


def test_nothing_is_overspent_and_nothing_leaks() -> None:
    results = [check(seed) for seed in range(SEEDS)]
    # The runs are about something: much is spent, and the accounts run out.
    assert sum(result.attempts for result in results) > 100 * SEEDS
    assert all(result.spent for result in results)


def test_the_end_of_the_faults_starts_no_worker_twice() -> None:
    """A worker that shuts down just before is started then, and not once more when it would have come back by itself."""
    check(5137)


@pytest.mark.parametrize(
    "rule",
    [at_the_end, after_the_longest_call, after_the_longest_call_and_the_stream, past_the_highest_watermark],
    ids=lambda rule: rule.__name__,
)
def test_a_wrong_rule_is_found(rule: ReleaseRule) -> None:
    assert leaks(rule, SEEDS) is not None, f"{rule.__name__} leaks with none of {SEEDS} seeds"


def test_a_seed_always_does_the_same() -> None:
    assert simulate(7) == simulate(7)
    assert simulate(7) != simulate(8)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(LONG_SEEDS // _PART))
def test_ten_thousand_seeds_overspend_nothing_and_leak_nothing(part: int) -> None:
    for seed in range(part * _PART, (part + 1) * _PART):
        check(seed)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("rule", WRONG_RULES, ids=lambda rule: rule.__name__)
def test_every_wrong_rule_is_found_with_many_seeds(rule: ReleaseRule) -> None:
    assert rule is not past_every_watermark
    assert leaks(rule, 1000) is not None, f"{rule.__name__} leaks with none of 1000 seeds"
