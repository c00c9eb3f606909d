"""A tariff's arithmetic is exact for any counts, and an inexact price is refused."""

from decimal import Decimal

import pytest

from keyferry.contracts.usage import TokenUsage
from keyferry.pricing.tariff import Rate, Tariff, per_token


def test_a_cost_beyond_the_usual_precision_is_exact() -> None:
    """Python's decimals have 28 digits unless a context says otherwise."""
    tariff = Tariff({"input": Rate(10**12 + 1)})
    assert tariff.cost(TokenUsage(input=10**17 + 1)) == Decimal("100000000000100001.000000000001")


def test_a_price_with_seven_places_is_refused_with_the_limit() -> None:
    assert per_token(Decimal("0.000001")) == 1
    with pytest.raises(ValueError, match="a price per million tokens has at most 6 decimal places"):
        per_token(Decimal("0.0000001"))


@pytest.mark.parametrize(("prompt_tokens", "price"), [(0, 1), (10, 1), (11, 2), (20, 2), (21, 3)])
def test_a_prompt_longer_than_a_step_pays_the_steps_price(prompt_tokens: int, price: int) -> None:
    assert Rate(1, ((10, 2), (20, 3))).at(prompt_tokens) == price


def test_a_kind_without_a_rate_has_no_cost_and_its_absence_costs_nothing() -> None:
    tariff = Tariff({"input": Rate(1)}, per_request=5)
    assert tariff.cost(TokenUsage()) == Decimal("0.000000000005")
    assert tariff.cost(TokenUsage(output=1)) is None
    assert tariff.cost(TokenUsage(cached_read=2)) == Decimal("0.000000000007")
