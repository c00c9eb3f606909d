"""Messages about the models of the catalog that an operator adds, changes or retires. Pure."""

from typing import Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from keyferry.contracts.catalog import CatalogModel, CatalogPart
from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, ChosenModel, ModelName
from keyferry.contracts.text import Count, Explanation, Moment, Ordinal


class Retirement(CatalogPart):
    """What becomes of requests for a model that was retired."""

    replacement: ModelName | None = None
    """The model to use instead."""
    serve_replacement: bool = False
    """Whether requests are answered by the replacement; if not, they are refused, and the refusal names it."""


def require_replacement(replacement: str | None, *, serve: bool) -> None:
    """Check that there is a replacement if one is to answer. Raises PydanticCustomError."""
    if serve and replacement is None:
        raise PydanticCustomError("replacement", "name the replacement that is to answer")


class CatalogEntry(Message):
    """What an operator changed about one model; it takes precedence over the catalog's files."""

    id: ModelName
    model: CatalogModel | None = None
    """The operator's version of the model; null if the model is only retired."""
    retirement: Retirement | None = None
    revision: Ordinal
    """Incremented with every change of this model."""
    changed_at: Moment
    changed_by: Actor


class SaveCatalogModel(Command):
    """Add a model to the catalog, or replace the one with its id. A retired model must be restored first."""

    model: CatalogModel
    move_default: bool = False
    """If the model is to be the default: whether the present default stops being it. Otherwise two defaults are refused."""
    expected_revision: Count | None = None
    """Refuse the change unless the model has this revision: what it had when it was read; 0 if it had never been changed."""
    actor: Actor = "operator"
    """Who does it, for the audit."""


class RetireModel(Command):
    """Stop offering a model. Its names stay known, so that requests for them are refused with the reason."""

    id: ChosenModel
    replacement: ChosenModel | None = None
    """A name of the model to use instead."""
    serve_replacement: bool = False
    """Answer requests for it with the replacement."""
    actor: Actor = "operator"
    """Who does it, for the audit."""

    @model_validator(mode="after")
    def _require_replacement(self) -> Self:
        require_replacement(self.replacement, serve=self.serve_replacement)
        return self


class RestoreModel(Command):
    """Offer a retired model again."""

    id: ChosenModel
    actor: Actor = "operator"
    """Who does it, for the audit."""


class RemoveModel(Command):
    """Undo every change of a model: a model of the catalog's files is as they say again, any other is gone."""

    id: ChosenModel
    actor: Actor = "operator"
    """Who does it, for the audit."""


class ListCatalog(Command):
    """Request every model of the catalog, retired ones included."""


class CatalogState(Message):
    """One model of the catalog as it is in force."""

    model: CatalogModel
    bundled: bool
    """Whether the catalog's files have it."""
    changed: bool
    """Whether an operator added or changed it."""
    retirement: Retirement | None = None
    revision: Count = 0
    """0 if no operator changed it."""
    changed_at: Moment | None = None
    changed_by: Actor | None = None
    problem: Explanation | None = None
    """Why the operator's version is not in force: for example, it contradicts a newer version of the catalog's files."""
    warnings: list[Explanation] = Field(default_factory=list)
    """In the answer to a retirement: the published rules and the preferences that name the model."""


class CatalogStates(Message):
    """Every model of the catalog, in its order, and then the retired ones."""

    models: list[CatalogState]
