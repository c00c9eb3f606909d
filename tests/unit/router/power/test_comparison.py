"""Levels compared on past requests: the same plans and charges as a request of each level would have."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from keyferry.billing.charge import charge
from keyferry.contracts.features import PowerLevel, RequestFeatures
from keyferry.contracts.past_decisions import PastAttempt, PastDecision
from keyferry.contracts.power_comparison import ComparedLevel, TokenSpread
from keyferry.contracts.preferences import PreferenceOrigin
from keyferry.contracts.tenancy import Tier
from keyferry.contracts.usage import KeySource, Outcome, TokenUsage
from services.router.planning.context import RoutingContext
from services.router.power.comparison import (
    REST,
    AtLevel,
    LevelPlanner,
    Traffic,
    compare_levels,
    describe_operations,
    own_p95_of,
    plan_all,
)
from services.router.preferences.effective import NO_PREFERENCES, Source
from tests.support.router.power import NOW, power_context, quality
from tests.unit.router.power.test_estimates import RATES, tariff

ECO, BALANCED, PRECISION = PowerLevel
TOKENS = TokenUsage(input=1_000, output=500)


def past(
    number: int, model: str = "auto", *, operation: str | None = None, latency_ms: int = 400, **changes: Any
) -> PastDecision:
    attempt = PastAttempt(
        provider="openai",
        model="gpt-5-nano",
        key_source=KeySource.PLATFORM,
        outcome=Outcome.COMPLETED,
        token_usage=TOKENS,
        latency_ms=latency_ms,
    )
    values: dict[str, Any] = {
        "decision_id": f"dec_{number}",
        "request_id": f"req_{number}",
        "tenant": "acme",
        "decided_at": NOW - timedelta(minutes=number),
        "model_asked": model,
        "operation": operation,
        "features": RequestFeatures(input_tokens=1_000),
        "attempts": [attempt],
    }
    return PastDecision.model_validate(values | changes)


def compare(
    requests: list[PastDecision],
    traffic: Traffic,
    context: RoutingContext | None = None,
    current: PowerLevel = BALANCED,
) -> dict[PowerLevel, ComparedLevel]:
    context = context or power_context(platform=("openai",))
    planner = LevelPlanner(context, RATES, quality(), own_p95_of(requests))
    found = list(plan_all(requests, planner, lambda _: None))
    outcomes = {level: [each[level] for each in found] for level in PowerLevel}
    return {each.level: each for each in compare_levels(requests, outcomes, traffic, context, current)}


def charged(model: str, level: PowerLevel) -> int:
    found = tariff("openai", model)
    assert found is not None
    cost = found.cost(TOKENS)
    assert cost is not None
    return charge(cost, RATES.billing, key_source=KeySource.PLATFORM, level=level, tier=Tier.ENTERPRISE)


def test_a_named_model_is_charged_by_each_level_and_stays_the_same() -> None:
    requests = [past(number, "gpt-5-mini", operation="sum") for number in range(4)]
    found = compare(requests, Traffic({"sum": 3_000}, days_seen=15))
    for level, each in found.items():
        assert each.operations[0].models[0].model == "openai/gpt-5-mini"
        assert each.amounts.spend_micro_usd == each.amounts.charge_micro_usd == 6_000 * charged("gpt-5-mini", level)
        assert each.changed_permille == 0
    spent = {level: each.amounts.spend_micro_usd for level, each in found.items()}
    assert {level: each.difference_micro_usd for level, each in found.items()} == {
        level: spent[level] - spent[BALANCED] for level in PowerLevel
    }
    assert (found[BALANCED].difference_micro_usd, spent[ECO] < spent[BALANCED] < spent[PRECISION]) == (0, True)


def test_a_level_decides_what_the_gateway_may_choose() -> None:
    """`eco`, `balanced` and `precision` in a request stay what they are, whatever is saved."""
    requests = [past(1, "precision", operation="a"), past(2, "eco", operation="b")]
    found = compare(requests, Traffic({"a": 1, "b": 1}, days_seen=30))
    for each in found.values():
        assert [operation.models[0].model for operation in each.operations] == ["openai/gpt-5.5", "openai/gpt-5-nano"]
        assert each.amounts.charge_micro_usd == charged("gpt-5.5", PRECISION) + charged("gpt-5-nano", ECO)
    assert [each.model for each in found.values()] == ["gpt-5-nano", "gpt-5-mini", "gpt-5.5"]
    assert found[ECO].quality is not None


def test_operations_count_by_their_traffic_and_not_by_the_sample() -> None:
    requests = [
        past(1, "gpt-5-mini", operation="rare"),
        *(past(n, "gpt-5-nano", operation="often") for n in range(2, 9)),
    ]
    traffic = Traffic({"often": 100, "rare": 900, REST: 0}, days_seen=30)
    found = compare(requests, traffic)[BALANCED]
    expected = 900 * charged("gpt-5-mini", BALANCED) + 100 * charged("gpt-5-nano", BALANCED)
    assert found.amounts.charge_micro_usd == expected
    assert [(each.operation, each.rest) for each in found.operations] == [
        ("often", False),
        ("rare", False),
        (None, True),
    ]
    described = describe_operations(requests, traffic)
    assert [(each.operation, each.requests, each.requests_per_month, each.sampled) for each in described] == [
        ("often", 100, 100, 7),
        ("rare", 900, 900, 1),
        (None, 0, 0, 0),
    ]
    assert described[0].input_tokens == TokenSpread(median=1_000, p90=1_000)
    assert (described[2].input_tokens, described[2].output_tokens) == (None, None)


def test_a_level_without_a_model_says_why_and_what_would_be_refused() -> None:
    found = compare([past(1, "precision")], Traffic({"": 10}, days_seen=30), power_context(Tier.FREE))
    precision = found[PRECISION]
    assert (precision.possible, precision.model) == (False, None)
    assert "precision needs a quality of 80" in (precision.reason or "")
    assert (precision.refused_permille, precision.amounts.spend_micro_usd) == (1000, 0)
    assert "precision needs a quality of 80" in (precision.operations[0].reason or "")
    assert found[ECO].possible


def test_narrower_scopes_keep_their_level() -> None:
    source = {"power_level": Source(PreferenceOrigin.TEAM, "blue")}
    of_team = replace(NO_PREFERENCES, power_level=PRECISION, origins=source)
    context = power_context(platform=("openai",), preferences=of_team)
    found = compare([past(1, "gpt-5-mini")], Traffic({"": 10}, days_seen=30), context)
    assert {each.amounts.charge_micro_usd for each in found.values()} == {10 * charged("gpt-5-mini", PRECISION)}


def test_own_keys_cost_what_their_provider_takes() -> None:
    context = power_context(platform=(), own=("openai",))
    found = compare([past(1, "gpt-5-mini")], Traffic({"": 1_000}, days_seen=30), context)
    price = tariff("openai", "gpt-5-mini")
    assert price is not None
    cost = price.cost(TOKENS)
    assert cost is not None
    for each in found.values():
        assert each.amounts.charge_micro_usd == 0
        assert each.amounts.cost_micro_usd == 1_000 * cost * Decimal(10**6)
        assert each.amounts.spend_micro_usd == 1_000 * cost * Decimal(10**6)


def test_times_are_those_of_the_tenants_own_answers() -> None:
    """Of each model 20 answers are enough; else they are those that the health monitor has seen."""
    slow = [past(number, "gpt-5-nano", latency_ms=100 * number) for number in range(1, 21)]
    context = power_context(platform=("openai",), latency_ms={"gpt-5-mini": 7_000})
    found = compare(slow, Traffic({"": 20}, days_seen=30), context)
    assert {each.p95_ms for each in found.values()} == {1_900}
    other = [past(number, "gpt-5-mini", latency_ms=100) for number in range(1, 10)]
    assert compare(other, Traffic({"": 9}, days_seen=30), context)[ECO].p95_ms == 7_000
    mixed = compare([*slow, *other], Traffic({"": 29}, days_seen=30), context)
    assert mixed[ECO].p95_ms == 7_000, "more than a twentieth of the requests are to the slower model"


def test_no_traffic_still_compares_an_ordinary_request() -> None:
    found = compare([], Traffic({}, days_seen=30))
    assert [(each.model, each.amounts.spend_micro_usd, each.quality, each.p95_ms) for each in found.values()] == [
        ("gpt-5-nano", 0, None, None),
        ("gpt-5-mini", 0, None, None),
        ("gpt-5.5", 0, None, None),
    ]


@pytest.mark.parametrize("cost", [None, 0])
def test_what_has_no_price_is_in_no_amount(cost: int | None) -> None:
    at = AtLevel("lab/model", cost=cost)
    (level,) = compare_levels(
        [past(1)], {BALANCED: [at]}, Traffic({"": 5}, days_seen=30), power_context(platform=("openai",)), BALANCED
    )
    assert level.amounts.unpriced_permille == (1000 if cost is None else 0)
    assert level.amounts.spend_micro_usd == 0
