"""The double and the product agree about what an amount is, although neither reads the other's table."""

import pytest

from deploy.billing_demo.stripe.currencies import SUPPORTED, minor_digits
from services.billing.stripe.currencies import decimals


@pytest.mark.parametrize("currency", sorted(SUPPORTED))
def test_amounts_have_the_same_decimal_places(currency: str) -> None:
    assert minor_digits(currency) == decimals(currency)
