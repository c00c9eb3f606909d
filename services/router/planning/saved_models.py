"""The models that preferences name: what `default` stands for, and which models follow the one that was asked for. Pure."""

from collections.abc import Iterator
from dataclasses import replace

from keyferry.contracts.catalog import Capability, CatalogModel
from keyferry.contracts.failure import FailureClass
from keyferry.contracts.fallback import UseCase
from keyferry.contracts.features import DEFAULT_MODEL, VIRTUAL_MODELS
from keyferry.contracts.preferences import RoutingMode
from keyferry.contracts.providers import NAMED_BY_TENANT, SELF_HOSTED
from keyferry.contracts.residency import states_eu
from keyferry.contracts.route import ConsideredModel, Endpoint
from keyferry.contracts.usage import RequestKind
from services.router.catalog.lookup import ResolvedModel
from services.router.fallback.policy import policy_of
from services.router.planning.choice import ChosenModel, ModelChoice
from services.router.planning.constraints import Place
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.planning.key_candidates import payable_places, payers
from services.router.planning.residency import check_residency, may_ever_serve, residency_of
from services.router.planning.routing_mode import describe_source
from services.router.preferences.effective import NO_PREFERENCES, EffectivePreferences

ECHO = "echo"
_MOST_OF_A_SERVER = 20
"""How many models of an own server are considered."""
Named = tuple[str, str]
"""A model's name, and why it is considered."""


def choose_default(request: RouteRequest, context: RoutingContext) -> ModelChoice:
    """Return the model that `default` stands for: the operation's, the default, the preferred ones, the catalog's, an endpoint's.

    What cannot serve the request at all is passed over with the reason: it is not allowed for the client token, is of another
    kind, or would not be processed where the request may be. Without any, the catalog's default remains, so that the refusal
    says what is missing.
    """
    preferences = context.preferences(request)
    passed_over: list[ConsideredModel] = []
    for name, detail in _saved(request, preferences):
        reason = _find_obstacle(name, request, context, preferences)
        if reason is None:
            return ModelChoice((ChosenModel(name, detail),), passed_over=passed_over)
        passed_over.append(ConsideredModel(model=name, planned=False, detail=f"{detail}, but {reason}"))
    for name, detail in _unsaved(request, context, preferences):
        reason = _find_obstacle(name, request, context, preferences)
        if reason is None:
            return ModelChoice((ChosenModel(name, detail),), passed_over=passed_over)
    last = next((model.id for model in context.catalog if _is_default(model, request.kind)), ECHO)
    return ModelChoice((ChosenModel(last, "it is the catalog's default"),), passed_over=passed_over)


def add_fallback_models(choice: ModelChoice, request: RouteRequest, context: RoutingContext) -> ModelChoice:
    """Add the fallback models of the preferences behind the models of a choice.

    Embeddings get none: those of another model cannot be compared with them.
    """
    if not choice.models or request.kind is RequestKind.EMBEDDING or any(model.name == ECHO for model in choice.models):
        return choice
    preferences = context.preferences(request)
    present = {model.name for model in choice.models}
    added: list[ChosenModel] = []
    passed_over = list(choice.passed_over)
    for model in _fallbacks(request, context, preferences):
        if model.name in present:
            continue
        present.add(model.name)
        reason = _find_obstacle(model.name, request, context, preferences)
        if reason is None:
            added.append(model)
        else:
            detail = f"{model.detail}, but {reason}"
            passed_over.append(ConsideredModel(model=model.name, planned=False, detail=detail))
    return replace(choice, models=(*choice.models, *added), passed_over=passed_over)


def _fallbacks(
    request: RouteRequest, context: RoutingContext, preferences: EffectivePreferences
) -> Iterator[ChosenModel]:
    """Yield the models that may answer instead: those of the preferences, and longer ones for a request that was too long."""
    if preferences.fallback_models:
        where = describe_source(preferences.source("fallback_models"))
        for name in preferences.fallback_models:
            yield ChosenModel(name, f"it is a fallback model{where}")
    if preferences.fallback_chain is not None:
        where = describe_source(preferences.source("fallback_chain"))
        yield from models_of_chain(context, preferences.fallback_chain, f"it is in the fallback chain{where}")
    failed = (one for one in request.failed_attempts if one.failure.failure_class is FailureClass.CONTEXT_LENGTH)
    too_long = next(failed, None)  # a longer model that fails meanwhile is followed by the next longer one
    if too_long is not None and policy_of(request, context).longer_models:
        why = f"the request is too long for {too_long.chosen_model or request.model}"
        yield from models_of_chain(context, UseCase.LONG_CONTEXT, why)


def models_of_chain(context: RoutingContext, use_case: UseCase, why: str) -> Iterator[ChosenModel]:
    """Yield the models of a chain by use case, best first, each with the reason for the chain."""
    chain = context.fallback.chains.get(use_case)
    for name in chain.models if chain is not None else ():
        yield ChosenModel(name, f"{why}: {use_case}", eu_only=chain is not None and chain.eu_only)


