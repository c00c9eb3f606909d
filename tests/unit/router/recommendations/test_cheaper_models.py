"""Cheaper models: every sampled request could have been served, by the planner's own filters, and the amounts are exact."""

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.catalog import Capability
from keyferry.contracts.features import PowerLevel, RequestFeatures
from keyferry.contracts.past_decisions import PastAttempt, PastDecision
from keyferry.contracts.recommendations import Confidence, Recommendation, RecommendationKind
from keyferry.contracts.tenancy import Tier
from keyferry.contracts.usage import KeySource, Outcome, TokenUsage
from services.router.planning.context import RoutingContext
from services.router.power.comparison import LevelPlanner, Traffic, own_p95_of
from services.router.preferences.effective import NO_PREFERENCES
from services.router.recommendations.cheaper_models import (
    MAX_REPLAYED,
    QUALITY_TOLERANCE,
    ModelSearch,
    find_cheaper_models,
    group_requests,
)
from services.router.recommendations.replayed import ReplayedRequest, replay_all
from tests.support.router.power import NOW, power_context, quality
from tests.unit.router.power.test_estimates import RATES, tariff

TOKENS = TokenUsage(input=10_000, output=2_000)


def past(number: int, model: str = "gpt-5.5", **changes: Any) -> PastDecision:
    used = changes.pop("used", TOKENS)
    attempt = PastAttempt(
        provider="openai",
        model=model,
        key_source=KeySource.PLATFORM,
        outcome=Outcome.COMPLETED,
        token_usage=used,
        latency_ms=changes.pop("latency_ms", 900),
    )
    values: dict[str, Any] = {
        "decision_id": f"dec_{number}",
        "request_id": f"req_{number}",
        "tenant": "acme",
        "decided_at": NOW - timedelta(minutes=number),
        "model_asked": model,
        "features": RequestFeatures(input_tokens=used.prompt),
        "attempts": [attempt],
    }
    return PastDecision.model_validate(values | changes)


def replayed(
    requests: list[PastDecision], context: RoutingContext, counts: dict[str, int] | None = None
) -> list[ReplayedRequest]:
    traffic = Traffic(counts or {"": len(requests)}, 30.0)
    planner = LevelPlanner(context, RATES, quality(), own_p95_of(requests))
    return [each for each in replay_all(requests, traffic, planner, context, lambda _: None) if each is not None]


def search(
    requests: list[PastDecision], context: RoutingContext | None = None, counts: dict[str, int] | None = None
) -> list[Recommendation]:
    context = context or power_context()
    planner = LevelPlanner(context, RATES, quality(), own_p95_of(requests))
    found = find_cheaper_models(replayed(requests, context, counts), ModelSearch(context, planner, RATES, quality()))
    return [each for each in found if each is not None]


def test_the_amount_is_what_the_requests_would_have_cost_less() -> None:
    (found,) = search([past(number) for number in range(10)], counts={"": 100})
    assert found.kind is RecommendationKind.CHEAPER_MODEL
    assert (found.model, found.operation, found.requests, found.sampled) == ("gpt-5.5", None, 100, 10)
    assert found.to_model is not None
    assert found.to_served is not None
    provider, _, upstream = found.to_served.partition("/")
    rate = tariff(provider, upstream)
    own = tariff("openai", "gpt-5.5")
    assert rate is not None
    assert own is not None
    now, then = own.cost(TOKENS), rate.cost(TOKENS)
    assert now is not None
    assert then is not None
    # Enterprise at the level balanced: 0.25 of the cost, and 80 % more, which is 0.45.
    charged = [round(100 * 10**6 * amount * 45 / 100) for amount in (now, then)]
    assert found.spend_micro_usd == charged[0]
    assert abs(found.saved_micro_usd - (charged[0] - charged[1])) <= 100, "each charge is rounded once"
    assert found.saved_micro_usd > 0


def test_its_quality_is_known_and_not_below_the_floor() -> None:
    (found,) = search([past(number) for number in range(10)])
    assert found.quality is not None
    assert found.to_quality is not None
    assert found.to_quality >= found.quality - QUALITY_TOLERANCE


def test_the_least_quality_of_the_level_in_force_counts() -> None:
    precise = power_context(preferences=replace(NO_PREFERENCES, power_level=PowerLevel.PRECISION))
    for found in search([past(number, "gpt-5-mini") for number in range(10)], precise):
        assert found.to_quality is not None
        assert found.to_quality >= min(80, found.quality or 0)


