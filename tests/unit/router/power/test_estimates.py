"""Estimates: the model of each level and the range of its cost, by key source."""

from decimal import Decimal

from keyferry.contracts.features import PowerLevel
from keyferry.contracts.tenancy import KeyPolicy, Tier
from keyferry.contracts.usage import KeySource
from services.router.power.estimates import estimate_levels
from tests.support.router.keys_and_prices import list_price
from tests.support.router.power import asks, power_context

ECO, BALANCED, PRECISION = PowerLevel


def price(provider: str) -> Decimal:
    """Return the list price of 100,000 tokens of input and one of output."""
    found = list_price(provider, "openai/gpt-oss-20b")
    assert found is not None
    assert found.output_usd is not None
    return (100_000 * found.input_usd + found.output_usd) / 10**6


def test_each_level_has_its_model_and_range() -> None:
    found = estimate_levels(
        asks("anything", tokens=1_000, max_output_tokens=2_000), power_context(platform=("openai",))
    )
    assert [(each.level, each.model) for each in found] == [
        (ECO, "gpt-5-nano"), (BALANCED, "gpt-5-mini"), (PRECISION, "gpt-5.5"),
    ]  # fmt: skip
    eco = found[0].costs
    assert [cost.key_source for cost in eco] == [KeySource.PLATFORM]
    # $0.05 and $0.40 a million: 1,000 in with 1,000 to 2,000 out.
    assert (eco[0].low_usd, eco[0].high_usd) == (Decimal("0.00045"), Decimal("0.00085"))


def test_own_and_platform_keys_have_ranges_of_their_own() -> None:
    context = power_context(platform=("openrouter",), own=("groq",), policy=KeyPolicy.OWN_THEN_PLATFORM)
    request = asks("anything", tokens=1_000_000, max_output_tokens=1, allowed_models=["gpt-oss-20b"])
    assert estimate_levels(request, context)[0].model is None, "its context has 131,072 tokens"
    request = asks("anything", tokens=100_000, max_output_tokens=1, allowed_models=["gpt-oss-20b"])
    costs = {cost.key_source: cost.low_usd for cost in estimate_levels(request, context)[0].costs}
    assert costs == {KeySource.BYOK: price("groq"), KeySource.PLATFORM: price("openrouter")}


def test_a_level_without_a_model_says_why() -> None:
    precision = estimate_levels(asks("anything"), power_context(Tier.FREE))[2]
    assert (precision.model, precision.costs) == (None, ())
    assert "precision needs a quality of 80" in precision.detail


def test_an_own_endpoint_costs_nothing() -> None:
    context = power_context(platform=(), endpoints={"lab": ["gpt-oss-120b"]})
    eco = estimate_levels(asks("anything"), context)[0]
    assert (eco.model, [(cost.key_source, cost.high_usd) for cost in eco.costs]) == (
        "gpt-oss-120b",
        [(KeySource.CUSTOM, Decimal(0))],
    )
