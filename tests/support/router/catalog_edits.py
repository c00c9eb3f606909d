"""A small catalog, and changes of it as an operator makes them."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from keyferry.contracts.catalog import CatalogModel
from keyferry.contracts.catalog_edits import CatalogEntry, RetireModel, SaveCatalogModel
from keyferry.contracts.provider_edits import ProviderEntry, SaveProvider
from services.router.catalog.editing import CatalogEditor, Change, ModelChange, Stored

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def model(model_id: str, *offerings: str, **changes: Any) -> CatalogModel:
    """Return a model with offerings written as `provider/upstream`; without any, one of OpenAI under the model's id."""
    document = {
        "id": model_id,
        "maker": "Maker",
        "title": model_id,
        "description": "A model.",
        "best_for": ["tests"],
        "class": "budget",
        "capabilities": ["chat"],
        "tier": "free",
        "offerings": [
            {"provider": provider, "upstream": upstream}
            for provider, _, upstream in (each.partition("/") for each in offerings or (f"openai/{model_id}",))
        ],
    }
    return CatalogModel.model_validate(document | changes)


BUNDLED = (
    model("first", default=True),
    model("second", "openai/second-1", "mistral/second-2", aliases=["two"]),
    model("third", "mistral/third"),
    model("vectors", capabilities=["embeddings"], dimensions=8),
)


class Operator:
    """An operator's changes of a catalog, each on top of the ones before."""

    def __init__(self, bundled: Iterable[CatalogModel] = BUNDLED) -> None:
        self.bundled = tuple(bundled)
        self.models: dict[str, CatalogEntry] = {}
        self.providers: dict[str, ProviderEntry] = {}
        self.revision = 0

    @property
    def editor(self) -> CatalogEditor:
        """Return the editor of what is stored now."""
        return CatalogEditor(self.bundled, Stored(dict(self.models), dict(self.providers)))

    def change(self) -> Change:
        """Return the next change."""
        self.revision += 1
        return Change("operator", NOW, self.revision)

    def apply(self, decided: ModelChange) -> None:
        """Store what was decided."""
        for name, entry in decided.entries.items():
            if entry is None:
                self.models.pop(name, None)
            else:
                self.models[name] = entry

    def save(self, saved: CatalogModel, **options: Any) -> None:
        """Save a model. Raises RefusedChange."""
        self.apply(self.editor.save(SaveCatalogModel(model=saved, **options), self.change()))

    def retire(self, name: str, replacement: str | None = None, *, serve: bool = False) -> None:
        """Retire a model. Raises RefusedChange."""
        command = RetireModel(id=name, replacement=replacement, serve_replacement=serve)
        self.apply(self.editor.retire(command, self.change()))

    def add_provider(self, name: str, **changes: Any) -> None:
        """Add a provider. Raises RefusedChange."""
        command = SaveProvider.model_validate({"name": name, "title": name, "base_url": "https://x.example"} | changes)
        entry = self.editor.save_provider(command, command.base_url, self.change())
        self.providers[name] = entry
