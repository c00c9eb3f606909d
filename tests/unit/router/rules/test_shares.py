"""Weighted choices are stable, independent of each other, and divide requests as the weights say."""

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from services.router.rules.shares import format_share, pick_share


def test_ten_thousand_conversations_are_divided_as_the_weights_say() -> None:
    random = Random(20261129)
    seeds = [f"conv_{random.getrandbits(64):x}" for _ in range(10_000)]
    counts = Counter(pick_share((90, 9, 1), seed, "canary", 1) for seed in seeds)
    # Four standard deviations of a binomial distribution.
    assert abs(counts[0] - 9000) < 4 * (10_000 * 0.9 * 0.1) ** 0.5
    assert abs(counts[1] - 900) < 4 * (10_000 * 0.09 * 0.91) ** 0.5
    assert abs(counts[2] - 100) < 4 * (10_000 * 0.01 * 0.99) ** 0.5


def test_the_share_of_a_seed_never_changes() -> None:
    """These choices are part of what callers rely on: another hash would move their conversations to another model."""
    chosen = [pick_share((1, 1), f"conversation-{number}", "canary", 1) for number in range(16)]
    assert chosen == [pick_share((50, 50), f"conversation-{number}", "canary", 1) for number in range(16)]
    assert chosen == [0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 1, 1, 1, 0, 0, 1]


def test_growing_the_last_weight_keeps_those_who_had_it() -> None:
    seeds = [f"c{number}" for number in range(2000)]
    before = {seed for seed in seeds if pick_share((95, 5), seed, "canary", 1) == 1}
    after = {seed for seed in seeds if pick_share((80, 20), seed, "canary", 1) == 1}
    assert before < after


def test_splits_of_other_rules_and_steps_are_independent() -> None:
    seeds = [f"c{number}" for number in range(4000)]
    first = {seed for seed in seeds if pick_share((1, 1), seed, "one", 1)}
    for rule, step in (("two", 1), ("one", 2)):
        other = {seed for seed in seeds if pick_share((1, 1), seed, rule, step)}
        assert 850 < len(first & other) < 1150


@given(st.lists(st.integers(1, 1_000_000), min_size=1, max_size=10), st.text(max_size=50))
def test_every_choice_is_one_of_the_weights(weights: list[int], seed: str) -> None:
    assert 0 <= pick_share(weights, seed, "r", 1) < len(weights)


def test_shares_read_as_percent() -> None:
    assert [format_share(*share) for share in ((1, 10), (1, 3), (999, 1000), (1, 1), (1, 1001))] == [
        "10 %",
        "33.3 %",
        "99.9 %",
        "100 %",
        "less than 0.1 %",
    ]
