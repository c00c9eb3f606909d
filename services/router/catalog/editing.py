"""What a change of the catalog or of a provider does: the entries to store, or the reason why it is refused. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from keyferry.contracts.catalog import Capability, CatalogModel
from keyferry.contracts.catalog_edits import (
    CatalogEntry,
    CatalogState,
    RemoveModel,
    RestoreModel,
    Retirement,
    RetireModel,
    SaveCatalogModel,
)
from keyferry.contracts.provider_edits import (
    AddedProvider,
    ProviderEntry,
    RestoreProvider,
    RetireProvider,
    SaveProvider,
)
from keyferry.contracts.providers import PROVIDERS, RESERVED_NAMES
from keyferry.contracts.service import ErrorCode
from services.router.catalog.overlay import compose, compose_strictly, providers_in_force
from services.router.catalog.reading import InvalidCatalog

MAX_MODELS = 2000
MAX_PROVIDERS = 200
"""Far above any real catalog; every router holds all of it."""
_MAX_NAMED = 5


class RefusedChange(ValueError):
    """A change that is refused. The message says why and what to do instead."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(f"{reason}; nothing was changed")
        self.code = code


@dataclass(frozen=True, slots=True)
class Stored:
    """What operators changed so far, as it is stored."""

    models: Mapping[str, CatalogEntry]
    providers: Mapping[str, ProviderEntry]


@dataclass(frozen=True, slots=True)
class Change:
    """Who changes something, when, and the revision that it gets."""

    actor: str
    now: datetime
    revision: int


@dataclass(frozen=True, slots=True)
class ModelChange:
    """Entries of models to store; None removes the entry of that id."""

    entries: Mapping[str, CatalogEntry | None]


