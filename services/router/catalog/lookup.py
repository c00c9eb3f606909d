"""The catalog in memory: resolves the model name of a caller to a model and its offerings. Pure."""

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from keyferry.contracts.catalog import Capability, CatalogModel, Offering
from keyferry.contracts.providers import NAMED_BY_TENANT, PROVIDERS
from services.router.catalog.retired import RetiredModel

_DATED = re.compile(r"(.+)(-20\d\d(-?)(?:0[1-9]|1[0-2])\3(?:0[1-9]|[12]\d|3[01]))", re.ASCII)
"""A name that ends with a date, as OpenAI and Anthropic call the snapshots of a model."""
_SNAPSHOTS = 1024
"""How many names of snapshots are kept resolved."""


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """The meaning of a model name."""

    name: str
    """As the caller wrote it."""
    model: CatalogModel | None
    """None if the catalog does not have it."""
    offerings: tuple[Offering, ...]
    """The offerings that could serve it; for an unlisted model the one that the name spells out, for an unknown name none."""
    provider: str | None = None
    """The provider that the name requires."""
    server: str | None = None
    """The server of the tenant that the name requires."""
    snapshot: bool = False
    """Whether the name is that of a dated snapshot of a model of the catalog."""
    retired: RetiredModel | None = None
    """The retired model that the name stands for. `model` is then the replacement that answers, or None."""


_NO_PROVIDERS: Mapping[str, str] = MappingProxyType({})


