"""Money is exact, or rejected."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from keyferry.contracts.money import PLACES, Usd, bounded, describe_sum, plain, sum_known, usd

AMOUNTS = st.decimals(min_value=-(10**9), max_value=10**9, places=PLACES, allow_nan=False, allow_infinity=False)


class Priced(BaseModel):
    cost_usd: Usd


@pytest.mark.parametrize("value", [0.1, 1.0, float("nan"), True, None, b"1", [1], 1 + 0j])
def test_inexact_numbers_are_rejected(value: object) -> None:
    with pytest.raises(ValueError, match="money must be"):
        usd(value)


def test_the_kind_of_an_inexact_number_is_in_the_error() -> None:
    with pytest.raises(ValueError, match="not float"):
        usd(0.1)


def test_an_amount_keeps_its_places() -> None:
    for text in ("1.5", "1", "0.000000000001"):
        assert usd(text).as_tuple() == Decimal(text).as_tuple()
    assert usd("0.10000000000000000").as_tuple() == Decimal("0.100000000000").as_tuple()


def test_the_sum_of_nothing_is_an_amount() -> None:
    assert isinstance(sum_known([]), Decimal)


@pytest.mark.parametrize("value", ["NaN", "sNaN", "Infinity", "-inf", Decimal("NaN"), "", "1,5", "$1", "one"])
def test_non_amounts_are_rejected(value: object) -> None:
    with pytest.raises(ValueError, match="amount of money"):
        usd(value)


@pytest.mark.parametrize(
    "value", ["0.0000000000001", "1e-13", Decimal("1.1234567890123"), "999999999999999.0000000000001"]
)
def test_more_than_twelve_places_are_rejected(value: object) -> None:
    with pytest.raises(ValueError, match="more than 12 decimal places"):
        usd(value)


@pytest.mark.parametrize("value", ["1e15", "-1e15", 10**15, "1e999999999", "0e999999999", "1" * 40 + ".0000000000001"])
def test_amounts_beyond_exact_arithmetic_are_rejected(value: object) -> None:
    with pytest.raises(ValueError, match="too large"):
        usd(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0.1", "0.1"),
        ("0.10000000000000000", "0.1"),
        ("1e-12", "0.000000000001"),
        ("999999999999999.999999999999", "999999999999999.999999999999"),
        ("0e-999999999", "0"),
        ("100", "100"),
        ("1E+3", "1000"),
        (7, "7"),
        (Decimal("-2.50"), "-2.5"),
    ],
)
def test_an_amount_is_written_without_exponent_or_trailing_zeros(value: object, text: str) -> None:
    assert plain(usd(value)) == text


@given(AMOUNTS)
def test_an_amount_is_encoded_and_decoded_exactly(amount: Decimal) -> None:
    text = Priced(cost_usd=amount).model_dump_json()
    assert Priced.model_validate_json(text).cost_usd == amount


@given(st.lists(AMOUNTS, max_size=50))
def test_sums_are_exact(amounts: list[Decimal]) -> None:
    assert Fraction(sum((usd(plain(amount)) for amount in amounts), Decimal())) == sum(map(Fraction, amounts))


@pytest.mark.parametrize(
    "text", ['{"cost_usd": 0.1}', '{"cost_usd": 1.0}', '{"cost_usd": true}', '{"cost_usd": "1e99"}']
)
def test_a_message_with_inexact_money_is_rejected(text: str) -> None:
    with pytest.raises(ValidationError):
        Priced.model_validate_json(text)


@pytest.mark.parametrize(
    ("amounts", "known", "text"),
    [
        ([], Decimal(0), "$0"),
        ([None], None, "unknown"),
        ([None] * 62, None, "unknown"),
        ([Decimal("1.5"), None, None], Decimal("1.5"), "$1.5 + 2 unknown"),
        ([Decimal(0), None], Decimal(0), "$0 + 1 unknown"),
        ([Decimal("1.5"), Decimal("0.25")], Decimal("1.75"), "$1.75"),
    ],
)
def test_unknown_amounts_are_never_summed_as_0(amounts: list[Decimal | None], known: Decimal | None, text: str) -> None:
    assert sum_known(amounts) == known
    assert describe_sum(sum_known(amounts), amounts.count(None)) == text


def test_a_sum_is_bounded() -> None:
    assert bounded(None) is None
    assert bounded(Decimal("1.5")) == Decimal("1.5")
    assert usd(bounded(Decimal(10) ** 20)) == Decimal("999999999999999")
