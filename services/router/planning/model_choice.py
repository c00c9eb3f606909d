"""Which models a request may be answered with, in order: those that it names, and those that stand in for them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from keyferry.contracts.failure import Failure
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.route import ConsideredModel
from keyferry.contracts.rules import AppliedRule
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.rules.applying import apply_rules
from services.router.rules.chain import RuleChain


@dataclass(frozen=True, slots=True)
class ChosenModel:
    """A model to plan with."""

    name: str
    """As a caller would name it."""
    detail: str
    """Why it is in the plan."""
    named: bool = False
    """Whether the request itself names it; what the catalog says that it cannot do then drops nothing."""


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


def choose_models(request: RouteRequest, context: RoutingContext) -> ModelChoice:
    """Return the models to plan with, best first; or a refusal that says what to do."""
    chain = apply_rules(request, context)
    if chain is not None:
        return _choose_by_rule(request, chain)
    return ModelChoice((ChosenModel(request.model, "the request names it", named=True),))


def _choose_by_rule(request: RouteRequest, chain: RuleChain) -> ModelChoice:
    models = tuple(ChosenModel(each.name, each.detail, named=each.name == request.model) for each in chain.models)
    return ModelChoice(models, rule=chain.applied, fallback=chain.fallback)
