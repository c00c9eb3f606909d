"""The currencies that Stripe takes, and how many decimal places its API has for each.

Source: docs.stripe.com/currencies, "Supported currencies", "Zero-decimal currencies", "Three-decimal currencies" and "Special
cases", as of API version 2026-10-28. They differ from ISO 4217: amounts in ISK and UGX have no decimals and are nevertheless
written with two, and a three-decimal amount always ends in 0. An amount in a currency that is not here is never credited by
itself: how much money it is would be a guess. Pure.
"""

from decimal import Decimal


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


ZERO_DECIMAL = _codes("bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf")
THREE_DECIMAL = _codes("bhd jod kwd omr tnd")
WRITTEN_WITH_TWO = frozenset({"isk", "ugx"})
"""Currencies without decimals whose amounts Stripe writes with two, both 0."""
_TWO_DECIMAL = _codes(
    "aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bmd bnd bob brl bsd bwp byn bzd cad cdf chf cny cop crc cve"
    " czk dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gtq gyd hkd hnl htg huf idr ils inr jmd kes kgs khr kyd"
    " kzt lak lbp lkr lrd lsl mad mdl mkd mmk mnt mop mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd pab pen pgk php pkr"
    " pln qar ron rsd rub sar sbd scr sek sgd shp sle sos srd std szl thb tjs top try ttd twd tzs uah usd uyu"
    " uzs wst xcd xcg yer zar zmw"
)
KNOWN = ZERO_DECIMAL | THREE_DECIMAL | WRITTEN_WITH_TWO | _TWO_DECIMAL


class UnknownCurrency(Exception):
    """The table has no such currency."""

    def __init__(self, currency: str) -> None:
        super().__init__(
            f"the currency {currency!r} is not among those that Stripe lists, so its amount is not certain"
        )


def decimals(currency: str) -> int:
    """Return how many decimal places amounts in a currency have at Stripe. Raises UnknownCurrency."""
    if currency in ZERO_DECIMAL:
        return 0
    if currency in THREE_DECIMAL:
        return 3
    if currency in KNOWN:
        return 2
    raise UnknownCurrency(currency)


def in_units(amount_minor: int, currency: str) -> Decimal:
    """Return an amount in whole units of its currency: 1000 are 10.00 USD, 1000 JPY or 1.000 KWD. Raises UnknownCurrency."""
    return Decimal(amount_minor).scaleb(-decimals(currency))


def show_amount(amount_minor: int, currency: str) -> str:
    """Return an amount for people: `10.00 USD`, `1000 JPY`; of an unknown currency, the number that Stripe has."""
    try:
        places = 0 if currency in WRITTEN_WITH_TWO else decimals(currency)
        return f"{in_units(amount_minor, currency):.{places}f} {currency.upper()}"
    except UnknownCurrency:
        return f"{amount_minor} in minor units of {currency.upper()}"
