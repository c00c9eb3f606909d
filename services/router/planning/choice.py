"""The models of a plan, in order, and why each is in it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from keyferry.contracts.failure import Failure
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.route import ConsideredModel
from keyferry.contracts.rules import AppliedRule


@dataclass(frozen=True, slots=True)
class ChosenModel:
    """A model to plan with."""

    name: str
    """As a caller would name it."""
    detail: str
    """Why it is in the plan."""
    named: bool = False
    """Whether the request itself names it; what the catalog says that it cannot do then drops nothing."""
    eu_only: bool = False
    """Whether only offerings inside the European Union may serve it, whatever the preferences allow."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The models of a plan, best first, or why there is none."""

    models: Sequence[ChosenModel]
    power_level: PowerLevel | None = None
    """The level that was applied; None where the request names a model."""
    passed_over: Sequence[ConsideredModel] = ()
    """Models that were considered and are not in the plan, with the reason of each."""
    refusal: Failure | None = None
    """Why no model can be chosen; `models` is then empty."""
    rule: AppliedRule | None = None
    """The routing rule that chose the models, if one matched."""
    fallback: bool = True
    """Whether fallback models may follow."""

    def considered(self) -> list[ConsideredModel]:
        """Return all considered models for the decision record."""
        planned = [ConsideredModel(model=model.name, detail=model.detail) for model in self.models]
        return [*planned, *self.passed_over]
