"""The cost of tokens at one provider for one model: a rate per kind of token, which may depend on the prompt's length.

Rates are whole numbers of 10^-12 dollars per token: prices per million tokens have at most six decimal places, so nothing is
ever rounded. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact, InvalidOperation

from keyferry.contracts.money import PLACES
from keyferry.contracts.price_edits import PRICE_PLACES as PRICE_PLACES
from keyferry.contracts.usage import TokenUsage

TOKEN_KINDS = tuple(TokenUsage.model_fields)
_EXACT = Context(prec=60, traps=[Inexact, InvalidOperation])

_FALLBACK_KINDS: Mapping[str, str] = {
    "cached_read": "input",
    "image": "input",
    "reasoning": "output",
}
"""The kind whose rate applies to a kind without its own: providers list a rate for these only where it differs from text's.

The others have no fallback. A cache write costs more than plain input wherever it has a price, and audio and generated images
cost many times as much as text, so without a rate the cost is unknown.
"""


@dataclass(frozen=True, slots=True)
class Rate:
    """The price of one token, in 10^-12 dollars. A prompt longer than a step's tokens pays the step's price for all tokens."""

    base: int
    steps: tuple[tuple[int, int], ...] = ()
    """(prompt tokens, price) in ascending order."""

    def at(self, prompt_tokens: int) -> int:
        """Return the price for a prompt of this length."""
        return next((price for start, price in reversed(self.steps) if prompt_tokens > start), self.base)


@dataclass(frozen=True, slots=True)
class Tariff:
    """Rates by kind of token, and the fee per request, in 10^-12 dollars."""

    rates: Mapping[str, Rate] = field(default_factory=dict)
    per_request: int = 0

    def cost(self, token_usage: TokenUsage) -> Decimal | None:
        """Return the exact cost in dollars; None if tokens of a kind without a rate were used."""
        total = self.per_request
        prompt_tokens = token_usage.prompt
        for kind in TOKEN_KINDS:
            count = getattr(token_usage, kind)
            if count:
                rate = self.rate_of(kind)
                if rate is None:
                    return None
                total += count * rate.at(prompt_tokens)
        return Decimal(total).scaleb(-PLACES, _EXACT)

    def rate_of(self, kind: str) -> Rate | None:
        """Return the rate of a kind of token: its own, or that of its fallback kind."""
        own = self.rates.get(kind)
        return self.rates.get(_FALLBACK_KINDS.get(kind, "")) if own is None else own


def per_token(dollars_per_million: Decimal) -> int:
    """Convert a price per million tokens to 10^-12 dollars per token. Raises ValueError beyond six decimal places."""
    scaled = dollars_per_million.scaleb(PRICE_PLACES)
    if scaled != scaled.to_integral_value():
        raise ValueError(f"a price per million tokens has at most {PRICE_PLACES} decimal places")
    return int(scaled)
