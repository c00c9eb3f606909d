"""Routes for the models, providers and prices that an operator manages for all tenants."""

from typing import Annotated

from fastapi import Path as InPath
from fastapi import Query

from keyferry.contracts.catalog_edits import (
    CatalogState,
    ListCatalog,
    RemoveModel,
    RestoreModel,
    RetireModel,
    SaveCatalogModel,
)
from keyferry.contracts.ids import ProviderName
from keyferry.contracts.price_edits import ListPriceEntries, PriceEntry, RemovePrice, SavedPrice, SetPrice
from keyferry.contracts.provider_edits import (
    ListProviders,
    ProviderState,
    RestoreProvider,
    RetireProvider,
    SaveProvider,
)
from keyferry.contracts.routing_management import (
    CATALOG_LIST,
    CATALOG_REMOVE,
    CATALOG_RESTORE,
    CATALOG_RETIRE,
    CATALOG_SAVE,
    PRICE_LIST,
    PRICE_REMOVE,
    PRICE_SET,
    PROVIDER_LIST,
    PROVIDER_RESTORE,
    PROVIDER_RETIRE,
    PROVIDER_SAVE,
)
from services.console.access import RouteSpec
from services.console.bodies import Paging
from services.console.catalog_bodies import (
    CatalogPage,
    ModelIdBody,
    PricePage,
    PriceQuery,
    ProviderStatePage,
    RemovePriceBody,
    RetireModelBody,
    RetireProviderBody,
    SaveModelBody,
    SaveProviderBody,
    SetPriceBody,
)
from services.console.service_client import ServiceClient
from services.console.tenant_context import CurrentTenant
from services.console.views import paginate

NamedProvider = Annotated[ProviderName, InPath(description="The provider's name: the first part of `NAME/MODEL`")]


class CatalogRoutes:
    """The routes under `/ops/models`, `/ops/providers` and `/ops/prices`, which only an operator may call.

    Names of models have slashes and colons, so they are in the body and not in the path.
    """

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def operator_specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        return (
            RouteSpec("GET", "/models", "list_catalog", self.list_models),
            RouteSpec("PUT", "/models", "save_model", self.save_model),
            RouteSpec("POST", "/models/retire", "retire_model", self.retire_model),
            RouteSpec("POST", "/models/restore", "restore_model", self.restore_model),
            RouteSpec("POST", "/models/remove", "remove_model", self.remove_model),
            RouteSpec("GET", "/providers", "list_all_providers", self.list_providers),
            RouteSpec("PUT", "/providers/{name}", "save_provider", self.save_provider),
            RouteSpec("POST", "/providers/{name}/retire", "retire_provider", self.retire_provider),
            RouteSpec("POST", "/providers/{name}/restore", "restore_provider", self.restore_provider),
            RouteSpec("GET", "/prices", "list_prices", self.list_prices),
            RouteSpec("PUT", "/prices", "set_price", self.set_price),
            RouteSpec("POST", "/prices/remove", "remove_price", self.remove_price),
        )

    async def list_models(self, context: CurrentTenant, query: Annotated[Paging, Query()]) -> CatalogPage:
        """List the whole catalog: what operators changed, and the retired models at the end."""
        found = (await self._services.read(CATALOG_LIST, ListCatalog())).models
        data, following = paginate(found, lambda state: state.model.id, query.limit, query.after)
        return CatalogPage(data=data, next=following)

    async def save_model(self, context: CurrentTenant, body: SaveModelBody) -> CatalogState:
        """Add a model to the catalog, or replace the one with its id, on every router."""
        command = SaveCatalogModel(
            model=body.model,
            move_default=body.move_default,
            expected_revision=body.expected_revision,
            actor=context.actor,
        )
        return await self._services.change(CATALOG_SAVE, command)

    async def retire_model(self, context: CurrentTenant, body: RetireModelBody) -> CatalogState:
        """Stop offering a model: requests for it are refused with the reason, or answered by its replacement."""
        return await self._services.change(CATALOG_RETIRE, RetireModel(**body.model_dump(), actor=context.actor))

    async def restore_model(self, context: CurrentTenant, body: ModelIdBody) -> CatalogState:
        """Offer a retired model again."""
        return await self._services.change(CATALOG_RESTORE, RestoreModel(id=body.id, actor=context.actor))

    async def remove_model(self, context: CurrentTenant, body: ModelIdBody) -> CatalogState:
        """Undo every change of a model: a bundled one is as it was, an added one is gone."""
        return await self._services.change(CATALOG_REMOVE, RemoveModel(id=body.id, actor=context.actor))

    async def list_providers(self, context: CurrentTenant, query: Annotated[Paging, Query()]) -> ProviderStatePage:
        """List every provider, with what operators added and retired."""
        found = (await self._services.read(PROVIDER_LIST, ListProviders())).providers
        data, following = paginate(found, lambda state: state.name, query.limit, query.after)
        return ProviderStatePage(data=data, next=following)

    async def save_provider(self, context: CurrentTenant, name: NamedProvider, body: SaveProviderBody) -> ProviderState:
        """Add an OpenAI-compatible provider, or replace one that was added."""
        command = SaveProvider(name=name, **body.model_dump(), actor=context.actor)
        return await self._services.change(PROVIDER_SAVE, command)

    async def retire_provider(
        self, context: CurrentTenant, name: NamedProvider, body: RetireProviderBody
    ) -> ProviderState:
        """Stop using a provider: its offerings are dropped with the reason. Keys for it stay stored."""
        command = RetireProvider(name=name, reason=body.reason, actor=context.actor)
        return await self._services.change(PROVIDER_RETIRE, command)

    async def restore_provider(self, context: CurrentTenant, name: NamedProvider) -> ProviderState:
        """Use a retired provider again."""
        return await self._services.change(PROVIDER_RESTORE, RestoreProvider(name=name, actor=context.actor))

    async def list_prices(self, context: CurrentTenant, query: Annotated[PriceQuery, Query()]) -> PricePage:
        """List the prices that operators set, by provider and model, the newest first."""
        command = ListPriceEntries(provider=query.provider, model=query.model)
        found = (await self._services.read(PRICE_LIST, command)).prices
        data, following = paginate(found, lambda price: str(price.revision), query.limit, query.after)
        return PricePage(data=data, next=following)

    async def set_price(self, context: CurrentTenant, body: SetPriceBody) -> SavedPrice:
        """Set the price of one provider's model from a moment on. Costs that are recorded stay as they are."""
        command = SetPrice.model_validate({**dict(body), "actor": context.actor})
        return await self._services.change(PRICE_SET, command)

    async def remove_price(self, context: CurrentTenant, body: RemovePriceBody) -> PriceEntry:
        """Remove a price that was set. Costs that are recorded stay as they are."""
        return await self._services.change(PRICE_REMOVE, RemovePrice(**body.model_dump(), actor=context.actor))
