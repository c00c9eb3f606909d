"""List prices of models: shown to people, and required for models that the platform's keys pay for. Pure."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from keyferry.contracts.catalog import CatalogModel
from keyferry.contracts.route import ModelPrices
from keyferry.pricing.book import PriceBook
from keyferry.pricing.tariff import PRICE_PLACES, Rate, Tariff

PERIOD_SECONDS = 1800
"""How long prices are cached: they change at midnight, and some providers have cheaper hours."""


class ListPrices:
    """Prices by provider and the provider's name for the model, cached for one period or until a price changes."""

    def __init__(self, prices: PriceBook) -> None:
        self._prices = prices
        self._since = self._until = datetime.min.replace(tzinfo=UTC)
        self._cached: dict[tuple[str, str], ModelPrices | None] = {}
        self._tariffs: dict[tuple[str, str, str | None], Tariff | None] = {}
        self._version = 0

    def version_at(self, now: datetime) -> int:
        """Return a number that is another one as soon as any price may be."""
        if not self._since <= now < self._until:
            self._renew(now)
        return self._version

    def of(self, provider: str, model: str, now: datetime) -> ModelPrices | None:
        """Return the list prices at `now` (with a time zone); None if input has no price."""
        if not self._since <= now < self._until:
            self._renew(now)
        place = (provider, model)
        if place not in self._cached:
            self._cached[place] = self._look_up(provider, model, self._since)
        return self._cached[place]

    def tariff(self, provider: str, model: str, now: datetime, service_tier: str | None = None) -> Tariff | None:
        """Return all prices of a provider's model at `now` (with a time zone); None if it has none."""
        if not self._since <= now < self._until:
            self._renew(now)
        place = (provider, model, service_tier)
        if place not in self._tariffs:
            found = self._prices.find(provider, model, self._since, service_tier)
            self._tariffs[place] = None if found is None else found[0]
        return self._tariffs[place]

    def forget(self) -> None:
        """Drop what is cached: an operator changed a price."""
        self._since = self._until = datetime.min.replace(tzinfo=UTC)
        self._cached, self._tariffs = {}, {}
        self._version += 1

    def _renew(self, now: datetime) -> None:
        period = datetime.fromtimestamp(int(now.timestamp()) // PERIOD_SECONDS * PERIOD_SECONDS, UTC)
        self._since = max(period, self._prices.change_before(now))
        self._until = min(period + timedelta(seconds=PERIOD_SECONDS), self._prices.change_after(now))
        self._cached, self._tariffs = {}, {}
        self._version += 1

    def preload(self, models: Iterable[CatalogModel], now: datetime) -> None:
        """Look up every offering of these models in advance, so that no request waits for a first lookup."""
        for model in models:
            for offering in model.offerings:
                self.of(offering.provider, offering.upstream, now)

    def _look_up(self, provider: str, model: str, moment: datetime) -> ModelPrices | None:
        found = self._prices.find(provider, model, moment)
        if found is None:
            return None
        tariff, version = found
        input_rate = tariff.rate_of("input")
        if input_rate is None:
            return None
        return ModelPrices(
            input_usd=_per_million(input_rate),
            output_usd=_optional(tariff.rate_of("output")),
            cached_read_usd=_optional(tariff.rate_of("cached_read")),
            price_version=version,
        )


def covers(prices: ModelPrices | None, *, embeds: bool) -> bool:
    """Return whether these prices cover every call of a model: embeddings have no output that needs a price."""
    return prices is not None and (embeds or prices.output_usd is not None)


def _optional(rate: Rate | None) -> Decimal | None:
    return None if rate is None else _per_million(rate)


def _per_million(rate: Rate) -> Decimal:
    """Return dollars per million tokens of a prompt of ordinary length."""
    return Decimal(rate.base).scaleb(-PRICE_PLACES)
