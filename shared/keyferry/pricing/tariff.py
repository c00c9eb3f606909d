"""What tokens cost at one provider for one model: rates per meter, which may change with the length of the prompt.

Rates are whole numbers of 10^-12 dollars a token: prices per million tokens have at most six places, so nothing is ever rounded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact, InvalidOperation

from keyferry.contracts.money import PLACES
from keyferry.contracts.usage import TokenUsage

METERS = tuple(TokenUsage.model_fields)
PRICE_PLACES = 6
_EXACT = Context(prec=60, traps=[Inexact, InvalidOperation])

_STANDS_IN: Mapping[str, str] = {
    "cached_read": "input",
    "image": "input",
    "reasoning": "output",
}
"""What a meter without a rate of its own costs: providers list a rate for these where it differs from their text's.

For the others nothing stands in. A cache write costs more than plain input wherever it is priced at all, and audio and drawn
images cost many times what text does: without a rate nobody may guess.
"""


@dataclass(frozen=True, slots=True)
class Rate:
    """The price of one token, in 10^-12 dollars. A prompt longer than a step's tokens pays the step's price for all tokens."""

    base: int
    steps: tuple[tuple[int, int], ...] = ()
    """(prompt tokens, price) in ascending order."""

    def at(self, prompt_tokens: int) -> int:
        """The price for a prompt of this length."""
        return next((price for start, price in reversed(self.steps) if prompt_tokens > start), self.base)


@dataclass(frozen=True, slots=True)
class Tariff:
    """Rates by meter, and what a request costs by itself, in 10^-12 dollars."""

    rates: Mapping[str, Rate] = field(default_factory=dict)
    per_request: int = 0

    def cost(self, token_usage: TokenUsage) -> Decimal | None:
        """The exact cost in dollars; null where tokens were used that have no rate."""
        total = self.per_request
        prompt_tokens = token_usage.prompt
        for meter in METERS:
            count = getattr(token_usage, meter)
            if count:
                rate = self.rate_of(meter)
                if rate is None:
                    return None
                total += count * rate.at(prompt_tokens)
        return Decimal(total).scaleb(-PLACES, _EXACT)

    def rate_of(self, meter: str) -> Rate | None:
        """The rate of a meter: its own, or the one that stands in for it."""
        own = self.rates.get(meter)
        return self.rates.get(_STANDS_IN.get(meter, "")) if own is None else own


def per_token(dollars_per_million: Decimal) -> int:
    """A price per million tokens as 10^-12 dollars a token. Raises ValueError beyond six places."""
    scaled = dollars_per_million.scaleb(PRICE_PLACES)
    if scaled != scaled.to_integral_value():
        raise ValueError(f"a price per million tokens has at most {PRICE_PLACES} decimal places")
    return int(scaled)
