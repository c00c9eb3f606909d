"""Amounts in minor units of every currency that Stripe lists."""

from decimal import Decimal

import pytest

from services.billing.stripe.currencies import (
    KNOWN,
    THREE_DECIMAL,
    WRITTEN_WITH_TWO,
    ZERO_DECIMAL,
    UnknownCurrency,
    decimals,
    in_units,
    show_amount,
)


@pytest.mark.parametrize(
    ("minor", "currency", "units", "shown"),
    [
        (1000, "usd", "10.00", "10.00 USD"),
        (1, "eur", "0.01", "0.01 EUR"),
        (1000, "jpy", "1000", "1000 JPY"),
        (5120, "kwd", "5.120", "5.120 KWD"),
        (100000, "isk", "1000.00", "1000 ISK"),
        (50000, "ugx", "500.00", "500 UGX"),
        (0, "krw", "0", "0 KRW"),
    ],
)
def test_amounts_are_shown_with_the_places_of_their_currency(minor: int, currency: str, units: str, shown: str) -> None:
    assert in_units(minor, currency) == Decimal(units)
    assert show_amount(minor, currency) == shown


def test_no_currency_has_two_numbers_of_places() -> None:
    assert not ZERO_DECIMAL & THREE_DECIMAL
    assert not (ZERO_DECIMAL | THREE_DECIMAL) & WRITTEN_WITH_TWO
    assert {decimals(currency) for currency in KNOWN} == {0, 2, 3}
    assert len(KNOWN) > 135
    assert all(len(currency) == 3 and currency.islower() for currency in KNOWN)


@pytest.mark.parametrize("currency", ["xxx", "USD", "btc", ""])
def test_an_amount_in_an_unknown_currency_is_no_number_of_units(currency: str) -> None:
    with pytest.raises(UnknownCurrency, match="not among those that Stripe lists"):
        in_units(1000, currency)
    assert "minor units" in show_amount(1000, currency)
