"""Provider keys as routers see them, and the catalog and the prices as the router loads them."""

from datetime import UTC, datetime
from functools import cache
from typing import Any

from keyferry.contracts.key import KeyFacts, KeyStatus
from keyferry.contracts.key_address import UnusableAddress, key_address
from keyferry.contracts.route import ModelPrices
from keyferry.pricing.book import PriceBook
from keyferry.pricing.file import BUNDLED_PRICES
from keyferry.runtime.prices import load_prices
from services.router.catalog.lookup import Catalog
from services.router.catalog.reading import read_catalog
from services.router.planning.list_prices import ListPrices
from tests.support.repository.files import ROOT

MODELS_DIR = ROOT / "services" / "router" / "catalog" / "models"


def key_facts(provider: str, key_id: str = "key_1", /, *, tenant: str = "acme", **changes: Any) -> KeyFacts:
    """Return a valid key of `tenant`, with `changes` to any of its fields."""
    origin = f"https://{provider}.example"
    facts: dict[str, Any] = {
        "key_id": key_id,
        "tenant": tenant,
        "provider": provider,
        "label": f"{provider} {key_id}",
        "status": KeyStatus.VALID,
        "version": 1,
        "origin": origin,
        "base_url": f"{origin}/v1",
    }
    return KeyFacts(**(facts | changes))


def at_own_address(key: KeyFacts) -> KeyFacts:
    """Return the key at the address that its provider has for its fields, as most keys are; as it is if there is none."""
    try:
        address = key_address(key.provider, None, key.fields, operator_urls={}, private_networks=False)
    except UnusableAddress:
        return key
    return key.model_copy(update={"origin": address.origin, "base_url": address.base_url})


def platform_key(provider: str, key_id: str = "key_p", /, **changes: Any) -> KeyFacts:
    """Return a valid key of the platform."""
    return key_facts(provider, key_id, tenant="platform", **changes)


@cache
def catalog() -> Catalog:
    """Return the bundled catalog."""
    return read_catalog({path.name: path.read_text(encoding="utf-8") for path in MODELS_DIR.glob("*.toml")})


@cache
def _list_prices() -> ListPrices:
    return ListPrices(PriceBook(load_prices(BUNDLED_PRICES)))


def list_price(provider: str, model: str) -> ModelPrices | None:
    """Return the bundled price on a fixed day."""
    return _list_prices().of(provider, model, datetime(2026, 11, 1, tzinfo=UTC))