def _saved(request: RouteRequest, preferences: EffectivePreferences) -> Iterator[Named]:
    """Yield the models that preferences name for `default`, first choice first."""
    operation = request.operation
    if operation is not None and (model := preferences.model_by_operation.get(operation)) is not None:
        where = describe_source(preferences.source(f"model_by_operation.{operation}"))
        yield model, f"it is the model of the operation {operation}{where}"
    if preferences.default_model is not None:
        yield (
            preferences.default_model,
            f"it is the default model{describe_source(preferences.source('default_model'))}",
        )
    for model in preferences.preferred_models:
        yield model, f"it is a preferred model{describe_source(preferences.source('preferred_models'))}"


def _unsaved(request: RouteRequest, context: RoutingContext, preferences: EffectivePreferences) -> Iterator[Named]:
    """Yield the catalog's default and its other models that a key may pay for, then those of own endpoints and servers."""
    mode = preferences.mode_of(request.operation)
    if mode is not RoutingMode.CUSTOM:
        for model in sorted(context.catalog, key=lambda model: not _is_default(model, request.kind)):
            if has_key(model, context, NO_PREFERENCES) and _is_payable(model.id, request, context, preferences):
                chosen = _is_default(model, request.kind)
                yield (
                    model.id,
                    "it is the catalog's default" if chosen else "it is the first model of the catalog that has a key",
                )
    if mode not in (RoutingMode.PLATFORM, RoutingMode.BYOK):
        for endpoint in _enabled(context):
            for name in endpoint.models:
                yield name, f"the endpoint {endpoint.name} lists it"
    for key in (key for provider, keys in context.own_keys.items() if provider in SELF_HOSTED for key in keys):
        server = key.name or key.provider
        names = (f"{server}/{model}" for model in key.models[:_MOST_OF_A_SERVER])
        payable = (name for name in names if _is_payable(name, request, context, preferences))
        yield from ((name, f"the own server {server} lists it") for name in payable)


def _is_payable(name: str, request: RouteRequest, context: RoutingContext, preferences: EffectivePreferences) -> bool:
    """Return whether a key may pay for a model now and here: by key policy, mode, tier, region and its own state."""
    if context.tenant is None:
        return False
    asked, resolved = replace(request, model=name), context.resolve(name)
    offers = any(_offers(endpoint, name) for endpoint in context.endpoints)
    paying = payers(asked, context, resolved, has_own_endpoint=offers)
    for offering, key in payable_places(asked, context, resolved, paying):
        if not preferences.limits_place:
            return True
        if check_residency(residency_of(preferences, offering, key), preferences, offering, key) is None:
            return True
    return False


def _find_obstacle(
    name: str, request: RouteRequest, context: RoutingContext, preferences: EffectivePreferences
) -> str | None:
    """Return why a model cannot serve a request whatever keys there are; None if it may."""
    if name in VIRTUAL_MODELS:
        return f"{DEFAULT_MODEL} cannot stand for another virtual model"
    resolved = context.resolve(name)
    names = (name, resolved.model.id) if resolved.model else (name,)
    if request.allowed_models is not None and not any(each in request.allowed_models for each in names):
        return "the client token may not use it"
    if resolved.model is not None and not _is_kind(resolved.model, request.kind):
        return f"it does not serve {'embeddings' if request.kind is RequestKind.EMBEDDING else 'chats'}"
    if name != ECHO and not places_of(name, context):
        return resolved.retired.advice() if resolved.retired is not None else "there is no such model any more"
    if preferences.limits_place and not places_of(name, context, preferences):
        return "nothing that has it processes requests where they may be processed"
    return None


def places_of(name: str, context: RoutingContext, preferences: EffectivePreferences | None = None) -> list[Place]:
    """Return the endpoints and the offerings that have a model; with preferences, those that may process requests at all."""
    at_endpoints = [endpoint for endpoint in _enabled(context) if _offers(endpoint, name)]
    resolved = context.resolve(name)
    places: list[Place] = [*at_endpoints, *resolved.offerings]
    if preferences is None:
        return places
    return [
        place for place in places if may_ever_serve(preferences, place, stated=_is_stated(place, resolved, context))
    ]


def _is_stated(place: Place, resolved: ResolvedModel, context: RoutingContext) -> bool:
    """Return whether the owner of a key for a server of its own states that it is inside the European Union."""
    if isinstance(place, Endpoint) or place.provider not in NAMED_BY_TENANT:
        return False
    keys = (*context.own_keys.get(place.provider, ()), *context.platform_keys.get(place.provider, ()))
    return any(states_eu(key.provider, key.fields) and resolved.server in (None, key.name) for key in keys)


def _enabled(context: RoutingContext) -> list[Endpoint]:
    found = [endpoint for endpoint in context.endpoints if endpoint.enabled]
    return sorted(found, key=lambda endpoint: (endpoint.priority, endpoint.name))


def _offers(endpoint: Endpoint, name: str) -> bool:
    return name in endpoint.models or name.startswith(f"{endpoint.name}/")


def has_key(model: CatalogModel, context: RoutingContext, preferences: EffectivePreferences) -> bool:
    """Return whether there is a key for an offering that may process requests."""
    return any(
        context.own_keys.get(offering.provider) or context.platform_keys.get(offering.provider)
        for offering in model.offerings
        if may_ever_serve(preferences, offering)
    )


def _is_default(model: CatalogModel, kind: RequestKind) -> bool:
    return model.default and _is_kind(model, kind)


def _is_kind(model: CatalogModel, kind: RequestKind) -> bool:
    return (Capability.EMBEDDINGS in model.capabilities) == (kind is RequestKind.EMBEDDING)
