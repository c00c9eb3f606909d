"""When a figure is worth an alert, and when the alert is over."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.alert_rules import AlertRuleTerms, Sensitivity
from services.usage_ledger.alerts.conditions import (
    MAX_OPEN_OF_RULE,
    AlertFinding,
    compare_threshold,
    compare_unusual,
    find_moves,
    usual_limit,
)

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def terms(**changes: object) -> AlertRuleTerms:
    given = {"tenant": "acme", "name": "x", "metric": "spend", "window": "month", "condition": {"threshold": "100"}}
    return AlertRuleTerms.model_validate(given | changes)


def balance(**changes: object) -> AlertRuleTerms:
    return terms(metric="credit_balance", window=None, **changes)


@pytest.mark.parametrize(
    ("value", "holds", "is_clear"),
    [("100", True, False), ("99.9", False, False), ("95", False, False), ("94", False, True)],
)
def test_an_alert_is_over_beyond_the_margin_only(value: str, holds: bool, is_clear: bool) -> None:
    found = compare_threshold(terms(), Decimal(value), Decimal(100))
    assert (found.holds, found.is_clear) == (holds, is_clear)


@pytest.mark.parametrize(
    ("value", "holds", "is_clear"),
    [("100", True, False), ("101", False, False), ("105", False, False), ("106", False, True)],
)
def test_a_balance_is_compared_the_other_way(value: str, holds: bool, is_clear: bool) -> None:
    found = compare_threshold(balance(), Decimal(value), Decimal(100))
    assert (found.holds, found.is_clear) == (holds, is_clear)


@given(st.decimals(0, 1000, places=2), st.decimals(0, 1000, places=2), st.integers(0, 50), st.booleans())
def test_what_holds_is_never_clear(value: Decimal, limit: Decimal, margin: int, of_balance: bool) -> None:
    found = compare_threshold((balance if of_balance else terms)(margin_percent=margin), value, limit)
    assert not (found.holds and found.is_clear)
    assert margin or found.holds != found.is_clear


def test_one_outlier_does_not_move_what_is_usual() -> None:
    usual = [Decimal(each) for each in (100, 104, 96, 100, 102, 98, 100)]
    limit = usual_limit([*usual, Decimal(100_000)], Sensitivity.MEDIUM)
    assert limit is not None
    assert 149 <= limit <= 155, "the median of 100 and five times a spread of at least a tenth of it"


@given(st.lists(st.decimals(0, 10**6, places=3), max_size=3))
def test_few_hours_make_nothing_unusual(history: list[Decimal]) -> None:
    rule = terms(window="hour", condition={"unusual": "high"})
    found = compare_unusual(rule, Decimal(10**9), 10**6, history)
    assert (found.holds, found.limit) == (False, None)


@given(st.lists(st.decimals(0, 10**6, places=3), min_size=4, max_size=8), st.sampled_from(Sensitivity))
def test_what_is_unusual_is_above_every_usual_limit(history: list[Decimal], sensitivity: Sensitivity) -> None:
    limits = [usual_limit(history, each) for each in (Sensitivity.HIGH, Sensitivity.MEDIUM, Sensitivity.LOW)]
    assert all(limit is not None for limit in limits)
    assert limits == sorted(limit for limit in limits if limit is not None)
    limit = usual_limit(history, sensitivity)
    assert limit is not None
    assert limit >= sorted(history)[len(history) // 2 - 1]


def test_few_requests_are_never_unusual() -> None:
    rule = terms(metric="requests", window="hour", condition={"unusual": "high"})
    history = [Decimal(0)] * 8
    assert not compare_unusual(rule, Decimal(19), 19, history).holds
    assert compare_unusual(rule, Decimal(20), 20, history).holds


def holding(subject: str = "") -> AlertFinding:
    return AlertFinding(subject, Decimal(1), Decimal(1), holds=True, is_clear=False)


def clear(subject: str = "") -> AlertFinding:
    return AlertFinding(subject, Decimal(0), Decimal(1), holds=False, is_clear=True)


def test_what_is_open_fires_no_second_time() -> None:
    assert not find_moves(terms(), [holding()], {""}, {}, NOW).moves


def test_what_is_not_there_any_more_is_over() -> None:
    (move,) = find_moves(terms(), [], {"key_1"}, {}, NOW).moves
    assert (move.subject, move.fires, move.finding) == ("key_1", False, None)


def test_after_it_was_resolved_it_fires_when_the_cooldown_is_over() -> None:
    rule = terms(cooldown_seconds=600)
    resolved = {"": NOW - timedelta(seconds=599)}
    found = find_moves(rule, [holding()], (), resolved, NOW)
    assert not found.moves
    assert found.due_at == NOW + timedelta(seconds=1)
    assert find_moves(rule, [holding()], (), resolved, NOW + timedelta(seconds=1)).moves


def test_subjects_of_one_rule_are_limited() -> None:
    found = find_moves(terms(), [holding(str(number)) for number in range(200)], {"open"}, {}, NOW)
    assert sum(move.fires for move in found.moves) == MAX_OPEN_OF_RULE, "one is resolved first"


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.booleans()), max_size=30))
def test_states_alternate_for_each_subject(steps: list[tuple[str, bool]]) -> None:
    rule, is_open, seen = terms(cooldown_seconds=0), set[str](), dict[str, list[bool]]()
    for subject, holds in steps:
        others = [holding(each) for each in is_open if each != subject]
        for move in find_moves(rule, [*others, holding(subject) if holds else clear(subject)], is_open, {}, NOW).moves:
            seen.setdefault(move.subject, []).append(move.fires)
            (is_open.add if move.fires else is_open.discard)(move.subject)
    for fired in seen.values():
        assert fired == [number % 2 == 0 for number in range(len(fired))]
