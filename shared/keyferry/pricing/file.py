"""The price file, parsed strictly, and the list prices of the file and the price package behind it.

Overrides of the reviewed file come first, each from its effective day on, and then the price package. The price version says
which of them was used. A model without a price in either is unpriced; prices are never estimated. Pure.
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from keyferry.contracts.envelope import describe
from keyferry.contracts.money import usd
from keyferry.contracts.price_edits import check_price
from keyferry.pricing import package
from keyferry.pricing.tariff import TOKEN_KINDS, Rate, Tariff, per_token

BUNDLED_PRICES = Path(__file__).parent / "prices.toml"
"""The price file that every service uses unless its settings name another."""
FilePrice = Annotated[Decimal, BeforeValidator(usd), AfterValidator(check_price)]
"""Dollars per million tokens, as a file has them."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class PriceRow(BaseModel):
    """The prices of one provider's model from a day on; None if a kind of token has no price."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: Name
    model: Name
    effective: date | None = None
    """First day, in UTC; by default the file's."""
    service_tier: Name | None = None
    """Applies only to attempts that the provider served in this tier."""
    above_prompt_tokens: Annotated[int, Field(ge=1)] | None = None
    """Applies only to attempts with longer prompts, and then to all of their tokens."""
    per_request: FilePrice | None = None
    """Dollars per million requests, in addition to the tokens."""
    input: FilePrice | None = None
    cached_read: FilePrice | None = None
    cache_write: FilePrice | None = None
    cache_write_1h: FilePrice | None = None
    output: FilePrice | None = None
    reasoning: FilePrice | None = None
    """By default the price of `output`."""
    audio: FilePrice | None = None
    image: FilePrice | None = None
    """By default the price of `input`."""
    audio_output: FilePrice | None = None
    image_output: FilePrice | None = None


class PriceFile(BaseModel):
    """A whole price file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    effective: date
    """First day, in UTC, of the attempts that the prices apply to."""
    price: Annotated[list[PriceRow], Field(min_length=1)]


class BadPriceFile(ValueError):
    """An invalid price file; the message says where the error is."""


FindTariff = Callable[[str, str, datetime, str | None], Tariff | None]
"""Finds a price of the package by provider, model, time and service tier."""


class PriceList:
    """Prices by provider and model: those of a file, and those of the package behind it."""

    def __init__(self, file: PriceFile, find_in_package: FindTariff | None = None, package_version: str = "") -> None:
        self.version = file.version
        self._find_in_package = find_in_package
        self._package_version = package_version
        self._overrides = _by_model(file)

    @classmethod
    def parse(cls, text: str, *, with_package: bool = False) -> Self:
        """Parse prices from TOML, optionally with the package's behind them. Raises BadPriceFile."""
        try:
            file = PriceFile.model_validate(tomllib.loads(text, parse_float=Decimal))
            return cls(file, package.find_tariff, package.VERSION) if with_package else cls(file)
        except ValidationError as error:
            raise BadPriceFile(describe(error)) from None
        except tomllib.TOMLDecodeError as error:
            raise BadPriceFile(f"it is not TOML: {error}") from None

    def find(
        self, provider: str, model: str, moment: datetime, service_tier: str | None = None
    ) -> tuple[Tariff, str] | None:
        """Return the tariff of a call that begins at `moment` (with a time zone), and its price version; None without a price.

        `model` is the provider's own name; `service_tier` is the tier that served the call, None for the default one.
        """
        override = self._override(provider, model, moment, service_tier)
        if override is not None:
            return override, self.version
        if self._find_in_package is None:
            return None
        tariff = self._find_in_package(provider, model, moment, service_tier)
        return None if tariff is None else (tariff, self._package_version)

    def find_first(
        self, provider: str, models: Sequence[str], moment: datetime, service_tier: str | None = None
    ) -> tuple[Tariff, str] | None:
        """Return the first price that one of these names of a model has, as `find` does."""
        found = (self.find(provider, model, moment, service_tier) for model in models)
        return next((price for price in found if price is not None), None)

    def _override(self, provider: str, model: str, moment: datetime, service_tier: str | None) -> Tariff | None:
        """Return the latest effective override; one for the service tier takes precedence over one for any tier."""
        found = [
            (item.service_tier is not None, item.effective_at, item.tariff)
            for item in self._overrides.get((provider, model), ())
            if item.effective_at <= moment and item.service_tier in (None, service_tier)
        ]
        return max(found, key=lambda item: item[:2])[2] if found else None


class _Override(NamedTuple):
    effective_at: datetime
    service_tier: str | None
    tariff: Tariff


def _by_model(file: PriceFile) -> dict[tuple[str, str], list[_Override]]:
    """Return overrides by provider and model, rows for long prompts merged into their base rows. Raises BadPriceFile."""
    rows: dict[tuple[str, str, date, str | None], dict[int, PriceRow]] = {}
    for row in file.price:
        steps = rows.setdefault((row.provider, row.model, row.effective or file.effective, row.service_tier), {})
        start = row.above_prompt_tokens or 0
        if start in steps:
            raise BadPriceFile("two rows price the same provider and model: remove one of them")
        steps[start] = row
    found: dict[tuple[str, str], list[_Override]] = {}
    for (provider, model, effective, tier), steps in rows.items():
        if 0 not in steps:
            raise BadPriceFile(f"{provider} {model} has a price for long prompts only: add the one for short prompts")
        item = _Override(_midnight(effective), tier, _tariff(steps))
        found.setdefault((provider, model), []).append(item)
    return found


def _tariff(steps: Mapping[int, PriceRow]) -> Tariff:
    rates: dict[str, Rate] = {}
    for kind in TOKEN_KINDS:
        prices = [
            (start, per_token(price)) for start in sorted(steps) if (price := getattr(steps[start], kind)) is not None
        ]
        if prices and prices[0][0] == 0:
            rates[kind] = Rate(prices[0][1], tuple(prices[1:]))
    fee = steps[0].per_request
    return Tariff(rates, 0 if fee is None else per_token(fee))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)
