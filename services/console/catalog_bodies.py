"""Request bodies and queries about the catalog, providers and prices. Pure."""

from typing import Annotated

from pydantic import ConfigDict, Field, JsonValue, Strict, StrictBool
from pydantic import model_validator as validator_of_model

from keyferry.contracts.catalog import CatalogModel
from keyferry.contracts.catalog_edits import CatalogState, require_replacement
from keyferry.contracts.ids import ChosenModel, ProviderName
from keyferry.contracts.price_edits import PriceEntry, PriceFactor, TokenPrices, require_one_price
from keyferry.contracts.provider_edits import KeyPrefix, ProviderState, ShownText
from keyferry.contracts.providers import CompatibleApi
from keyferry.contracts.text import BIGINT_MAX, GivenUrl
from services.console.bodies import Body, GivenMoment, Paging
from services.console.tenant_bodies import BaseUrl
from services.console.views import View

_MODEL_EXAMPLE: dict[str, JsonValue] = {
    "id": "support-bot",
    "maker": "OpenAI",
    "title": "Support bot",
    "description": "GPT-4o mini, tuned on our tickets.",
    "best_for": ["support"],
    "class": "balanced",
    "capabilities": ["chat", "tools"],
    "tier": "professional",
    "offerings": [{"provider": "openai", "upstream": "ft:gpt-4o-mini-2024-07-18:acme::abc123"}],
}


class SaveModelBody(Body):
    """A model to add to the catalog, or to put in place of the one with its id."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"model": _MODEL_EXAMPLE}]})

    model: CatalogModel
    move_default: StrictBool = False
    """If the model is to be the default: whether the present default stops being it."""
    expected_revision: Annotated[int, Strict(), Field(ge=0, le=BIGINT_MAX)] | None = None
    """Refuse the change unless the model still has this revision."""


class RetireModelBody(Body):
    """A model to retire."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": "gpt-4o", "replacement": "gpt-5"}]})

    id: ChosenModel
    replacement: ChosenModel | None = None
    """The model to use instead."""
    serve_replacement: StrictBool = False
    """Answer requests for it with the replacement."""

    @validator_of_model(mode="after")
    def _require_replacement(self) -> "RetireModelBody":
        require_replacement(self.replacement, serve=self.serve_replacement)
        return self


class ModelIdBody(Body):
    """The model to change."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": "gpt-4o"}]})

    id: ChosenModel


class SaveProviderBody(Body):
    """An OpenAI-compatible provider to add, or to put in place of the one of that name."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"title": "Example AI", "base_url": "https://api.example.com/v1", "eu": True}]}
    )

    title: ShownText
    base_url: BaseUrl
    """Including the version, without `/chat/completions`."""
    api: CompatibleApi = CompatibleApi.GENERIC
    key_url: GivenUrl | None = None
    """Where to get a key."""
    docs_url: GivenUrl | None = None
    prefixes: Annotated[list[KeyPrefix], Field(default_factory=list, max_length=10)]
    """What its keys begin with."""
    key_optional: StrictBool = False
    """Whether calls work without a key."""
    test_model: ChosenModel | None = None
    """A cheap model for the last step of a key test."""
    eu: StrictBool = False
    """Whether it processes every call inside the European Union."""


class RetireProviderBody(Body):
    """Why a provider is retired."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "the contract ended"}]})

    reason: ShownText | None = None
    """Shown to those who ask for its models."""


class SetPriceBody(Body):
    """The price of one provider's model from a moment on: either `prices`, or `base` with an optional `factor`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"provider": "openai", "model": "gpt-5", "prices": {"input": "1.25", "output": "10"}},
                {"provider": "openai", "model": "ft:gpt-4o-mini:acme::abc123", "base": "gpt-4o-mini", "factor": "2"},
            ]
        }
    )

    provider: ProviderName
    model: ChosenModel
    """As the provider calls it."""
    effective: GivenMoment | None = None
    """Null for now; UTC without a zone."""
    prices: TokenPrices | None = None
    base: ChosenModel | None = None
    """The provider's name for the model whose price it is a multiple of."""
    factor: PriceFactor | None = None

    @validator_of_model(mode="after")
    def _require_one(self) -> "SetPriceBody":
        require_one_price(self.prices, self.base, self.factor)
        return self


class RemovePriceBody(Body):
    """A price to remove."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"provider": "openai", "model": "gpt-5", "effective": "2027-01-01T00:00:00Z"}]}
    )

    provider: ProviderName
    model: ChosenModel
    effective: GivenMoment


class PriceQuery(Paging):
    """Which prices to return; null fields do not filter."""

    provider: ProviderName | None = None
    model: ChosenModel | None = None


class CatalogPage(View):
    """Models of the catalog. `next` is null on the last page."""

    data: list[CatalogState]
    next: str | None


class ProviderStatePage(View):
    """Providers. `next` is null on the last page."""

    data: list[ProviderState]
    next: str | None


class PricePage(View):
    """Prices that operators set. `next` is null on the last page."""

    data: list[PriceEntry]
    next: str | None
