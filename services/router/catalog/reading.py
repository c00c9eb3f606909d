"""Parses and validates the catalog's files. Pure."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from pydantic import ConfigDict, ValidationError

from keyferry.contracts.catalog import Capability, CatalogModel, CatalogPart
from keyferry.contracts.envelope import describe
from keyferry.contracts.providers import PROVIDERS, RESERVED_NAMES, ProviderFacts
from services.router.catalog.lookup import Catalog, split_name
from services.router.catalog.retired import RetiredModel


class InvalidCatalog(ValueError):
    """An invalid file of the catalog. The message names the file, the model and the fault."""


class _File(CatalogPart):
    """One file of the catalog: `[[models]]`, each a CatalogModel."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)

    models: list[CatalogModel]


def read_catalog(texts: Mapping[str, str]) -> Catalog:
    """Return the catalog of these files (name -> TOML), in the order of their names. Raises InvalidCatalog."""
    return Catalog(read_models(texts))


def read_models(texts: Mapping[str, str]) -> list[CatalogModel]:
    """Return the models of these files (name -> TOML), in the order of their names. Raises InvalidCatalog."""
    models = list(chain.from_iterable(_models(name, texts[name]) for name in sorted(texts)))
    if not models:
        raise InvalidCatalog("the catalog has no models: check that its files are installed")
    check_models(models, (), PROVIDERS)
    return models


def check_models(
    models: Sequence[CatalogModel], retired: Sequence[RetiredModel], providers: Mapping[str, ProviderFacts]
) -> None:
    """Check each model, and all of them as one catalog with these retired models and providers. Raises InvalidCatalog."""
    _check_names(models, retired)
    _check_defaults(models)
    for model in models:
        if fault := _fault(model, providers):
            raise InvalidCatalog(f"{model.id}: {fault}")
    _check_replacements(models, retired)


def _models(name: str, text: str) -> list[CatalogModel]:
    try:
        return _File.model_validate(tomllib.loads(text)).models
    except tomllib.TOMLDecodeError as error:
        raise InvalidCatalog(f"{name} is not TOML: {error}") from None
    except ValidationError as error:
        raise InvalidCatalog(f"{name}: {describe(error)}") from None


def _check_names(models: Iterable[CatalogModel], retired: Iterable[RetiredModel]) -> None:
    owners: dict[str, str] = {}
    named = [(model.id, (model.id, *model.aliases), "") for model in models]
    named += [(gone.id, gone.names(), ", which is retired,") for gone in retired]
    for owner, names, mark in named:
        for name in names:
            if name in RESERVED_NAMES:
                raise InvalidCatalog(f"{owner} cannot be called {name}: that name has another meaning as a model")
            if name in owners:
                raise InvalidCatalog(f"{name} names {owners[name]} and {owner}{mark}: a name belongs to one model")
            owners[name] = owner + mark


def _check_defaults(models: Iterable[CatalogModel]) -> None:
    for capability in (Capability.CHAT, Capability.EMBEDDINGS):
        names = [model.id for model in models if model.default and capability in model.capabilities]
        if len(names) > 1:
            raise InvalidCatalog(f"{' and '.join(names)} are both the default for {capability}: there can be one")


def _check_replacements(models: Iterable[CatalogModel], retired: Iterable[RetiredModel]) -> None:
    """Check that each replacement is a model that is offered, so that no replacement leads to another or back."""
    by_name = {name: model for model in models for name in (model.id, *model.aliases)}
    gone_names = {name for gone in retired for name in gone.names()}
    for gone in retired:
        name = gone.retirement.replacement
        if name is None:
            continue
        if name in gone.names():
            raise InvalidCatalog(f"{gone.id}: a model cannot replace itself: name another model")
        if name in gone_names:
            raise InvalidCatalog(
                f"{gone.id}: its replacement {name} is retired too: name a model that is offered, or none"
            )
        if name not in by_name:
            raise InvalidCatalog(
                f"{gone.id}: the catalog has no model {name} to replace it: name one that it has, or none"
            )
        if gone.model is not None and _embeds(gone.model) != _embeds(by_name[name]):
            raise InvalidCatalog(
                f"{gone.id}: {name} cannot replace it: one chats and the other makes embeddings; name one of the same kind"
            )


def _embeds(model: CatalogModel) -> bool:
    return Capability.EMBEDDINGS in model.capabilities


def _fault(model: CatalogModel, providers: Mapping[str, ProviderFacts]) -> str | None:
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
    if unknown := [o.provider for o in model.offerings if o.provider not in providers]:
        return f"there is no provider {unknown[0]}; known are {', '.join(providers)}. An operator can add one"
    for offering in model.offerings:
        facts = providers[offering.provider]
        if offering.eu and facts.api is not None and not facts.eu:
            return (
                f"its offering at {facts.name} is marked as in the European Union, and that provider is not: change the"
                " provider first, or leave out the mark"
            )
    return _fault_of_names(model, providers) or _fault_of_places(model)


def _fault_of_names(model: CatalogModel, providers: Mapping[str, ProviderFacts]) -> str | None:
    """Check that no name means another provider's model: `openai/MODEL` must reach no one but OpenAI."""
    for name in (model.id, *model.aliases):
        provider, rest = split_name(name)
        if (
            rest
            and provider in providers
            and not any(
                offering.provider == provider and offering.upstream in (name, rest) for offering in model.offerings
            )
        ):
            return f"the name {name} means a model of {provider}, which does not offer it: leave out {provider}"
    return None


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
