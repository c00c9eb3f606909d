"""What an attempt costs: its meters times a list price, exactly.

Prices are dollars per million tokens with at most six places, so the price of one token is a whole number of 10^-12 dollars.
Costs are summed in those units as integers and become a decimal at the end; nothing is ever rounded.
"""

import tomllib
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from keyferry.contracts.envelope import describe
from keyferry.contracts.money import PLACES, usd
from keyferry.contracts.usage import AttemptRecord, Basis, Outcome, TokenMeters

_PRICE_PLACES = 6
_MAX_PRICE = Decimal(1_000_000)
"""Far above any price per million tokens; a figure beyond it is a misplaced decimal point."""
_EXACT = Context(prec=60, traps=[Inexact, InvalidOperation])


def _rate(price: Decimal) -> Decimal:
    if not 0 <= price <= _MAX_PRICE:
        raise ValueError(f"a price per million tokens lies between 0 and {_MAX_PRICE}")
    if price != price.quantize(Decimal(1).scaleb(-_PRICE_PLACES)):
        raise ValueError(f"a price per million tokens has at most {_PRICE_PLACES} decimal places")
    return price


Rate = Annotated[Decimal, BeforeValidator(usd), AfterValidator(_rate)]
"""Dollars per million tokens."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class PriceRow(BaseModel):
    """The prices of one provider's model; none where that kind of token has no price."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: Name
    model: Name
    input: Rate | None = None
    cached_read: Rate | None = None
    cache_write: Rate | None = None
    output: Rate | None = None
    reasoning: Rate | None = None
    """As `output` where it is not given."""
    audio: Rate | None = None
    image: Rate | None = None


class PriceFile(BaseModel):
    """A whole price file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    effective: date
    """First day, in UTC, to whose attempts the prices apply."""
    price: Annotated[list[PriceRow], Field(min_length=1)]


class BadPriceFile(ValueError):
    """A price file that cannot be used; the message says where it is wrong."""


class Price(NamedTuple):
    """What an attempt costs, and why."""

    pricing: Literal["priced", "unpriced", "free"]
    cost_usd: Decimal | None
    version: str | None
    """Of the prices that were used, where any were."""


UNPRICED = Price("unpriced", None, None)
FREE = Price("free", Decimal(0), None)


class PriceTable:
    """Prices by provider and model."""

    def __init__(self, file: PriceFile) -> None:
        self.version = file.version
        self._effective_at = datetime.combine(file.effective, time.min, UTC)
        self._rates = {(row.provider, row.model): _picodollars(row) for row in file.price}
        if len(self._rates) != len(file.price):
            raise BadPriceFile("two rows price the same provider and model: remove one of them")

    def __len__(self) -> int:
        return len(self._rates)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Prices from TOML. Raises BadPriceFile."""
        try:
            return cls(PriceFile.model_validate(tomllib.loads(text, parse_float=Decimal)))
        except ValidationError as error:
            raise BadPriceFile(describe(error)) from None
        except tomllib.TOMLDecodeError as error:
            raise BadPriceFile(f"it is not TOML: {error}") from None

    def price(self, record: AttemptRecord) -> Price:
        """The price of an attempt, whose `started_at` has a time zone.

        A failed attempt that used nothing is free. Where usage is not known there is no cost, and none is made up: after a
        worker's death, without a basis, or when a failed attempt had delivered something that nobody counted.
        """
        tokens = _tokens(record.meters)
        if record.outcome is Outcome.INDETERMINATE:
            return UNPRICED
        if record.outcome is Outcome.FAILED and not any(tokens) and record.first_token_ms is None:
            return FREE
        rates = self._rates.get((record.provider, record.model))
        if record.basis is Basis.NONE or rates is None or record.started_at < self._effective_at:
            return UNPRICED
        cost = 0
        for count, rate in zip(tokens, rates, strict=True):
            if count:
                if rate is None:
                    return UNPRICED
                cost += count * rate
        return Price("priced", Decimal(cost).scaleb(-PLACES, _EXACT), self.version)


def _tokens(meters: TokenMeters) -> tuple[int, ...]:
    return (
        meters.input,
        meters.cached_read,
        meters.cache_write,
        meters.output,
        meters.reasoning,
        meters.audio,
        meters.image,
    )


def _picodollars(row: PriceRow) -> tuple[int | None, ...]:
    """Prices of single tokens in 10^-12 dollars, in the order of `_tokens`."""
    reasoning = row.output if row.reasoning is None else row.reasoning
    rates = (row.input, row.cached_read, row.cache_write, row.output, reasoning, row.audio, row.image)
    return tuple(None if rate is None else int(rate.scaleb(_PRICE_PLACES)) for rate in rates)
