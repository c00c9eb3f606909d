"""Messages about list prices that an operator sets. They take precedence over the price file and the price package. Pure."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator
from pydantic_core import PydanticCustomError

from keyferry.contracts.catalog import CatalogPart
from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, ChosenModel, ModelName, ProviderName
from keyferry.contracts.money import plain, usd
from keyferry.contracts.text import Explanation, Moment, Ordinal

PRICE_PLACES = 6
"""Decimal places of a price per million tokens: with them the price of one token has twelve, as amounts of money do."""
_MAX_PRICE = Decimal(1_000_000)
"""Far above any real price per million tokens, to catch a misplaced decimal point."""
_FACTOR_PLACES = 4
_MAX_FACTOR = Decimal(100)


def _parse(value: object) -> Decimal:
    """Parse a decimal as money is parsed. The error repeats nothing, so that it can be shown."""
    try:
        return usd(value)
    except ValueError:
        raise PydanticCustomError("decimal", 'this must be a decimal number as text, such as "0.15"') from None


def check_price(price: Decimal) -> Decimal:
    """Return a price per million tokens. Raises PydanticCustomError for one that no model has."""
    if not 0 <= price <= _MAX_PRICE:
        raise PydanticCustomError("price", f"a price per million tokens lies between 0 and {_MAX_PRICE}")
    if price != price.quantize(Decimal(1).scaleb(-PRICE_PLACES)):
        raise PydanticCustomError("price", f"a price per million tokens has at most {PRICE_PLACES} decimal places")
    return price


def _factor(factor: Decimal) -> Decimal:
    if not 0 < factor <= _MAX_FACTOR:
        raise PydanticCustomError("factor", f"a factor lies above 0 and is at most {_MAX_FACTOR}")
    if factor != factor.quantize(Decimal(1).scaleb(-_FACTOR_PLACES)):
        raise PydanticCustomError("factor", f"a factor has at most {_FACTOR_PLACES} decimal places")
    return factor


_AS_TEXT = PlainSerializer(plain, return_type=str, when_used="json")
PerMillion = Annotated[Decimal, BeforeValidator(_parse), AfterValidator(check_price), _AS_TEXT]
"""US dollars per million tokens."""
PriceFactor = Annotated[Decimal, BeforeValidator(_parse), AfterValidator(_factor), _AS_TEXT]


class TokenPrices(CatalogPart):
    """Prices in US dollars per million tokens; null if a kind of token has no price of its own.

    Without a price of its own, reasoning costs as much as output, and cached_read and image as much as input.
    """

    input: PerMillion | None = None
    cached_read: PerMillion | None = None
    cache_write: PerMillion | None = None
    cache_write_1h: PerMillion | None = None
    output: PerMillion | None = None
    reasoning: PerMillion | None = None
    audio: PerMillion | None = None
    image: PerMillion | None = None
    audio_output: PerMillion | None = None
    image_output: PerMillion | None = None
    per_request: PerMillion | None = None
    """Dollars per million requests, in addition to the tokens."""

    def given(self) -> Mapping[str, Decimal]:
        """Return the prices that are set, by kind of token."""
        return {name: price for name in type(self).model_fields if (price := getattr(self, name)) is not None}


def require_one_price(prices: TokenPrices | None, base: str | None, factor: Decimal | None) -> None:
    """Check that a price is given either as amounts or as a multiple. Raises PydanticCustomError."""
    if (prices is None) == (base is None):
        raise PydanticCustomError("one_price", "give either `prices`, or `base` with an optional `factor`")
    if prices is not None and (factor is not None or prices.input is None):
        raise PydanticCustomError("one_price", "`prices` need at least `input`, and take no `factor`")


class PriceEntry(Message):
    """The price of one provider's model from a moment on: amounts, or the price of another model times a factor."""

    provider: ProviderName
    model: ModelName
    """The provider's own name for it."""
    effective: Moment
    """Attempts that began before it keep the price that held then."""
    prices: TokenPrices | None = None
    base: ModelName | None = None
    """The provider's name for the model whose price it is a multiple of, as for a fine-tuned model."""
    factor: PriceFactor | None = None
    revision: Ordinal
    """Different for every price that was ever set; part of the price version of an attempt."""
    changed_at: Moment
    changed_by: Actor


class SavedPrice(PriceEntry):
    """A price as it was set."""

    warnings: list[Explanation] = Field(default_factory=list)
    """What may keep it from being used."""


class SetPrice(Command):
    """Set the price of one provider's model from a moment on; replaces the price that was set for the same moment."""

    provider: ProviderName
    model: ChosenModel
    effective: Moment | None = None
    """Null for now."""
    prices: TokenPrices | None = None
    """Exactly one of `prices` and `base` is given."""
    base: ChosenModel | None = None
    factor: PriceFactor | None = None
    """Null for 1."""
    actor: Actor = "operator"
    """Who does it, for the audit."""

    @model_validator(mode="after")
    def _require_one(self) -> Self:
        require_one_price(self.prices, self.base, self.factor)
        return self


class RemovePrice(Command):
    """Remove a price. Costs that are recorded stay as they are."""

    provider: ProviderName
    model: ChosenModel
    effective: Moment
    actor: Actor = "operator"
    """Who does it, for the audit."""


class ListPriceEntries(Command):
    """Request the prices that operators set. Null fields do not filter."""

    provider: ProviderName | None = None
    model: ChosenModel | None = None


class PriceEntries(Message):
    """Prices that operators set, by provider and model, the newest first."""

    prices: list[PriceEntry]
