"""Currencies, their minor units and the least amounts that can be charged. Pure."""

from deploy.billing_demo.stripe.problem import StripeApiError, invalid_parameter

ZERO_DECIMAL = frozenset(
    "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split()  # noqa: SIM905 - a table of words
)
THREE_DECIMAL = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
SUPPORTED = (
    frozenset(
        "aed all amd ang aud awg azn bam bbd bdt bgn bmd bnd bob brl bsd bwp byn bzd cad cdf chf cny cop crc cve czk dkk dop"  # noqa: SIM905
        " dzd egp etb eur fjd fkp gbp gel gip gmd gtq gyd hkd hnl htg huf idr ils inr isk jmd kes kgs khr kyd kzt lak lbp"
        " lkr lrd lsl mad mdl mkd mmk mnt mop mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd pab pen pgk php pkr pln qar"
        " ron rsd rub sar sbd scr sek sgd shp sle sos srd std szl thb tjs top try ttd twd tzs uah ugx usd uyu uzs wst xcd"
        " yer zar zmw".split()
    )
    | ZERO_DECIMAL
    | THREE_DECIMAL
)
_LEAST = {"usd": 50, "eur": 50, "gbp": 30, "jpy": 50, "chf": 50, "cad": 50, "aud": 50, "sek": 300, "mxn": 1000}
_MOST = 99_999_999


def check_currency(currency: str, param: str = "currency") -> str:
    """Return a currency's code in lower case. Raises StripeApiError if Stripe does not support it."""
    code = currency.lower()
    if code not in SUPPORTED:
        raise invalid_parameter(
            param,
            f"Invalid currency: {currency}. Stripe currently supports these currencies: {', '.join(sorted(SUPPORTED))}",
        )
    return code


def check_amount(amount: int, currency: str, param: str = "amount") -> int:
    """Return an amount in minor units that can be charged. Raises StripeApiError."""
    if amount < 1:
        raise invalid_parameter(param, "This value must be greater than or equal to 1.", "parameter_invalid_integer")
    least = _LEAST.get(currency, 1)
    if amount < least:
        raise StripeApiError(
            f"Amount must be at least {format_amount(least, currency)}", code="amount_too_small", param=param
        )
    if amount > _MOST:
        raise StripeApiError(
            f"Amount must be no more than {format_amount(_MOST, currency)}", code="amount_too_large", param=param
        )
    return amount


def minor_digits(currency: str) -> int:
    """Return how many digits of an amount in minor units are behind the point."""
    if currency in ZERO_DECIMAL:
        return 0
    return 3 if currency in THREE_DECIMAL else 2


def format_amount(amount: int, currency: str) -> str:
    """Return an amount in minor units as a person reads it: 5.00 usd, 500 jpy."""
    digits = minor_digits(currency)
    sign, value = "-" if amount < 0 else "", abs(amount)
    whole, rest = divmod(value, 10**digits)
    return f"{sign}{whole}.{rest:0{digits}} {currency}" if digits else f"{sign}{whole} {currency}"