@pytest.mark.parametrize(
    ("features", "capability"),
    [
        ({"tools": True}, Capability.TOOLS),
        ({"images": True, "image_count": 1}, Capability.VISION),
        ({"json_schema": True}, Capability.JSON_SCHEMA),
    ],
)
def test_it_has_the_capabilities_that_a_single_request_needs(features: dict[str, Any], capability: Capability) -> None:
    context = power_context()
    plain = [past(number) for number in range(9)]
    special = past(9, features=RequestFeatures(input_tokens=10_000, **features))
    for found in search([*plain, special], context):
        (model,) = [each for each in context.catalog if each.id == found.to_model]
        assert capability in model.capabilities


def test_a_context_that_does_not_fit_excludes_a_model() -> None:
    long = TokenUsage(input=300_000, output=2_000)
    context = power_context()
    requests = [past(number, used=long) for number in range(10)]
    for found in search(requests, context):
        (model,) = [each for each in context.catalog if each.id == found.to_model]
        assert model.context_tokens is not None
        assert model.context_tokens >= 300_000


def test_a_model_outside_of_the_union_is_not_recommended_to_an_eu_only_tenant() -> None:
    inside = power_context(preferences=replace(NO_PREFERENCES, eu_only=True), platform=("openai", "mistral"))
    for found in search([past(number, "mistral-large") for number in range(10)], inside):
        assert (found.to_served or "").startswith("mistral/")


def test_a_model_of_a_higher_tier_is_not_recommended() -> None:
    context = power_context(Tier.STARTER, platform=("groq", "together", "openai"))
    for found in search([past(number, "llama-3.3-70b") for number in range(10)], context):
        (model,) = [each for each in context.catalog if each.id == found.to_model]
        assert model.tier in (Tier.FREE, Tier.STARTER)


def test_a_slow_model_is_not_recommended() -> None:
    (fast,) = search([past(number) for number in range(10)])
    assert fast.to_served is not None
    upstream = fast.to_served.partition("/")[2]
    others = search([past(number) for number in range(10)], power_context(latency_ms={upstream: 10**6}))
    assert fast.to_model not in {each.to_model for each in others}


def test_few_requests_and_virtual_models_are_left_out() -> None:
    context = power_context()
    assert search([past(number) for number in range(4)]) == []
    assert group_requests(replayed([past(number, "auto") for number in range(20)], context)) == {}


def test_cents_are_not_worth_a_recommendation() -> None:
    small = TokenUsage(input=1, output=1)
    assert search([past(number, used=small) for number in range(10)]) == []


def test_a_rule_matches_the_requests_of_the_group_alone() -> None:
    mixed = [past(number, operation="summary" if number % 2 else None) for number in range(40)]
    found = {each.operation: each for each in search(mixed, counts={"": 20, "summary": 20})}
    named, unnamed = found["summary"].rule, found[None].rule
    assert named is not None
    assert (named.when.operation, named.when.model) == (["summary"], ["gpt-5.5"])
    assert [step.model for step in named.chain] == [found["summary"].to_model, "gpt-5.5"]
    assert unnamed is None, "it would match the operation as well"
    assert "X-Operation" in found[None].action
    (alone,) = search([past(number) for number in range(10)])
    assert alone.rule is not None
    assert alone.rule.when.operation is None


def test_confidence_grows_with_the_sample() -> None:
    few, some = (search([past(number) for number in range(count)])[0] for count in (6, 30))
    assert few.confidence is Confidence.LOW
    assert some.confidence in (Confidence.MEDIUM, Confidence.LOW)
    assert "6 of your requests" in few.confidence_detail


def test_a_large_group_is_sampled_and_its_amount_scaled() -> None:
    (found,) = search([past(number) for number in range(2 * MAX_REPLAYED)])
    assert (found.requests, found.sampled) == (2 * MAX_REPLAYED, MAX_REPLAYED)
    (half,) = search([past(number) for number in range(MAX_REPLAYED)])
    assert found.saved_micro_usd == 2 * half.saved_micro_usd


@given(
    models=st.lists(st.sampled_from(["gpt-5.5", "gpt-5-mini", "claude-sonnet-4-5"]), min_size=5, max_size=25),
    tokens=st.integers(1, 60_000),
)
def test_no_recommendation_costs_more(models: list[str], tokens: int) -> None:
    used = TokenUsage(input=tokens, output=tokens // 3)
    requests = [past(number, model, used=used) for number, model in enumerate(models)]
    total = sum((each.weight * each.now.spend_micro_usd for each in replayed(requests, power_context())), Fraction())
    found = search(requests)
    assert all(0 < each.saved_micro_usd < each.spend_micro_usd for each in found)
    assert sum(each.saved_micro_usd for each in found) <= total
