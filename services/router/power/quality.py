"""The quality of models from the reviewed file: published figures of dated sources, as scores from 0 to 100. Pure."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, Field, Strict, StrictFloat, StrictInt, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from keyferry.contracts.envelope import Message, describe
from keyferry.contracts.ids import ModelName
from keyferry.contracts.text import Line, Refusing, Url

HIGHEST = 100
SourceId = Annotated[str, Refusing(20, pattern=r"^[a-z][a-z0-9_]*$", form="a-z 0-9 and _")]
Figure = Annotated[StrictInt | StrictFloat, Field(ge=-10_000, le=10_000, allow_inf_nan=False)]
Figures = Annotated[dict[SourceId, Figure], Field(min_length=1)]
Day = Annotated[date, Strict()]


class InvalidQuality(ValueError):
    """The file of qualities is invalid; the message names the model and the fault."""


class Kind(StrEnum):
    """The kind of a request, for which a model may be better or worse than in general."""

    GENERAL = "general"
    CODE = "code"
    VISION = "vision"
    LONG_CONTEXT = "long_context"


class _Part(Message):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Source(_Part):
    """Who measured, when, and which of its figures are the scores 0 and 100."""

    id: SourceId
    title: Line
    url: Url
    date: Day
    zero: Figure
    hundred: Figure

    @model_validator(mode="after")
    def _require_scale(self) -> "_Source":
        if self.zero >= self.hundred:
            raise PydanticCustomError("scale", "its zero must be less than its hundred")
        return self

    def score(self, figure: float) -> float:
        """Return the score of a figure, between 0 and 100."""
        return max(0.0, min(100.0, (figure - self.zero) * HIGHEST / (self.hundred - self.zero)))


class _Model(_Part):
    id: ModelName
    unknown: Line | None = None
    """Why no source says how good it is; there are then no figures."""
    general: Figures | None = None
    code: Figures | None = None
    vision: Figures | None = None
    long_context: Figures | None = None

    @model_validator(mode="after")
    def _require_figures(self) -> "_Model":
        figures = any(getattr(self, kind) is not None for kind in Kind)
        if self.unknown is not None and figures:
            raise PydanticCustomError("unknown", "a model that is unknown has no figures: it must be one of the two")
        if self.unknown is None and self.general is None:
            raise PydanticCustomError("general", "a model needs a general figure, or the reason why it is unknown")
        return self


class _File(_Part):
    reviewed: Day
    sources: Annotated[list[_Source], Field(min_length=1)]
    models: Annotated[list[_Model], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class ModelQuality:
    """The scores of one model by kind; without any, its quality is unknown."""

    scores: Mapping[Kind, int] = field(default_factory=dict)
    unknown: str | None = None

    def of(self, kind: Kind) -> int | None:
        """Return the score for a kind of request: that of the kind, or else the general one; None if unknown."""
        found = self.scores.get(kind)
        return self.scores.get(Kind.GENERAL) if found is None else found


_UNKNOWN = ModelQuality(unknown="the reviewed file of qualities does not have it")


class QualityTable:
    """The quality of every model of the file."""

    def __init__(self, reviewed: date, models: Mapping[str, ModelQuality]) -> None:
        self.reviewed = reviewed
        self._models = dict(models)

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def of(self, model_id: str) -> ModelQuality:
        """Return the quality of a model of the catalog, unknown if the file lacks it."""
        return self._models.get(model_id, _UNKNOWN)


def read_quality(text: str) -> QualityTable:
    """Return the qualities of a file. Raises InvalidQuality."""
    try:
        file = _File.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InvalidQuality(f"the file of qualities is not TOML: {error}") from None
    except ValidationError as error:
        raise InvalidQuality(f"the file of qualities: {describe(error)}") from None
    sources: dict[str, _Source] = {}
    for source in file.sources:
        if source.id in sources:
            raise InvalidQuality(f"the source {source.id} is listed twice")
        if source.date > file.reviewed:
            raise InvalidQuality(f"the source {source.id} is of {source.date}, after the review of {file.reviewed}")
        sources[source.id] = source
    models: dict[str, ModelQuality] = {}
    for model in file.models:
        if model.id in models:
            raise InvalidQuality(f"{model.id} is listed twice")
        models[model.id] = ModelQuality(_scores(model, sources), model.unknown)
    return QualityTable(file.reviewed, models)


def _scores(model: _Model, sources: Mapping[str, _Source]) -> dict[Kind, int]:
    scores: dict[Kind, int] = {}
    for kind in Kind:
        figures: dict[str, Any] | None = getattr(model, kind)
        if figures is None:
            continue
        if unlisted := figures.keys() - sources.keys():
            raise InvalidQuality(f"{model.id} has a figure of {min(unlisted)}, which is not among the sources")
        scores[kind] = round(sum(sources[name].score(value) for name, value in figures.items()) / len(figures))
    return scores
