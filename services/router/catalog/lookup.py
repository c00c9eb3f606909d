"""The catalog in memory: resolves the model name of a caller to a model and its offerings. Pure."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from keyferry.contracts.catalog import CatalogModel, Offering
from keyferry.contracts.providers import NAMED_BY_TENANT, PROVIDERS

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


class Catalog:
    """Approved models, in the order of the catalog's files."""

    def __init__(self, models: Iterable[CatalogModel]) -> None:
        self._models = tuple(models)
        self._by_name: dict[str, CatalogModel] = {}
        self._by_offering: dict[tuple[str, str], CatalogModel] = {}
        self._resolved: dict[str, ResolvedModel] = {}
        self._resolve_snapshot = lru_cache(maxsize=_SNAPSHOTS)(self._find_snapshot)
        for model in self._models:
            for offering in model.offerings:
                self._by_offering.setdefault((offering.provider, offering.upstream), model)
        for model in self._models:
            for name in (model.id, *model.aliases):
                self._by_name[name] = model
                self._resolved[name] = ResolvedModel(name, model, tuple(model.offerings))

    def __iter__(self) -> Iterator[CatalogModel]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

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
        if model is None:
            return ResolvedModel(name, None, (Offering(provider=provider, upstream=rest),), provider)
        return ResolvedModel(name, model, _at(model, provider, rest), provider)

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
        return None

    def find_model(self, provider: str, name: str) -> CatalogModel | None:
        """Return the model that `provider` offers under the catalog's name or its own name for it."""
        model = self._by_name.get(name)
        if model is not None and any(offering.provider == provider for offering in model.offerings):
            return model
        return self._by_offering.get((provider, name)) or self._by_offering.get((provider, f"{provider}/{name}"))


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
