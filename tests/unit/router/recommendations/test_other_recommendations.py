"""Own keys against the platform's, prompt caching, the reminder of residency, and rules in the draft."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from keyferry.contracts.features import PowerLevel
from keyferry.contracts.past_decisions import PastDecision
from keyferry.contracts.recommendations import Confidence, Recommendation, RecommendationKind
from keyferry.contracts.rules import MAX_RULES, ChainStep, Rule, RuleSet
from keyferry.contracts.tenancy import KeyPolicy
from keyferry.contracts.usage import TokenUsage
from services.router.planning.context import RoutingContext
from services.router.power.comparison import LevelPlanner
from services.router.preferences.effective import NO_PREFERENCES
from services.router.recommendations.key_sources import recommend_own_keys, recommend_platform_keys
from services.router.recommendations.prompt_caching import CACHE_LIFETIME, has_conversations, recommend_caching
from services.router.recommendations.recommended_rule import RuleSetFull, put_first, recommended_rule
from services.router.recommendations.residency_reminder import remind_of_residency
from tests.support.router.power import NOW, power_context, quality
from tests.unit.router.power.test_estimates import RATES, tariff
from tests.unit.router.recommendations.test_cheaper_models import past, replayed

REQUESTS = [past(number) for number in range(30)]


def planner(context: RoutingContext) -> LevelPlanner:
    return LevelPlanner(context, RATES, quality(), {})


def at_level(context: RoutingContext, level: PowerLevel) -> RoutingContext:
    return replace(context, preferences=lambda _: replace(NO_PREFERENCES, power_level=level))


def test_an_own_key_pays_where_the_platform_takes_more_than_the_provider() -> None:
    dear = at_level(power_context(platform=("openai",)), PowerLevel.PRECISION)
    (found,) = recommend_own_keys(replayed(REQUESTS, dear), RATES.billing, dear)
    assert (found.kind, found.served, found.rule) == (RecommendationKind.OWN_KEY, "openai", None)
    # Precision at enterprise is 1.8 of the cost; an own key pays the cost.
    assert found.saved_micro_usd == pytest.approx(found.spend_micro_usd * 8 / 18, abs=30)
    assert found.confidence is Confidence.MEDIUM


def test_an_own_key_does_not_pay_where_the_platform_takes_less() -> None:
    context = power_context(platform=("openai",))
    assert list(recommend_own_keys(replayed(REQUESTS, context), RATES.billing, context)) == []


def platform_keys(context: RoutingContext) -> list[Recommendation]:
    found = recommend_platform_keys(replayed(REQUESTS, context), planner(context), context)
    return [each for each in found if each is not None]


def test_the_platforms_keys_pay_where_they_are_cheaper_and_allowed() -> None:
    (found,) = platform_keys(power_context(platform=("openai",), own=("openai",)))
    assert (found.kind, found.served) == (RecommendationKind.PLATFORM_KEY, "openai")
    # Balanced at enterprise is 0.45 of the cost.
    assert found.saved_micro_usd == pytest.approx(found.spend_micro_usd * 55 / 100, abs=30)


def test_the_platforms_keys_are_not_recommended_against_the_key_policy() -> None:
    assert platform_keys(power_context(platform=("openai",), own=("openai",), policy=KeyPolicy.OWN)) == []
    assert platform_keys(power_context(platform=(), own=("openai",))) == []


def conversation(minutes: float, count: int = 10, cached: int = 0, name: str | None = "chat-1") -> list[PastDecision]:
    used = TokenUsage(input=10_000 - cached, cached_read=cached, output=100)
    return [
        past(number, used=used, conversation=name, decided_at=NOW + number * timedelta(minutes=minutes))
        for number in range(count)
    ]


def caching(requests: list[PastDecision]) -> list[Recommendation]:
    context = power_context(platform=("openai",))
    return list(recommend_caching(replayed(requests, context), RATES, context))


def test_caching_is_priced_by_the_prompts_that_were_sent_again() -> None:
    (found,) = caching(conversation(1, 11))
    rate = tariff("openai", "gpt-5.5")
    assert rate is not None
    full, cached = (
        rate.cost(TokenUsage(input=10_000, output=100)),
        rate.cost(TokenUsage(cached_read=10_000, output=100)),
    )
    assert full is not None
    assert cached is not None
    assert found.requests == 10, "the first one of the conversation could read nothing"
    assert found.saved_micro_usd == pytest.approx(10 * 10**6 * float(full - cached) * 0.45, abs=20)
    assert found.confidence is Confidence.LOW


def test_caching_does_not_count_what_was_cached_or_too_late_or_unrelated() -> None:
    assert caching(conversation(1, 11, cached=10_000)) == []
    assert caching(conversation(CACHE_LIFETIME / timedelta(minutes=1) + 1, 11)) == []
    apart = [one for number in range(11) for one in conversation(1, 1, name=f"chat-{number}")]
    assert caching(apart) == []
    unnamed = replayed(conversation(1, 11, name=None), power_context(platform=("openai",)))
    assert not has_conversations(unnamed)


def reminders(context: RoutingContext) -> list[Recommendation]:
    found = remind_of_residency(replayed(REQUESTS, context), planner(context), context)
    return [each for each in found if each is not None]


def in_zone(zone: str, **changes: Any) -> RoutingContext:
    context = power_context(platform=("openai", "mistral"), **changes)
    assert context.tenant is not None
    return replace(context, tenant=context.tenant.model_copy(update={"time_zone": zone}))


def test_tenants_in_europe_are_reminded_of_traffic_outside_of_the_union() -> None:
    (found,) = reminders(in_zone("Europe/Berlin"))
    assert (found.kind, found.permille, found.saved_micro_usd) == (RecommendationKind.EU_RESIDENCY, 1000, 0)
    assert "100 % of your requests" in found.title
    assert "0 of 30 sampled requests" in found.detail


def test_others_and_those_that_stay_inside_are_not_reminded() -> None:
    assert reminders(in_zone("America/New_York")) == []
    assert reminders(in_zone("Europe/Berlin", preferences=replace(NO_PREFERENCES, eu_only=True))) == []


def test_a_recommended_rule_comes_first_once() -> None:
    rule = recommended_rule("gpt-5.5", "gpt-5-mini", "summary", "Recommended")
    assert rule is not None
    other = Rule(name="other", chain=[ChainStep(model="gpt-5.5")])
    once = put_first(RuleSet(rules=[other]), rule)
    assert [each.name for each in once.rules] == [rule.name, "other"]
    assert put_first(once, rule) == once
    full = RuleSet(rules=[other.model_copy(update={"name": f"r-{number}"}) for number in range(MAX_RULES)])
    with pytest.raises(RuleSetFull, match="remove one"):
        put_first(full, rule)


@pytest.mark.parametrize("operation", [None, "Summary_of.Mails", "x" * 64])
@pytest.mark.parametrize("model", ["gpt-5.5", "openrouter/meta-llama/llama-3.3-70b-instruct:free", "~" * 90])
def test_every_model_and_operation_gives_a_valid_name(operation: str | None, model: str) -> None:
    rule, other = (recommended_rule(model, model, each, "Recommended") for each in (operation, "another"))
    assert rule is not None
    assert other is not None
    assert rule == Rule.model_validate_json(rule.model_dump_json())
    assert rule.name != other.name


@pytest.mark.parametrize("model", ["gpt-*", "a name with spaces", "\u00fc", "nul\0", "x" * 201])
def test_a_name_that_no_condition_can_match_alone_has_no_rule(model: str) -> None:
    assert recommended_rule(model, "gpt-5-mini", None, "Recommended") is None
