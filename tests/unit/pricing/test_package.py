"""Prices of the package: equal to its own arithmetic wherever that can express the case, exact, and never estimated."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext

import pytest
from genai_prices.data import providers
from genai_prices.types import ModelInfo, ModelPrice, StartDateConstraint, Usage
from genai_prices.types import Provider as PricedProvider

from keyferry.contracts.usage import TokenUsage
from keyferry.pricing import package
from keyferry.pricing.tariff import TOKEN_KINDS, Tariff

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
OURS = {theirs: ours for ours, theirs in package._IDS.items() if ours != "vertex"}
_COMPARABLE = {
    "input_mtok",
    "output_mtok",
    "cache_read_mtok",
    "cache_write_mtok",
    "cache_write_1h_mtok",
    "requests_kcount",
    "web_searches_kcount",
}
"""Prices whose units our kinds of tokens distinguish exactly as the package does."""


def comparable_models() -> Iterator[tuple[str, PricedProvider, ModelInfo]]:
    for provider in providers:
        for model in provider.models if provider.id in OURS else ():
            yield OURS[provider.id], provider, model


def _priced(price: ModelPrice) -> set[str]:
    return {name for name, value in vars(price).items() if value is not None}


def test_every_price_agrees_with_the_packages_own_arithmetic() -> None:
    chance, compared = random.Random(20), 0
    for ours, provider, model in comparable_models():
        price = model.get_prices(NOW)
        tariff = package.find_tariff(ours, model.id, NOW, None)
        if tariff is None or provider.find_model(model.id) is not model or not _priced(price) <= _COMPARABLE:
            continue
        counts = {kind: chance.randrange(300_000) for kind in ("input", "cached_read", "output")}
        if "cache_write_mtok" in _priced(price):
            counts["cache_write"] = chance.randrange(1000)
        if "cache_write_1h_mtok" in _priced(price):
            counts["cache_write_1h"] = chance.randrange(1000)
        token_usage = TokenUsage(**counts)
        usage = Usage(
            input_tokens=token_usage.prompt,
            output_tokens=token_usage.completion,
            cache_read_tokens=token_usage.cached_read,
            cache_write_tokens=token_usage.cache_write + token_usage.cache_write_1h,
            cache_write_1h_tokens=token_usage.cache_write_1h,
        )
        with localcontext(prec=60):
            theirs = model.calc_price(usage, provider, genai_request_timestamp=NOW).total_price
        mine = tariff.cost(token_usage)
        if mine is None:  # completion tokens of a model that has no price for them
            continue
        assert abs(mine - theirs) < Decimal("1e-9"), f"{ours} {model.id}: {mine} and not {theirs}"
        compared += 1
    assert compared > 500, "hardly anything was compared"


def _independent(tariff: Tariff, token_usage: TokenUsage) -> Decimal | None:
    """Return the cost computed independently: dollars per million from the rates, with only the documented fallbacks."""
    with localcontext(prec=60):
        total = Decimal(tariff.per_request) / 10**12
        for kind in TOKEN_KINDS:
            count = int(getattr(token_usage, kind))
            rate = tariff.rates.get(kind) or tariff.rates.get(
                {"cached_read": "input", "image": "input", "reasoning": "output"}.get(kind, kind)
            )
            if count and rate is None:
                return None
            if count and rate is not None:
                price = rate.base
                for start, higher in rate.steps:
                    price = higher if token_usage.prompt > start else price
                total += Decimal(count) * (Decimal(price) / 10**6) / 10**6
        return total


def _agree_on(combinations: int, seed: int) -> None:
    chance = random.Random(seed)
    tariffs = [
        tariff for ours, _, model in comparable_models() if (tariff := package.find_tariff(ours, model.id, NOW, None))
    ]
    priced = 0
    for _ in range(combinations):
        tariff = chance.choice(tariffs)
        listed = [kind for kind in TOKEN_KINDS if tariff.rate_of(kind) is not None]
        # One time in ten any kind, priced or not.
        among = TOKEN_KINDS if not listed or chance.random() < 0.1 else listed
        used = chance.sample(among, chance.randint(1, min(5, len(among))))
        token_usage = TokenUsage(
            **(dict.fromkeys(TOKEN_KINDS, 0) | {kind: chance.randrange(10 ** chance.randint(1, 9)) for kind in used})
        )
        cost, expected = tariff.cost(token_usage), _independent(tariff, token_usage)
        assert cost == expected, f"{tariff} {token_usage}"
        priced += cost is not None
    assert priced > combinations // 2


def test_costs_equal_an_independent_computation() -> None:
    _agree_on(20_000, seed=1)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_costs_equal_an_independent_computation_a_million_times() -> None:
    _agree_on(1_000_000, seed=2)


def test_an_hours_cache_writes_cost_more_than_five_minutes() -> None:
    tariff = package.find_tariff("anthropic", "claude-haiku-4-5", NOW, None)
    assert tariff is not None
    short, long = (tariff.cost(TokenUsage(**{kind: 1_000_000})) for kind in ("cache_write", "cache_write_1h"))
    assert (short, long) == (Decimal("1.25"), Decimal(2))


def test_a_long_prompt_changes_the_price_of_every_token() -> None:
    tariff = package.find_tariff("gemini", "gemini-2.5-pro", NOW, None)
    assert tariff is not None
    assert tariff.cost(TokenUsage(input=200_000, output=10)) == Decimal("0.2501")
    assert tariff.cost(TokenUsage(input=200_001, output=10)) == Decimal("0.5001525")


def test_batch_and_tiers_have_their_own_prices() -> None:
    plain, batch = (package.find_tariff("openai", "gpt-4o", NOW, tier) for tier in (None, "batch"))
    assert plain is not None
    assert batch is not None
    token_usage = TokenUsage(input=1_000_000)
    assert (plain.cost(token_usage), batch.cost(token_usage)) == (Decimal("2.5"), Decimal("1.25"))


def test_a_price_holds_from_its_day_on() -> None:
    dated = next(
        (ours, model, price.constraint.start_date)
        for ours, _, model in comparable_models()
        if isinstance(model.prices, list)
        for price in model.prices[1:]
        if isinstance(price.constraint, StartDateConstraint)
    )
    ours, model, start_date = dated
    first = datetime.combine(start_date, datetime.min.time(), UTC)
    assert package.find_tariff(ours, model.id, first, None) is not None
    before = model.get_prices(first - timedelta(days=1))
    assert before is not model.get_prices(first)


def test_prices_that_need_estimates_are_unpriced() -> None:
    tariff = package.find_tariff("openai", "gpt-4o", NOW, None)
    assert tariff is not None
    for kind in ("audio", "audio_output", "image_output", "cache_write", "cache_write_1h"):
        assert tariff.cost(TokenUsage(input=5, **{kind: 1})) is None, f"{kind} was guessed"


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "text-embedding-3-small"),
        ("bedrock", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("bedrock", "us.amazon.nova-pro-v1:0"),
        ("huggingface", "openai/gpt-oss-120b:groq"),
        ("perplexity", "sonar"),
    ],
)
def test_names_with_special_forms_are_priced(provider: str, model: str) -> None:
    tariff = package.find_tariff(provider, model, NOW, None)
    assert tariff is not None
    assert tariff.cost(TokenUsage(input=10))