class CatalogEditor:
    """Decides about changes of models and providers against all that is stored."""

    def __init__(self, bundled: Sequence[CatalogModel], stored: Stored) -> None:
        self._bundled = {model.id: model for model in bundled}
        self._stored = stored
        self._providers = providers_in_force(stored.providers.values())
        composition = compose(bundled, stored.models.values(), self._providers)
        self.catalog = composition.catalog
        self._problems = composition.problems

    def save(self, command: SaveCatalogModel, change: Change) -> ModelChange:
        """Add or replace a model; with `move_default` the present default loses the mark. Raises RefusedChange."""
        model, stored = command.model, self._stored.models.get(command.model.id)
        revision = stored.revision if stored else 0
        if command.expected_revision not in (None, revision):
            raise RefusedChange(
                ErrorCode.CONFLICT,
                f"{model.id} has the revision {revision}, so somebody changed it since it was read: read it again",
            )
        if stored is not None and stored.retirement is not None:
            raise RefusedChange(
                ErrorCode.CONFLICT, f"{model.id} is retired: restore it first (`keyferry models restore {model.id}`)"
            )
        if stored is None and len(self._stored.models) >= MAX_MODELS:
            raise RefusedChange(ErrorCode.CONFLICT, f"operators have changed {MAX_MODELS} models, which is the most")
        entries: dict[str, CatalogEntry | None] = {}
        former = self._other_default(model)
        if former is not None:
            if not command.move_default:
                raise RefusedChange(
                    ErrorCode.CONFLICT,
                    f"{former.id} is the default: there can be one; to make {model.id} the default in its place, ask for the"
                    " move (--default on the command line, `move_default: true` in the API)",
                )
            entries[former.id] = self._entry(former.model_copy(update={"default": False}), change)
        self._check_keeps_default(model)
        self._check_default_has_provider(model)
        entries[model.id] = self._entry(model, change)
        return self._checked(entries)

    def retire(self, command: RetireModel, change: Change) -> ModelChange:
        """Retire a model. Raises RefusedChange for the default, and for one that replaces others."""
        model = self._find_model(command.id)
        if model.default:
            raise RefusedChange(
                ErrorCode.CONFLICT,
                f"{model.id} is the default model: make another one the default first (`keyferry models edit OTHER --default`)",
            )
        if depending := [gone.id for gone in self.catalog.retired if self._replaced_by(gone.retirement, model)]:
            raise RefusedChange(
                ErrorCode.CONFLICT,
                f"{model.id} replaces {', '.join(depending[:_MAX_NAMED])}: retire those again with another replacement first"
                f" (`keyferry models retire {depending[0]} --replacement NAME`)",
            )
        retirement = Retirement(replacement=command.replacement, serve_replacement=command.serve_replacement)
        stored = self._stored.models.get(model.id)
        entry = CatalogEntry(
            id=model.id,
            model=stored.model if stored else None,
            retirement=retirement,
            revision=change.revision,
            changed_at=change.now,
            changed_by=change.actor,
        )
        return self._checked({model.id: entry})

    def restore(self, command: RestoreModel, change: Change) -> ModelChange:
        """Offer a retired model again, as it was. Raises RefusedChange."""
        stored = self._require_entry(command.id)
        if stored.retirement is None:
            raise RefusedChange(ErrorCode.CONFLICT, f"{stored.id} is not retired")
        if stored.model is None and stored.id in self._bundled:
            return self._checked({stored.id: None})
        if stored.model is None:
            raise RefusedChange(
                ErrorCode.CONFLICT,
                f"the catalog's files no longer have {stored.id}: remove it (`keyferry models rm {stored.id}`) and add it anew",
            )
        return self._checked({stored.id: self._entry(stored.model, change)})

    def remove(self, command: RemoveModel) -> ModelChange:
        """Undo every change of a model. Raises RefusedChange if others depend on it."""
        stored = self._require_entry(command.id)
        if stored.model is not None and stored.model.default and not self._is_default(self._bundled.get(stored.id)):
            raise RefusedChange(
                ErrorCode.CONFLICT,
                f"{stored.id} is the default model: make another one the default first (`keyferry models edit OTHER --default`)",
            )
        bundled = self._bundled.get(stored.id)
        if bundled is not None and (present := self._other_default(bundled)) is not None:
            raise RefusedChange(
                ErrorCode.CONFLICT,
                f"{stored.id} would be the default model again, which is {present.id} now: move that first"
                f" (`keyferry models edit {stored.id} --default`)",
            )
        if bundled is not None:
            self._check_default_has_provider(bundled)
        return self._checked({stored.id: None})

    def states(self) -> list[CatalogState]:
        """Return every model of the catalog in its order, then the retired ones."""
        states = [self._state(model) for model in self.catalog]
        for gone in self.catalog.retired:
            model = gone.model or self._bundled.get(gone.id)
            if model is not None:
                states.append(self._state(model))
        shown = {state.model.id for state in states}
        for name in self._problems:
            entry = self._stored.models[name]
            if name not in shown and entry.model is not None:
                states.append(self._state(entry.model))
        return states

    def state(self, model_id: str) -> CatalogState | None:
        """Return one model's state; None if the catalog has no such model, retired or not."""
        return next((state for state in self.states() if state.model.id == model_id), None)

    def save_provider(self, command: SaveProvider, base_url: str, change: Change) -> ProviderEntry:
        """Add or replace a provider, whose `base_url` was checked. Raises RefusedChange."""
        name, stored = command.name, self._stored.providers.get(command.name)
        if name in PROVIDERS.bundled:
            raise RefusedChange(
                ErrorCode.CONFLICT,
                f"{name} is a provider of this build, which cannot be changed: give the new one another name; to call {name}"
                " through a gateway of yours, set its base URL for keys (KEYFERRY_PROVIDER_URLS)",
            )
        if name in RESERVED_NAMES:
            raise RefusedChange(
                ErrorCode.INVALID, f"a provider cannot be called {name}: that name has another meaning as a model"
            )
        if stored is not None and stored.retired:
            raise RefusedChange(
                ErrorCode.CONFLICT, f"{name} is retired: restore it first (`keyferry providers restore {name}`)"
            )
        if stored is None and len(self._stored.providers) >= MAX_PROVIDERS:
            raise RefusedChange(
                ErrorCode.CONFLICT, f"operators have changed {MAX_PROVIDERS} providers, which is the most"
            )
        added = AddedProvider(
            title=command.title,
            base_url=base_url,
            api=command.api,
            key_url=command.key_url,
            docs_url=command.docs_url,
            prefixes=list(dict.fromkeys(command.prefixes)),
            key_optional=command.key_optional,
            test_model=command.test_model,
            eu=command.eu,
        )
        return self._checked_provider(_provider_entry(name, added, change))

    def retire_provider(self, command: RetireProvider, change: Change) -> ProviderEntry:
        """Retire a provider. Raises RefusedChange if the default model would be left without a provider."""
        stored = self._require_provider(command.name)
        for model in self.catalog:
            others = {offering.provider for offering in model.offerings} - {command.name}
            if model.default and others <= self.catalog.retired_providers.keys():
                raise RefusedChange(
                    ErrorCode.CONFLICT,
                    f"the default model {model.id} has no other provider: make another model the default first"
                    " (`keyferry models edit OTHER --default`)",
                )
        added = stored.added if stored else None
        return _provider_entry(command.name, added, change, retired=True, reason=command.reason)

    def restore_provider(self, command: RestoreProvider, change: Change) -> ProviderEntry | None:
        """Use a retired provider again; None removes the entry. Raises RefusedChange."""
        stored = self._require_provider(command.name)
        if stored is None or not stored.retired:
            raise RefusedChange(ErrorCode.CONFLICT, f"{command.name} is not retired")
        return None if stored.added is None else _provider_entry(command.name, stored.added, change)

    def _entry(self, model: CatalogModel, change: Change) -> CatalogEntry:
        kept = self._without_implied_marks(model)
        return CatalogEntry(
            id=model.id, model=kept, revision=change.revision, changed_at=change.now, changed_by=change.actor
        )

    def _checked(self, entries: Mapping[str, CatalogEntry | None]) -> ModelChange:
        """Check the whole catalog as it would be. Raises RefusedChange with the contradiction."""
        after = {**self._stored.models, **entries}
        kept = [entry for name, entry in after.items() if entry is not None and name not in self._ignored(entries)]
        try:
            compose_strictly(
                list(self._bundled.values()), sorted(kept, key=lambda entry: entry.revision), self._providers
            )
        except InvalidCatalog as error:
            raise RefusedChange(ErrorCode.INVALID, str(error)) from None
        return ModelChange(entries)

    def _ignored(self, entries: Mapping[str, CatalogEntry | None]) -> set[str]:
        """Return the models whose changes are not in force, unless they are changed now."""
        return set(self._problems) - set(entries)

    def _checked_provider(self, entry: ProviderEntry) -> ProviderEntry:
        providers = providers_in_force([*(e for n, e in self._stored.providers.items() if n != entry.name), entry])
        kept = [each for name, each in self._stored.models.items() if name not in self._problems]
        try:
            compose_strictly(list(self._bundled.values()), sorted(kept, key=lambda each: each.revision), providers)
        except InvalidCatalog as error:
            raise RefusedChange(ErrorCode.INVALID, str(error)) from None
        return entry

    def _find_model(self, name: str) -> CatalogModel:
        """Return the model of this name of the catalog, also of an alias. Raises RefusedChange."""
        for model in self.catalog:
            if name in (model.id, *model.aliases):
                return model
        for gone in self.catalog.retired:
            # A retirement can be changed: to another replacement, or to none.
            if name in gone.names() and gone.model is not None:
                return gone.model
        raise RefusedChange(
            ErrorCode.NOT_FOUND, "the catalog has no model of that name (`keyferry models list` shows all of them)"
        )

    def _require_entry(self, name: str) -> CatalogEntry:
        entry = self._stored.models.get(name)
        if entry is None:
            known = any(name == model.id for model in self.catalog)
            reason = f"no operator has changed {name}" if known else "the catalog has no model of that id"
            raise RefusedChange(ErrorCode.NOT_FOUND, f"{reason} (`keyferry models list` shows all of them)")
        return entry

    def _require_provider(self, name: str) -> ProviderEntry | None:
        if name not in self._providers:
            raise RefusedChange(
                ErrorCode.NOT_FOUND, f"there is no provider of that name; there are {', '.join(self._providers)}"
            )
        return self._stored.providers.get(name)

    def _other_default(self, model: CatalogModel) -> CatalogModel | None:
        """Return the default that this model would replace, if it is to be the default."""
        if not model.default:
            return None
        kind = Capability.EMBEDDINGS if Capability.EMBEDDINGS in model.capabilities else Capability.CHAT
        present = self.catalog.default(kind)
        return present if present is not None and present.id != model.id else None

    def _check_keeps_default(self, model: CatalogModel) -> None:
        """Check that the default model does not just lose the mark. Raises RefusedChange."""
        present = next((each for each in self.catalog if each.id == model.id), None)
        if self._is_default(present) and not model.default:
            raise RefusedChange(
                ErrorCode.CONFLICT,
                f"{model.id} is the default model: to change that, make another one the default"
                " (`keyferry models edit OTHER --default`)",
            )

    def _check_default_has_provider(self, model: CatalogModel) -> None:
        """Check that the default model can be called somewhere. Raises RefusedChange."""
        if model.default and all(each.provider in self.catalog.retired_providers for each in model.offerings):
            raise RefusedChange(
                ErrorCode.CONFLICT,
                f"{model.id} would be the default model, and every provider of its offerings is retired: add another offering",
            )

    def _without_implied_marks(self, model: CatalogModel) -> CatalogModel:
        """Return the model without the marks that its offerings have because their provider is in the European Union.

        A model is read with them. Stored, they would keep the provider from being changed.
        """
        implied = {name for name, facts in self._providers.items() if facts.api is not None and facts.eu}
        if not any(each.eu and each.provider in implied for each in model.offerings):
            return model
        offerings = [
            each.model_copy(update={"eu": False}) if each.provider in implied else each for each in model.offerings
        ]
        return model.model_copy(update={"offerings": offerings})

    @staticmethod
    def _is_default(model: CatalogModel | None) -> bool:
        return model is not None and model.default

    @staticmethod
    def _replaced_by(retirement: Retirement, model: CatalogModel) -> bool:
        return retirement.replacement in (model.id, *model.aliases)

    def _state(self, model: CatalogModel) -> CatalogState:
        stored = self._stored.models.get(model.id)
        return CatalogState(
            model=model,
            bundled=model.id in self._bundled,
            changed=stored is not None and stored.model is not None,
            retirement=stored.retirement if stored else None,
            revision=stored.revision if stored else 0,
            changed_at=stored.changed_at if stored else None,
            changed_by=stored.changed_by if stored else None,
            problem=self._problems.get(model.id),
        )


def _provider_entry(
    name: str, added: AddedProvider | None, change: Change, *, retired: bool = False, reason: str | None = None
) -> ProviderEntry:
    return ProviderEntry(
        name=name,
        added=added,
        retired=retired,
        reason=reason,
        revision=change.revision,
        changed_at=change.now,
        changed_by=change.actor,
    )
