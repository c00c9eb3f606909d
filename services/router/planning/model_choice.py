"""Which models a request may be answered with, in order: those that it names, and those that stand in for them. Pure."""

from dataclasses import replace

from keyferry.contracts.features import DEFAULT_MODEL
from keyferry.contracts.route import ConsideredModel
from services.router.planning.choice import ChosenModel as ChosenModel
from services.router.planning.choice import ModelChoice as ModelChoice
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.planning.saved_models import add_fallback_models, choose_default
from services.router.rules.applying import apply_rules
from services.router.rules.chain import RuleChain


def choose_models(request: RouteRequest, context: RoutingContext) -> ModelChoice:
    """Return the models to plan with, best first; or a refusal that says what to do."""
    chain = apply_rules(request, context)
    choice = _choose_by_name(request, context) if chain is None else _choose_by_rule(request, context, chain)
    return add_fallback_models(choice, request, context) if choice.fallback else choice


def _choose_by_name(request: RouteRequest, context: RoutingContext) -> ModelChoice:
    if request.model == DEFAULT_MODEL:
        return choose_default(request, context)
    return ModelChoice((ChosenModel(request.model, "the request names it", named=True),))


def _choose_by_rule(request: RouteRequest, context: RoutingContext, chain: RuleChain) -> ModelChoice:
    models: list[ChosenModel] = []
    passed_over: list[ConsideredModel] = []
    for each in chain.models:
        if each.name == DEFAULT_MODEL:
            default = choose_default(request, context)
            models += (replace(model, detail=f"{each.detail}; {model.detail}") for model in default.models)
            passed_over += default.passed_over
        else:
            models.append(ChosenModel(each.name, each.detail, named=each.name == request.model))
    unique = {model.name: model for model in reversed(models)}
    ordered = tuple(model for model in models if unique.get(model.name) is model)
    return ModelChoice(ordered, passed_over=passed_over, rule=chain.applied, fallback=chain.fallback)
