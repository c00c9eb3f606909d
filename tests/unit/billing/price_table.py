"""Every tariff of the bundled price package and price file."""

from datetime import UTC, datetime
from functools import cache

from genai_prices.data import providers

from keyferry.pricing.file import BUNDLED_PRICES, PriceList
from keyferry.pricing.package import _IDS
from keyferry.pricing.tariff import Tariff

MOMENT = datetime(2026, 11, 1, 12, tzinfo=UTC)


@cache
def list_tariffs() -> tuple[Tariff, ...]:
    """Return the tariff of every model that a provider of ours has a price for."""
    prices = PriceList.parse(BUNDLED_PRICES.read_text(encoding="utf-8"), with_package=True)
    by_id = {provider.id: provider for provider in providers}
    found = [prices.find("echo", "echo", MOMENT)]
    for name, package_id in _IDS.items():
        found += [prices.find(name, model.id, MOMENT) for model in by_id[package_id].models if package_id in by_id]
    return tuple(each[0] for each in found if each is not None)
