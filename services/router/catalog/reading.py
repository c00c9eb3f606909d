"""Parses and validates the catalog's files. Pure."""

import tomllib
from collections.abc import Iterable, Mapping
from itertools import chain

from pydantic import ConfigDict, ValidationError

from keyferry.contracts.catalog import Capability, CatalogModel, CatalogPart
from keyferry.contracts.envelope import describe
from keyferry.contracts.providers import PROVIDERS
from services.router.catalog.lookup import Catalog


class InvalidCatalog(ValueError):
    """An invalid file of the catalog. The message names the file, the model and the fault."""


class _File(CatalogPart):
    """One file of the catalog: `[[models]]`, each a CatalogModel."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)

    models: list[CatalogModel]


def read_catalog(texts: Mapping[str, str]) -> Catalog:
    """Return the catalog of these files (name -> TOML), in the order of their names. Raises InvalidCatalog."""
    models = list(chain.from_iterable(_models(name, texts[name]) for name in sorted(texts)))
    if not models:
        raise InvalidCatalog("the catalog has no models: check that its files are installed")
    _check_names(models)
    _check_defaults(models)
    for model in models:
        if fault := _fault(model):
            raise InvalidCatalog(f"{model.id}: {fault}")
    return Catalog(models)


def _models(name: str, text: str) -> list[CatalogModel]:
    try:
        return _File.model_validate(tomllib.loads(text)).models
    except tomllib.TOMLDecodeError as error:
        raise InvalidCatalog(f"{name} is not TOML: {error}") from None
    except ValidationError as error:
        raise InvalidCatalog(f"{name}: {describe(error)}") from None


def _check_names(models: Iterable[CatalogModel]) -> None:
    owners: dict[str, str] = {}
    for model in models:
        for name in (model.id, *model.aliases):
            if name in owners:
                raise InvalidCatalog(f"{name} names {owners[name]} and {model.id}: a name belongs to one model")
            owners[name] = model.id


def _check_defaults(models: Iterable[CatalogModel]) -> None:
    for capability in (Capability.CHAT, Capability.EMBEDDINGS):
        names = [model.id for model in models if model.default and capability in model.capabilities]
        if len(names) > 1:
            raise InvalidCatalog(f"{' and '.join(names)} are both the default for {capability}: there can be one")


def _fault(model: CatalogModel) -> str | None:
    """Return the first contradiction in a model, if any."""
    embeds, chats = (c in model.capabilities for c in (Capability.EMBEDDINGS, Capability.CHAT))
    if embeds == chats:
        return "it must have exactly one of the capabilities chat and embeddings"
    if embeds != (model.dimensions is not None):
        return "embedding models need dimensions, and other models must not have them"
    if len(set(model.capabilities)) < len(model.capabilities):
        return "a capability is listed twice"
    if model.max_output_tokens and model.context_tokens and model.max_output_tokens > model.context_tokens:
        return "its max_output_tokens exceed its context_tokens"
    if unknown := [o.provider for o in model.offerings if o.provider not in PROVIDERS]:
        return f"there is no provider {unknown[0]}; known are {', '.join(PROVIDERS)}"
    return _fault_of_places(model)


def _fault_of_places(model: CatalogModel) -> str | None:
    """Check the offerings' regions: they match in order, so one without a region must be its provider's last."""
    open_ended: set[str] = set()
    seen: set[tuple[str, str | None]] = set()
    for offering in model.offerings:
        place = (offering.provider, offering.region)
        if place in seen:
            return f"{offering.provider} offers it twice for the region {offering.region or 'any'}"
        if offering.provider in open_ended:
            return f"an offering of {offering.provider} without a region has to come after those with one"
        seen.add(place)
        if offering.region is None:
            open_ended.add(offering.provider)
    return None
