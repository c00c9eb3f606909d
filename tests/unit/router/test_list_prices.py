"""The router's list prices: current, exact, and looked up again when they may have changed."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from keyferry.contracts.catalog import Capability
from keyferry.contracts.route import ModelPrices
from keyferry.pricing.book import PriceBook
from keyferry.pricing.file import BUNDLED_PRICES, PriceList
from keyferry.pricing.tariff import Tariff
from keyferry.runtime.prices import load_prices
from services.router.planning.list_prices import PERIOD_SECONDS, ListPrices, covers
from tests.support.router.keys_and_prices import catalog, list_price

MIDNIGHT = datetime(2026, 6, 1, tzinfo=UTC)
FILE = """
version = "v1"
effective = 2026-01-01
[[price]]
provider = "p"
model = "m"
input = 0.000001
output = 2.50
[[price]]
provider = "p"
model = "m"
effective = 2026-06-01
input = 3
output = 4
cached_read = 0.3
[[price]]
provider = "p"
model = "vectors"
input = 1
[[price]]
provider = "p"
model = "pictures"
image_output = 1
"""


class Counting(PriceList):
    """Counts its lookups."""

    searches = 0

    def find(
        self, provider: str, model: str, moment: datetime, service_tier: str | None = None
    ) -> tuple[Tariff, str] | None:
        self.searches += 1
        return super().find(provider, model, moment, service_tier)


def test_prices_change_with_the_day_and_are_exact() -> None:
    prices = ListPrices(PriceBook(PriceList.parse(FILE)))
    eve = prices.of("p", "m", MIDNIGHT - timedelta(microseconds=1))
    assert eve == ModelPrices(
        input_usd=Decimal("0.000001"),
        output_usd=Decimal("2.5"),
        cached_read_usd=Decimal("0.000001"),
        price_version="v1",
    )
    new = prices.of("p", "m", MIDNIGHT)
    assert new is not None
    assert (new.input_usd, new.output_usd, new.cached_read_usd) == (Decimal(3), Decimal(4), Decimal("0.3"))


def test_a_price_is_looked_up_once_per_period() -> None:
    source = Counting.parse(FILE)
    prices = ListPrices(PriceBook(source))
    for model in ("m", "m", "nobodys", "nobodys"):
        prices.of("p", model, MIDNIGHT)
        prices.of("p", model, MIDNIGHT + timedelta(seconds=PERIOD_SECONDS - 1))
    assert source.searches == 2
    prices.of("p", "m", MIDNIGHT + timedelta(seconds=PERIOD_SECONDS))
    assert source.searches == 3


def test_the_catalogs_prices_are_preloaded() -> None:
    source = Counting.parse(FILE)
    prices = ListPrices(PriceBook(source))
    prices.preload(catalog(), MIDNIGHT)
    searches = source.searches
    for model in catalog():
        for offering in model.offerings:
            prices.of(offering.provider, offering.upstream, MIDNIGHT)
    assert source.searches == searches > 100


@pytest.mark.parametrize(
    ("model", "chat", "embeddings"),
    [("m", True, True), ("vectors", False, True), ("pictures", False, False), ("nobodys", False, False)],
)
def test_what_a_price_covers(model: str, chat: bool, embeddings: bool) -> None:
    prices = ListPrices(PriceBook(PriceList.parse(FILE))).of("p", model, MIDNIGHT)
    assert (covers(prices, embeds=False), covers(prices, embeds=True)) == (chat, embeddings)


def test_prices_that_depend_on_the_hour_are_those_of_the_hour() -> None:
    prices = ListPrices(PriceBook(load_prices(BUNDLED_PRICES)))
    day, night = (prices.of("deepseek", "deepseek-chat", MIDNIGHT.replace(hour=hour)) for hour in (12, 20))
    assert day is not None
    assert night is not None
    assert night.input_usd < day.input_usd


def test_nearly_every_model_of_the_catalog_has_a_price() -> None:
    """The others are priced by the model that was served, or appear on no known price list."""
    unpriced = {
        model.id
        for model in catalog()
        if not any(
            covers(list_price(each.provider, each.upstream), embeds=Capability.EMBEDDINGS in model.capabilities)
            for each in model.offerings
        )
    }
    assert unpriced <= {
        "openrouter/auto",
        "embed-multilingual-v3.0",
        "bge-m3",
        "multilingual-e5-large-instruct",
        "qwen3-embedding-8b",
    }
