"""The router's live catalog and prices: the files of this build, and what operators changed, rebuilt when that changes."""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from keyferry.contracts.catalog import CatalogModel
from keyferry.contracts.provider_edits import install_providers
from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.routing_management import CATALOG_VIEW, PRICES_VIEW, PROVIDERS_VIEW
from keyferry.pricing.book import PriceBook
from keyferry.pricing.file import PriceList
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.views import KvView
from services.router.catalog.lookup import Catalog
from services.router.catalog.overlay import compose
from services.router.catalog.store import model_key
from services.router.planning.list_prices import ListPrices

_log = logging.getLogger(__name__)


class ManagedCatalog:
    """The catalog and the prices that all tenants' requests share. A change replaces the catalog; no request changes it."""

    def __init__(self, bus: Bus, bundled: Sequence[CatalogModel], listed: PriceList) -> None:
        self.bundled = bundled
        self.prices = PriceBook(listed)
        self.list_prices = ListPrices(self.prices)
        self.catalog = Catalog(bundled)
        self.problems: Mapping[str, str] = {}
        self.models = KvView(bus, CATALOG_VIEW)
        self.providers = KvView(bus, PROVIDERS_VIEW)
        self.entries = KvView(bus, PRICES_VIEW)
        self.models.on_change(self._rebuild)
        self.providers.on_change(self._install_providers)
        self.entries.on_change(self._install_prices)
        self.list_prices.preload(self.catalog, datetime.now(UTC))

    def _install_providers(self) -> None:
        install_providers(PROVIDERS, (entry for _, entry in self.providers), self.providers.unreadable)
        self._rebuild()

    def _rebuild(self) -> None:
        """Replace the catalog, once both views that it is made of are complete."""
        if not (self.models.ready and self.providers.ready):
            return
        entries, unreadable = [entry for _, entry in self.models], self.models.unreadable
        withheld = {model.id for model in self.bundled if model_key(model.id) in unreadable} if unreadable else set()
        composition = compose(self.bundled, entries, PROVIDERS, withheld)
        for name in composition.problems.keys() - self.problems.keys():
            # Also for a moment when the change of its provider arrives later, in another view.
            _log.warning(
                "the change of a model is not in force", extra={"model": name, "reason": composition.problems[name]}
            )
        self.catalog, self.problems = composition.catalog, composition.problems
        self.list_prices.preload(self.catalog, datetime.now(UTC))

    def _install_prices(self) -> None:
        self.prices.install(entry for _, entry in self.entries)
        self.list_prices.forget()
        self.list_prices.preload(self.catalog, datetime.now(UTC))
