"""Estimates: the models that would answer, and the ranges of cost and charge, by source of keys."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from keyferry.billing.plan import BUNDLED_PLAN, BillingPlan
from keyferry.contracts.estimates import CostEstimate
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.health import CircuitState, Health, Target
from keyferry.contracts.tenancy import KeyPolicy, Tier
from keyferry.contracts.text import BIGINT_MAX
from keyferry.contracts.usage import KeySource, RequestKind
from keyferry.pricing.file import BUNDLED_PRICES
from keyferry.pricing.tariff import Tariff
from keyferry.runtime.prices import load_prices
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.planning.plan import plan
from services.router.power.estimates import EstimateRates, estimate_request
from tests.support.router.keys_and_prices import list_price
from tests.support.router.power import NOW, asks, power_context

ECO, BALANCED, PRECISION = PowerLevel
PLAN_TEXT = BUNDLED_PLAN.read_text(encoding="utf-8")
PRICES = load_prices(BUNDLED_PRICES)


def tariff(provider: str, model: str) -> Tariff | None:
    found = PRICES.find(provider, model, NOW)
    return None if found is None else found[0]


RATES = EstimateRates(BillingPlan.parse(PLAN_TEXT), tariff)
WITH_FEE = EstimateRates(BillingPlan.parse(PLAN_TEXT.replace("fee_micro_usd = 0", "fee_micro_usd = 1500")), tariff)


def estimate(request: RouteRequest, context: RoutingContext, rates: EstimateRates = RATES) -> CostEstimate:
    return estimate_request(request, context, rates)


def price(provider: str) -> Decimal:
    """Return the list price of 100,000 tokens of input and one of output."""
    found = list_price(provider, "openai/gpt-oss-20b")
    assert found is not None
    assert found.output_usd is not None
    return (100_000 * found.input_usd + found.output_usd) / 10**6


def test_each_level_has_its_model_its_range_and_its_charge() -> None:
    found = estimate(asks("anything", tokens=1_000, max_output_tokens=2_000), power_context(platform=("openai",)))
    assert [(each.level, each.model) for each in found.levels] == [
        (ECO, "gpt-5-nano"), (BALANCED, "gpt-5-mini"), (PRECISION, "gpt-5.5"),
    ]  # fmt: skip
    (eco,) = found.levels[0].costs
    assert (found.levels[0].expected_output_tokens, found.levels[0].longest_output_tokens) == (1000, 2000)
    # $0.05 and $0.40 a million: 1,000 in with 1,000 to 2,000 out.
    assert (eco.key_source, eco.low_cost_usd, eco.high_cost_usd) == (
        KeySource.PLATFORM, Decimal("0.00045"), Decimal("0.00085"),
    )  # fmt: skip
    # 450 and 850 micro-dollars x 0.1 x 1.8.
    assert (eco.low_charge_micro_usd, eco.high_charge_micro_usd) == (81, 153)
    assert (eco.low_credits, eco.high_credits) == (Decimal("0.081"), Decimal("0.153"))
    assert (found.plan_version, found.monthly_free_requests) == (RATES.billing.version, 0)


def test_the_named_model_is_charged_by_the_level_that_is_asked_for() -> None:
    context = power_context(Tier.STARTER, platform=("openai",))
    request = asks("gpt-5-mini", tokens=1_000, max_output_tokens=100)
    # 1,000 x 0.25 + 100 x 2 = 450 micro-dollars.
    charges = {}
    for level in (None, *PowerLevel):
        named = estimate(replace(request, power_level=level), context).named
        assert named.model == "gpt-5-mini"
        charges[named.level if level else None] = named.costs[0].low_charge_micro_usd
    assert charges == {None: 158, ECO: 63, BALANCED: 158, PRECISION: 630}


def test_own_and_platform_keys_have_ranges_of_their_own() -> None:
    context = power_context(platform=("openrouter",), own=("groq",), policy=KeyPolicy.OWN_THEN_PLATFORM)
    request = asks("anything", tokens=1_000_000, max_output_tokens=1, allowed_models=["gpt-oss-20b"])
    assert estimate(request, context).levels[0].model is None, "its context has 131,072 tokens"
    request = asks("anything", tokens=100_000, max_output_tokens=1, allowed_models=["gpt-oss-20b"])
    costs = {cost.key_source: cost for cost in estimate(request, context, WITH_FEE).levels[0].costs}
    assert {source: cost.low_cost_usd for source, cost in costs.items()} == {
        KeySource.BYOK: price("groq"), KeySource.PLATFORM: price("openrouter"),
    }  # fmt: skip
    assert costs[KeySource.BYOK].low_charge_micro_usd == 1500
    assert costs[KeySource.PLATFORM].low_charge_micro_usd != 1500


def test_a_level_without_a_model_says_why() -> None:
    found = estimate(asks("anything"), power_context(Tier.FREE))
    precision = found.levels[2]
    assert (precision.model, precision.costs) == (None, [])
    assert "precision needs a quality of 80" in precision.detail
    assert found.monthly_free_requests == 50


def test_an_own_endpoint_costs_nothing_but_the_fee() -> None:
    context = power_context(platform=(), endpoints={"lab": ["gpt-oss-120b"]})
    eco = estimate(asks("anything"), context, WITH_FEE).levels[0]
    (cost,) = eco.costs
    assert (eco.model, cost.key_source, cost.high_cost_usd, cost.high_charge_micro_usd) == (
        "gpt-oss-120b", KeySource.CUSTOM, Decimal(0), 1500,
    )  # fmt: skip


def test_several_answers_cost_as_much_more() -> None:
    context = power_context(platform=("openai",))
    one = estimate(asks("gpt-5-mini", tokens=0, max_output_tokens=10), context).named
    three = estimate(asks("gpt-5-mini", tokens=0, max_output_tokens=10, choices=3), context).named
    assert three.longest_output_tokens == 30
    assert three.costs[0].low_cost_usd == 3 * one.costs[0].low_cost_usd


def test_an_embedding_has_no_output_and_no_levels() -> None:
    found = estimate(
        asks("text-embedding-3-small", tokens=1_000_000, kind=RequestKind.EMBEDDING),
        power_context(platform=("openai",)),
    )
    assert found.levels == []
    assert found.named.longest_output_tokens == 0
    assert found.named.costs[0].high_cost_usd == Decimal("0.02")


@pytest.mark.parametrize("tokens", [BIGINT_MAX, 10**15])
def test_absurd_counts_give_the_largest_amounts(tokens: int) -> None:
    request = asks("gpt-5-mini", tokens=0, max_output_tokens=tokens, choices=BIGINT_MAX)
    named = estimate(request, power_context(platform=("openai",))).named
    assert CostEstimate.decode(estimate(request, power_context(platform=("openai",))).encode()).named == named


def half_open(target: Target) -> Health:
    until = NOW - timedelta(seconds=1)
    return Health(target=target, state=CircuitState.OPEN, reason="5 of 5 failed", until=until, changed_at=NOW)


def test_no_half_open_target_is_probed() -> None:
    """A probe is one request's: an estimate would use it up and send nothing."""
    context = power_context(
        platform=("openai", "openrouter"),
        health=lambda target: half_open(target) if target.provider == "openai" else None,
    )
    asked = asks("gpt-5-mini", request_id="req_7")

    def probing(target: Target) -> bool:
        probed.append(target)
        return True

    probed: list[Target] = []
    context = replace(context, may_probe=probing)
    assert plan(asked, context).probed is not None, "the request itself would probe it"
    probed.clear()
    assert estimate(asked, context).named.model == "gpt-5-mini"
    assert probed == []