class Catalog:
    """Approved models, in the order of the catalog's files; those that an operator added come last."""

    def __init__(
        self,
        models: Iterable[CatalogModel],
        retired: Iterable[RetiredModel] = (),
        retired_providers: Mapping[str, str] = _NO_PROVIDERS,
        withheld: Container[str] = (),
    ) -> None:
        self._models = tuple(models)
        self.retired = tuple(retired)
        self.retired_providers = retired_providers
        """Why no offering of a provider is to be used, by the provider's name."""
        self.withheld = withheld
        """The ids of models that must not be used: what an operator changed about them cannot be read."""
        self._by_name: dict[str, CatalogModel] = {}
        self._by_offering: dict[tuple[str, str], CatalogModel] = {}
        self._resolved: dict[str, ResolvedModel] = {}
        self._retired_offerings: dict[tuple[str, str], RetiredModel] = {}
        self._resolve_snapshot = lru_cache(maxsize=_SNAPSHOTS)(self._find_snapshot)
        for model in self._models:
            for offering in model.offerings:
                self._by_offering.setdefault((offering.provider, offering.upstream), model)
        for model in self._models:
            for name in (model.id, *model.aliases):
                self._by_name[name] = model
                self._resolved[name] = ResolvedModel(name, model, tuple(model.offerings))
        for gone in self.retired:
            for name in gone.names():
                self._resolved[name] = self._resolve_retired(name, gone, None)
            for offering in gone.offerings():
                for name in (*gone.names(), offering.upstream):
                    self._retired_offerings.setdefault((offering.provider, name), gone)

    def __iter__(self) -> Iterator[CatalogModel]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def default(self, capability: Capability) -> CatalogModel | None:
        """Return the default model with a capability, chat or embeddings."""
        return next((model for model in self._models if model.default and capability in model.capabilities), None)

    def resolve(self, name: str) -> ResolvedModel:
        """Resolve a name of the catalog, or `provider/model` (`provider:model` is tolerated).

        The provider ends at the first slash or colon, because model names contain both: `openrouter/openai/gpt-4o:free`.
        """
        if (cached := self._resolved.get(name)) is not None:
            return cached
        provider, rest = split_provider(name)
        model = self.find_model(provider, rest) if provider is not None else None
        if model is None and (snapshot := self._resolve_snapshot(name)) is not None:
            return snapshot
        if provider is None:
            return ResolvedModel(name, None, ())
        if model is None and (gone := self._retired_offerings.get((provider, rest))) is not None:
            return self._resolve_retired(name, gone, provider)
        if model is None:
            return ResolvedModel(name, None, (Offering(provider=provider, upstream=rest),), provider)
        return ResolvedModel(name, model, _at(model, provider, rest), provider)

    def _resolve_retired(self, name: str, gone: RetiredModel, provider: str | None) -> ResolvedModel:
        """Resolve a name of a retired model: to its replacement, if that is to answer, or to nothing."""
        retirement = gone.retirement
        if retirement.serve_replacement and (model := self._by_name.get(retirement.replacement or "")) is not None:
            offerings = tuple(each for each in model.offerings if provider in (None, each.provider))
            if offerings:
                return ResolvedModel(name, model, offerings, provider, retired=gone)
        return ResolvedModel(name, None, (), provider, retired=gone)

    def _find_snapshot(self, name: str) -> ResolvedModel | None:
        """Resolve the name of a dated snapshot: a provider's own name for a model of the catalog, and a date.

        A snapshot is as approved as its model, and a name of its own: scopes of tokens and keys that name the model do not
        include it. Its price is the one listed for the dated name; it may differ from the model's, or be unknown.
        """
        provider, rest = split_provider(name)
        dated = _DATED.fullmatch(rest)
        if dated is None:
            return None
        base, date = dated[1], dated[2]
        owners = (
            [provider] if provider else [offering.provider for model in self._models for offering in model.offerings]
        )
        for model in filter(None, (self._by_offering.get((owner, base)) for owner in dict.fromkeys(owners))):
            if model.id in self.withheld:
                continue
            offerings = [
                offering.model_copy(update={"upstream": rest})
                for offering in model.offerings
                if offering.upstream == base and offering.provider not in NAMED_BY_TENANT
                if provider in (None, offering.provider)
            ]
            if offerings:
                own = {
                    "id": f"{model.id}{date}",
                    "aliases": [],
                    "offerings": offerings,
                    "default": False,
                    "recommended": [],
                }
                return ResolvedModel(name, model.model_copy(update=own), tuple(offerings), provider, snapshot=True)
        for (owner, upstream), gone in self._retired_offerings.items():
            if upstream == base and provider in (None, owner):
                return ResolvedModel(name, None, (), provider, retired=gone)
        return None

    def find_model(self, provider: str, name: str) -> CatalogModel | None:
        """Return the model that `provider` offers under the catalog's name or its own name for it."""
        model = self._by_name.get(name)
        if model is not None and any(offering.provider == provider for offering in model.offerings):
            return model
        return self._by_offering.get((provider, name)) or self._by_offering.get((provider, f"{provider}/{name}"))

    def id_of(self, provider: str, name: str) -> str | None:
        """Return the catalog's id of a provider's model; on a tenant's own server its own name is the catalog's."""
        found = self.find_model(provider, name)
        if found is None and provider in NAMED_BY_TENANT:
            found = self.resolve(name).model
        return None if found is None else found.id


def _at(model: CatalogModel, provider: str, name: str) -> tuple[Offering, ...]:
    """Return the model's offerings at a provider; only the exact one if `name` is the provider's own name for it."""
    offerings = tuple(offering for offering in model.offerings if offering.provider == provider)
    spelled = tuple(offering for offering in offerings if offering.upstream == name)
    return spelled or offerings


def split_provider(name: str) -> tuple[str | None, str]:
    """Return the provider that a name begins with and the rest; (None, `name`) if it begins with none."""
    first, rest = split_name(name)
    return (first, rest) if rest and first in PROVIDERS else (None, name)


def split_name(name: str) -> tuple[str, str]:
    """Split a name at its first slash or colon; without one, or without anything after it, the second part is empty."""
    at = min((place for place in (name.find("/"), name.find(":")) if place > 0), default=len(name))
    return name[:at], name[at + 1 :]
