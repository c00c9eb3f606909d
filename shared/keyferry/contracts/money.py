"""Exact amounts of money.

Prices and costs are decimals of US dollars with at most twelve places: a price per million tokens with six places gives a
cost per token with twelve, so no attempt's cost ever needs rounding. Fifteen digits before the point and twelve after it fit
the precision of Python's decimals (28), so sums are exact too. Floats are rejected everywhere, because a float that looks like
0.1 is already inexact. Pure.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

PLACES = 12
WHOLE_DIGITS = 15
_LARGEST = Decimal(10**WHOLE_DIGITS - 1)
_QUANTUM = Decimal(1).scaleb(-PLACES)


def usd(value: object) -> Decimal:
    """Return `value` (str, int or Decimal) as dollars. Raises ValueError for floats, non-numbers, over 12 places, from 10^15."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError(f"money must be a decimal string, an integer or a Decimal, not {type(value).__name__}")
    try:
        amount = Decimal(value)
    except ArithmeticError:
        raise ValueError(f"{value!r} is not an amount of money") from None
    if not amount.is_finite():
        raise ValueError(f"{value!r} is not a finite amount of money")
    if amount.adjusted() >= WHOLE_DIGITS:
        raise ValueError(f"an amount of money is too large: at most {WHOLE_DIGITS} digits before the decimal point")
    exponent = amount.as_tuple().exponent
    if isinstance(exponent, int) and exponent >= -PLACES:
        return amount
    cut = amount.quantize(_QUANTUM)
    if cut != amount:
        raise ValueError(f"{value!r} has more than {PLACES} decimal places")
    return cut


def bounded(amount: Decimal | None) -> Decimal | None:
    """Return a sum of amounts, or the largest amount where the sum is larger: a summary must not fail over one absurd record."""
    return None if amount is None else min(amount, _LARGEST)


def plain(amount: Decimal) -> str:
    """Return decimal text without an exponent or trailing zeros, as in APIs and messages."""
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def sum_known(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Return the sum of the known amounts; None if there are amounts and none is known, so that unknown never reads as 0."""
    all_amounts = list(amounts)
    known = [amount for amount in all_amounts if amount is not None]
    return sum(known, Decimal(0)) if known or not all_amounts else None


def describe_sum(known: Decimal | None, unpriced: int) -> str:
    """Return the sum of the known costs beside the number of unknown ones: `$1.5`, `$1.5 + 2 unknown` or `unknown`."""
    if known is None:
        return "unknown"
    return f"${plain(known)} + {unpriced} unknown" if unpriced else f"${plain(known)}"


Usd = Annotated[Decimal, BeforeValidator(usd), PlainSerializer(plain, return_type=str, when_used="json")]
"""Dollars: a Decimal in Python, a decimal string on the wire."""
