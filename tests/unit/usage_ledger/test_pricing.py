"""Costs are exact, and never estimated."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.money import plain, usd
from keyferry.contracts.usage import Outcome, TokenUsage, UsageSource
from keyferry.pricing import package
from keyferry.pricing.file import BUNDLED_PRICES, PriceList
from keyferry.runtime.prices import load_prices
from services.usage_ledger.pricing import FREE, UNPRICED, Price, price
from tests.support.ledger.attempt_records import attempt_record

TOKEN_KINDS = tuple(TokenUsage.model_fields)
HEAD = 'version = "v1"\neffective = 2026-01-01\n'
ROW = HEAD + '[[price]]\nprovider = "p"\nmodel = "m"\n'
NOTHING = TokenUsage()

prices = st.integers(min_value=0, max_value=10**12).map(lambda micros: Decimal(micros).scaleb(-6))
tokens = st.integers(min_value=0, max_value=10**9)


@pytest.fixture(scope="module")
def bundled() -> PriceList:
    return load_prices(BUNDLED_PRICES)


@given(
    rates=st.fixed_dictionaries(dict.fromkeys(TOKEN_KINDS, prices)),
    counts=st.lists(tokens, min_size=len(TOKEN_KINDS), max_size=len(TOKEN_KINDS)),
)
def test_a_cost_is_the_exact_sum(rates: dict[str, Decimal], counts: list[int]) -> None:
    table = PriceList.parse(ROW + "".join(f"{kind} = {rate:f}\n" for kind, rate in rates.items()))
    token_usage = TokenUsage(**dict(zip(TOKEN_KINDS, counts, strict=True)))
    found = price(attempt_record(provider="p", model="m", token_usage=token_usage), table)
    assert found.pricing == "priced"
    assert found.version == "v1"
    assert found.cost_usd is not None
    expected = sum(Fraction(rates[kind]) * count for kind, count in zip(TOKEN_KINDS, counts, strict=True)) / 1_000_000
    assert Fraction(found.cost_usd) == expected
    assert found.cost_usd.as_tuple().exponent == -12


def test_a_cost_travels_as_money(bundled: PriceList) -> None:
    token_usage = TokenUsage(input=1_000, cached_read=11, output=7, reasoning=3)
    found = price(attempt_record(provider="openai", model="gpt-4o-mini", token_usage=token_usage), bundled)
    assert found.cost_usd == Decimal("0.000156825")
    assert plain(usd(found.cost_usd)) == "0.000156825"


def test_the_demo_shows_a_cost(bundled: PriceList) -> None:
    found = price(attempt_record(provider="echo", model="echo", token_usage=TokenUsage(input=10, output=10)), bundled)
    assert found == Price("priced", Decimal("0.000005"), bundled.version)


def test_reasoning_costs_what_output_costs_unless_it_has_its_own_price() -> None:
    token_usage = TokenUsage(reasoning=1_000_000)
    record = attempt_record(provider="p", model="m", token_usage=token_usage)
    for row, expected in (("", 4), ("reasoning = 5\n", 5), ("reasoning = 0\n", 0)):
        assert price(record, PriceList.parse(ROW + "output = 4\n" + row)).cost_usd == expected


def test_the_service_tier_that_served_the_call_sets_the_price() -> None:
    table = PriceList.parse(
        ROW + 'input = 1\n[[price]]\nprovider = "p"\nmodel = "m"\nservice_tier = "flex"\ninput = 7\n'
    )
    record = attempt_record(provider="p", model="m", token_usage=TokenUsage(input=1_000_000))
    for tier, expected in ((None, 1), ("flex", 7), ("priority", 1)):
        assert price(record.model_copy(update={"service_tier": tier}), table).cost_usd == expected


def test_a_model_without_a_price_is_unpriced(bundled: PriceList) -> None:
    some = TokenUsage(input=1)
    for provider, model in (("openai", "gpt-of-nobody"), ("custom", "gpt-4o"), ("echo", "other")):
        assert price(attempt_record(provider=provider, model=model, token_usage=some), bundled) == UNPRICED
    audio = TokenUsage(input=1, audio=1)
    assert price(attempt_record(provider="openai", model="gpt-4o", token_usage=audio), bundled) == UNPRICED


def test_prices_hold_from_their_first_day() -> None:
    table = PriceList.parse(ROW + "input = 1\n")
    first = datetime(2026, 1, 1, tzinfo=UTC)
    record = attempt_record(provider="p", model="m", token_usage=TokenUsage(input=1))
    for started_at, pricing in ((first, "priced"), (first - timedelta(microseconds=1), "unpriced")):
        assert price(record.model_copy(update={"started_at": started_at}), table).pricing == pricing


@pytest.mark.parametrize(
    ("outcome", "usage_source", "token_usage", "first_token_ms", "expected"),
    [
        (Outcome.FAILED, UsageSource.NONE, NOTHING, None, "free"),
        (Outcome.FAILED, UsageSource.NONE, NOTHING, 5, "unpriced"),
        (Outcome.FAILED, UsageSource.ESTIMATED, TokenUsage(input=1), 5, "priced"),
        (Outcome.CANCELLED, UsageSource.NONE, NOTHING, None, "unpriced"),
        (Outcome.CANCELLED, UsageSource.ESTIMATED, TokenUsage(input=1), 5, "priced"),
        (Outcome.COMPLETED, UsageSource.NONE, NOTHING, 5, "unpriced"),
        (Outcome.COMPLETED, UsageSource.REPORTED, NOTHING, 5, "priced"),
        (Outcome.INDETERMINATE, UsageSource.NONE, NOTHING, None, "unpriced"),
        (Outcome.INDETERMINATE, UsageSource.REPORTED, TokenUsage(input=1), None, "unpriced"),
    ],
)
def test_every_outcome(
    bundled: PriceList,
    outcome: Outcome,
    usage_source: UsageSource,
    token_usage: TokenUsage,
    first_token_ms: int | None,
    expected: str,
) -> None:
    record = attempt_record(
        outcome=outcome, usage_source=usage_source, token_usage=token_usage, first_token_ms=first_token_ms
    )
    assert price(record, bundled).pricing == expected


def test_a_failure_is_free_at_any_provider(bundled: PriceList) -> None:
    record = attempt_record(
        provider="custom",
        outcome=Outcome.FAILED,
        usage_source=UsageSource.NONE,
        token_usage=NOTHING,
        first_token_ms=None,
    )
    assert price(record, bundled) == FREE


def test_the_model_that_was_served_sets_the_price_where_both_have_one() -> None:
    table = PriceList.parse(ROW + 'input = 1\n[[price]]\nprovider = "p"\nmodel = "served"\ninput = 5\n')
    record = attempt_record(provider="p", model="m", token_usage=TokenUsage(input=1_000_000))
    for served, expected in (("served", 5), ("unlisted", 1), (None, 1)):
        assert price(record.model_copy(update={"model_served": served}), table).cost_usd == expected


def test_the_model_that_was_served_sets_the_price(bundled: PriceList) -> None:
    record = attempt_record(
        provider="openrouter",
        model="openrouter/auto",
        model_served="openai/gpt-4o-mini",
        token_usage=TokenUsage(input=1_000_000),
    )
    priced = price(record.model_copy(update={"started_at": datetime(2026, 11, 21, 12, tzinfo=UTC)}), bundled)
    assert (priced.cost_usd, priced.version) == (Decimal("0.15"), package.VERSION)
