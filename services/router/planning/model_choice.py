"""Which models a request may be answered with, in order: those that it names, and those that stand in for them. Pure."""

from dataclasses import replace

from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.features import DEFAULT_MODEL, LEVEL_MODELS, PowerLevel
from keyferry.contracts.route import ConsideredModel
from keyferry.contracts.usage import RequestKind
from services.router.planning.choice import ChosenModel as ChosenModel
from services.router.planning.choice import ModelChoice as ModelChoice
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.planning.saved_models import add_fallback_models, choose_default, models_of_chain
from services.router.power.choice import choose_by_level, effective_level
from services.router.rules.applying import apply_rules
from services.router.rules.chain import RuleChain


def choose_models(request: RouteRequest, context: RoutingContext) -> ModelChoice:
    """Return the models to plan with, best first; or a refusal that says what to do."""
    chain = apply_rules(request, context)
    choice = _choose_by_name(request, context) if chain is None else _choose_by_rule(request, context, chain)
    return add_fallback_models(choice, request, context) if choice.fallback else choice


def _choose_by_name(request: RouteRequest, context: RoutingContext) -> ModelChoice:
    if request.model in LEVEL_MODELS:
        return _choose_by_level(request.model, request, context)
    level = effective_level(request, context)
    if request.model == DEFAULT_MODEL:
        return replace(choose_default(request, context), power_level=level)
    return ModelChoice((ChosenModel(request.model, "the request names it", named=True),), power_level=level)


def _choose_by_level(name: str, request: RouteRequest, context: RoutingContext) -> ModelChoice:
    choice = choose_by_level(name, request, context)
    models = tuple(ChosenModel(model, detail) for model, detail in choice.models)
    return ModelChoice(models, choice.level, choice.passed_over, choice.refusal)


def _choose_by_rule(request: RouteRequest, context: RoutingContext, chain: RuleChain) -> ModelChoice:
    """Return the models of a chain, with those that its virtual models stand for in their places.

    A level that the chain names is the rule's choice, whatever level the request asks for; the first one is recorded.
    """
    models: list[ChosenModel] = []
    passed_over: list[ConsideredModel] = []
    level: PowerLevel | None = None
    refusal = None
    for each in chain.models:
        if each.use_case is not None:
            models += models_of_chain(context, each.use_case, each.detail)
            continue
        if each.name != DEFAULT_MODEL and each.name not in LEVEL_MODELS:
            models.append(ChosenModel(each.name, each.detail, named=each.name == request.model))
            continue
        if each.name == DEFAULT_MODEL:
            found = choose_default(request, context)
        else:
            found = _choose_by_level(each.name, replace(request, power_level=None), context)
            level, refusal = level or found.power_level, refusal or found.refusal
        models += (replace(model, detail=f"{each.detail}; {model.detail}") for model in found.models)
        passed_over += found.passed_over
    unique = {model.name: model for model in reversed(models)}
    ordered = tuple(model for model in models if unique.get(model.name) is model)
    if request.kind is RequestKind.EMBEDDING:
        why = "embeddings of another model cannot be compared with those of the first"
        passed_over += (
            ConsideredModel(model=each.name, planned=False, detail=f"{each.detail}: {why}") for each in ordered[1:]
        )
        ordered = ordered[:1]
    if not ordered and refusal is None:
        message = f"the routing rule {chain.applied.rule} leads to no model now: change its chain, or switch it off"
        refusal = Failure(failure_class=FailureClass.POLICY, message=message, param="model")
    return ModelChoice(
        ordered,
        level or effective_level(request, context),
        passed_over,
        None if ordered else refusal,
        chain.applied,
        chain.fallback,
    )
