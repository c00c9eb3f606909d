"""The catalog in force: the models of its files, and over them what an operator added, changed or retired. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from keyferry.contracts.catalog import CatalogModel
from keyferry.contracts.catalog_edits import CatalogEntry
from keyferry.contracts.provider_edits import ProviderEntry, install_providers
from keyferry.contracts.providers import PROVIDERS, ProviderDirectory, ProviderFacts
from services.router.catalog.lookup import Catalog
from services.router.catalog.reading import InvalidCatalog, check_models
from services.router.catalog.retired import RetiredModel


@dataclass(frozen=True, slots=True)
class Composition:
    """A catalog, and the changes that are not in it."""

    catalog: Catalog
    problems: Mapping[str, str] = field(default_factory=dict)
    """Why the change of a model is not in force, by the model's id."""


def providers_in_force(entries: Iterable[ProviderEntry]) -> ProviderDirectory:
    """Return the providers of this build and those of these entries, with the reasons of retired ones."""
    directory = ProviderDirectory(PROVIDERS.bundled.values())
    install_providers(directory, entries)
    return directory


def compose(
    bundled: Sequence[CatalogModel],
    entries: Iterable[CatalogEntry],
    providers: ProviderDirectory,
    withheld: Collection[str] = (),
) -> Composition:
    """Return the catalog of these files with these changes. `withheld` are the ids of models whose change cannot be read.

    Each change was valid when it was made. Where a newer version of the files contradicts some, these are left out, the
    newest first, and the rest is in force: a router must never be without a catalog.
    """
    # A default that moves is two entries of one revision: the former default comes first.
    ordered = sorted(entries, key=lambda entry: (entry.revision, entry.model is not None and entry.model.default))
    problems: dict[str, str] = {}

    def keep_consistent(applied: list[CatalogEntry], added: list[CatalogEntry]) -> list[CatalogEntry]:
        """Return those of `added` that contradict nothing before them. Halving finds a few among thousands quickly."""
        try:
            compose_strictly(bundled, [*applied, *added], providers)
            return added
        except InvalidCatalog as error:
            if len(added) == 1:
                problems[added[0].id] = str(error)
                return []
        middle = len(added) // 2
        first = keep_consistent(applied, added[:middle])
        return first + keep_consistent([*applied, *first], added[middle:])

    kept = keep_consistent([], ordered) if ordered else []
    return Composition(compose_strictly(bundled, kept, providers, withheld), problems)


def compose_strictly(
    bundled: Sequence[CatalogModel],
    entries: Iterable[CatalogEntry],
    providers: ProviderDirectory,
    withheld: Collection[str] = (),
) -> Catalog:
    """Return the catalog of these files with these changes. Raises InvalidCatalog if they contradict each other."""
    found = {model.id: model for model in bundled}
    gone: list[RetiredModel] = []
    for entry in entries:
        if entry.model is not None:
            found[entry.id] = entry.model
        if entry.retirement is not None:
            gone.append(RetiredModel(entry.id, entry.retirement, found.pop(entry.id, None)))
    models = list(found.values())
    check_models(models, gone, providers)
    marked = [_mark_residency(model, providers) for model in models]
    return Catalog(marked, gone, retirements(providers), withheld)


def retirements(providers: ProviderDirectory) -> Mapping[str, str]:
    """Return the reasons of the retired providers, by name."""
    return {name: reason for name in providers if (reason := providers.retirement(name)) is not None}


def _mark_residency(model: CatalogModel, providers: Mapping[str, ProviderFacts]) -> CatalogModel:
    """Mark the offerings of added providers that process every call inside the European Union."""
    if not any(providers[offering.provider].eu and not offering.eu for offering in model.offerings):
        return model
    marked = [
        offering.model_copy(update={"eu": True}) if providers[offering.provider].eu else offering
        for offering in model.offerings
    ]
    return model.model_copy(update={"offerings": marked})
