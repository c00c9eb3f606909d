"""The models that a tenant can call now, under every name it can use, with their catalog data. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import islice

from keyferry.contracts.catalog import Capability, CatalogModel, ModelSort
from keyferry.contracts.features import AUTO_MODEL, DEFAULT_MODEL, PowerLevel
from keyferry.contracts.providers import NAMED_BY_TENANT
from keyferry.contracts.residency import is_in_eu
from keyferry.contracts.route import DropReason, ListModels, Model
from keyferry.contracts.usage import KeySource, RequestKind
from services.router.catalog.lookup import ResolvedModel
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.planning.health_filter import drop, target_of
from services.router.planning.key_candidates import KeyCandidate, key_candidates, payers, source_of
from services.router.planning.provider_keys import check_key
from services.router.planning.residency import check_residency, may_ever_serve, residency_of
from services.router.planning.routing_mode import mode_of
from services.router.planning.saved_models import choose_default
from services.router.power.choice import usable_levels
from services.router.preferences.effective import NO_PREFERENCES, EffectivePreferences

ANY_OPERATION = "any"
VIRTUAL_PROVIDER = "keyferry"
_VIRTUAL = {
    PowerLevel.ECO: "The cheapest model that fits the request.",
    PowerLevel.BALANCED: "The model with the best quality for its cost.",
    PowerLevel.PRECISION: "The best model that fits the request.",
    AUTO_MODEL: "The power level, and with it the model, by what the request needs.",
}
_DESCRIPTIVE_FIELDS = (
    "maker", "title", "description", "best_for", "model_class", "capabilities", "context_tokens", "max_output_tokens",
    "dimensions", "tier", "recommended", "default",
)  # fmt: skip


def available_models(context: RoutingContext, query: ListModels) -> list[Model]:
    """Return the models that `query` selects, in its order. Health is ignored: models of an open circuit are still listed."""
    found = callable_models(
        context,
        query.allowed_models,
        unavailable=query.unavailable is True,
        unapproved=query.unapproved is True,
    )
    found += _virtual_models(context, query.allowed_models, {model.id for model in found if model.available})
    chosen = [model for model in found if _matches(model, query)]
    if query.sort is ModelSort.NAME:
        chosen.sort(key=lambda model: model.id)
    elif query.sort is ModelSort.CONTEXT:
        chosen.sort(key=lambda model: -(model.context_tokens or 0))
    elif query.sort is ModelSort.COST:
        chosen.sort(key=_cost)
    elif query.sort is ModelSort.LATENCY:
        chosen.sort(key=lambda model: _latency(model, context))
    return chosen


def _virtual_models(
    context: RoutingContext, allowed_models: Sequence[str] | None, callable_names: set[str]
) -> list[Model]:
    """Return the virtual models for which there is something to choose now; `default` only if one is saved and callable."""
    if context.tenant is None or context.tenant.suspended or context.unreadable is not None:
        return []
    request = RouteRequest(context.tenant.tenant, AUTO_MODEL, allowed_models)
    levels = usable_levels(request, context)
    described = {level.value: _VIRTUAL[level] for level in levels}
    if levels:
        described[AUTO_MODEL] = _VIRTUAL[AUTO_MODEL]
    default = choose_default(replace(request, model=DEFAULT_MODEL), context).models[0].name
    if context.preferences(request).default_model is not None and default in callable_names:
        described[DEFAULT_MODEL] = f"The default model of the preferences, now {default}."
    return [
        Model(
            id=name,
            provider=VIRTUAL_PROVIDER,
            key_source=KeySource.NONE,
            virtual=True,
            title=name.capitalize(),
            description=description,
            capabilities=[Capability.CHAT],
        )
        for name, description in described.items()
    ]


def callable_models(
    context: RoutingContext,
    allowed_models: Sequence[str] | None,
    *,
    unavailable: bool = False,
    unapproved: bool = False,
) -> list[Model]:
    """Return the echo, then models of the tenant's own endpoints and servers, then the catalog's; each name once.

    `unavailable` adds approved models that no key can pay for; `unapproved` adds models outside the catalog that own keys list.
    """
    first: dict[str, Model] = {}
    for model in _callable(context, allowed_models, unavailable=unavailable, unapproved=unapproved):
        first.setdefault(model.id, model)
    return [model for model in first.values() if allowed_models is None or model.id in allowed_models]


def first_names(context: RoutingContext, allowed_models: Sequence[str] | None, at_most: int) -> list[str]:
    """Return the first names of what can be called: for a message, without a look at everything that could be listed."""
    names: dict[str, None] = {}
    for model in _callable(context, allowed_models, per_key=at_most):
        if allowed_models is None or model.id in allowed_models:
            names[model.id] = None
        if len(names) == at_most:
            break
    return list(names)


def endpoint_names(context: RoutingContext, at_most: int) -> list[str]:
    """Return the first names of models at the tenant's own endpoints."""
    return [model.id for model in islice(_endpoint_models(context), at_most)]


def has_payer(name: str, context: RoutingContext) -> bool:
    """Return whether this is a name of the catalog for which some key can pay now."""
    resolved = context.resolve(name)
    return resolved.model is not None and _catalog_model(context, resolved, False) is not None


def _callable(
    context: RoutingContext,
    allowed_models: Sequence[str] | None,
    *,
    unavailable: bool = False,
    unapproved: bool = False,
    per_key: int | None = None,
) -> Iterator[Model]:
    """Yield what can be called, in order, some of it more than once; of what each key lists only the first `per_key`."""
    if context.tenant is None or context.tenant.suspended or context.unreadable is not None:
        return
    yield Model(id="echo", provider="echo", key_source=KeySource.NONE, prices=context.prices("echo", "echo"))
    yield from _endpoint_models(context)
    yield from _own_key_models(context, per_key, unapproved=unapproved)
    for resolved in _resolve_names(context, allowed_models):
        if (model := _catalog_model(context, resolved, unavailable)) is not None:
            yield model


def _endpoint_models(context: RoutingContext) -> Iterator[Model]:
    request = RouteRequest(context.tenant.tenant if context.tenant is not None else "", "")
    preferences = context.preferences(request)
    excluded = mode_of(request, context).check_endpoint() is not None
    for endpoint in sorted(context.endpoints, key=lambda e: (e.priority, e.name)):
        if endpoint.enabled and not excluded and may_ever_serve(preferences, endpoint):
            yield from (
                Model(
                    id=name,
                    provider="custom",
                    endpoint=endpoint.name,
                    key_source=KeySource.CUSTOM,
                    providers=["custom"],
                    key_sources=[KeySource.CUSTOM],
                    eu=endpoint.eu,
                    prices=context.prices("custom", model),
                )
                for model in endpoint.models
                for name in (model, f"{endpoint.name}/{model}")
            )


def _own_key_models(context: RoutingContext, per_key: int | None, *, unapproved: bool) -> Iterator[Model]:
    """Yield models that the tenant's keys list and the catalog lacks; those of its own servers and snapshots need no approval.

    With `unapproved` also others; one that only lacks the tenant's permission is then included as not available. Of each key the
    first `per_key` are considered.
    """
    for provider, keys in context.own_keys.items():
        for key in keys:
            if check_key(key, context) is not None:
                continue
            for name in islice(key.models, per_key):
                resolved = context.resolve(f"{key.name or provider}/{name}")
                if resolved.snapshot and (model := _catalog_model(context, resolved, False)) is not None:
                    yield model
                if resolved.model is not None or not (unapproved or provider in NAMED_BY_TENANT):
                    continue
                found = _all_candidates(context, resolved)
                usable = [each for each in found if each.candidate.kept]
                available = bool(usable)
                if available or any(each.candidate.reason is DropReason.UNAPPROVED for each in found):
                    source = source_of(key)
                    yield Model(
                        id=resolved.name,
                        provider=provider,
                        endpoint=key.name,
                        key_source=source,
                        providers=[provider],
                        key_sources=[source],
                        available=available,
                        approved=provider in NAMED_BY_TENANT,
                        eu=any(map(_stays_in_eu, usable)),
                        prices=context.prices(provider, name),
                    )


def _resolve_names(context: RoutingContext, allowed_models: Sequence[str] | None) -> Iterator[ResolvedModel]:
    """Resolve the names to list: those of the catalog, or those that a client token is limited to."""
    if allowed_models is None:
        yield from (context.catalog.resolve(model.id) for model in context.catalog)
    else:
        yield from (
            resolved for name in allowed_models if (resolved := context.catalog.resolve(name)).model is not None
        )


def _catalog_model(context: RoutingContext, resolved: ResolvedModel, unavailable: bool) -> Model | None:
    assert resolved.model is not None
    usable = _usable_candidates(context, resolved)
    if usable:
        candidates = [found.candidate for found in usable]
        first = candidates[0]
        return _add_description(
            resolved.model,
            Model(
                id=resolved.name,
                provider=first.provider,
                key_source=first.key_source,
                providers=list(dict.fromkeys(candidate.provider for candidate in candidates)),
                key_sources=list(dict.fromkeys(candidate.key_source for candidate in candidates)),
                eu=any(map(_stays_in_eu, usable)),
                prices=context.prices(first.provider, first.model),
            ),
        )
    if not unavailable:
        return None
    eu = any(offering.eu for offering in resolved.offerings)
    first_offering = resolved.offerings[0]
    return _add_description(
        resolved.model,
        Model(
            id=resolved.name,
            provider=first_offering.provider,
            key_source=KeySource.NONE,
            available=False,
            eu=eu,
            prices=context.prices(first_offering.provider, first_offering.upstream),
        ),
    )


def _usable_candidates(context: RoutingContext, resolved: ResolvedModel) -> list[KeyCandidate]:
    """Return the candidates that a request for the model would have, best first, without health and random order."""
    if not any(
        each.provider in context.own_keys or each.provider in context.platform_keys for each in resolved.offerings
    ):
        return []
    kept = [found for found in _all_candidates(context, resolved) if found.candidate.kept]
    return sorted(kept, key=_candidate_order)


def _all_candidates(context: RoutingContext, resolved: ResolvedModel) -> list[KeyCandidate]:
    """Return a candidate for every offering and key, including ineligible ones."""
    assert context.tenant is not None
    embeds = resolved.model is not None and Capability.EMBEDDINGS in resolved.model.capabilities
    kind = RequestKind.EMBEDDING if embeds else RequestKind.CHAT
    request = RouteRequest(context.tenant.tenant, resolved.name, kind=kind)
    paying = payers(request, context, resolved, has_own_endpoint=False)
    found = list(key_candidates(request, context, resolved, None, paying))
    preferences = context.preferences(request)
    return [_limit_place(each, preferences) for each in found] if preferences.limits_place else found


def _limit_place(found: KeyCandidate, preferences: EffectivePreferences) -> KeyCandidate:
    """Return the candidate, dropped if it would be processed where the tenant's requests must not be."""
    if not found.candidate.kept or found.offering is None:
        return found
    residency = residency_of(preferences, found.offering, found.key)
    violation = check_residency(residency, preferences, found.offering, found.key)
    return found if violation is None else replace(found, candidate=drop(found.candidate, *violation))


def _cost(model: Model) -> tuple[bool, Decimal]:
    """Return the sort key by cost of a million tokens of input and output; models without a price come last."""
    prices = model.prices
    return prices is None, Decimal(0) if prices is None else prices.input_usd + (prices.output_usd or 0)


def _latency(model: Model, context: RoutingContext) -> tuple[bool, int]:
    """Return the sort key by the median time of recent answers where it would be tried first; unknown ones come last."""
    assert context.tenant is not None
    kept = (
        []
        if model.virtual
        else [each for each in _all_candidates(context, context.resolve(model.id)) if each.candidate.kept]
    )
    first = min(kept, key=_candidate_order, default=None)
    if first is None or first.key is None:
        return True, 0
    summary = context.latency(target_of(first.candidate, context.tenant.tenant, first.key.origin))
    return summary is None, 0 if summary is None else summary.p50_ms


def _candidate_order(found: KeyCandidate) -> tuple[object, ...]:
    *order, _ = found.rank("")
    return found.payer, *order


def _stays_in_eu(found: KeyCandidate) -> bool:
    """Return whether calls with this key stay inside the European Union: where a request that requires it may go."""
    if found.offering is None:
        return False
    residency = residency_of(NO_PREFERENCES, found.offering, found.key)
    return is_in_eu(marked=residency.eu, region=residency.region)


def _add_description(model: CatalogModel, listed: Model) -> Model:
    return listed.model_copy(update={name: getattr(model, name) for name in _DESCRIPTIVE_FIELDS})


def _matches(model: Model, query: ListModels) -> bool:
    recommended = model.recommended and (query.recommended == ANY_OPERATION or query.recommended in model.recommended)
    from_provider = query.provider in (model.provider, model.endpoint, *model.providers)
    return (
        (not query.eu or model.eu)
        and (query.recommended is None or bool(recommended))
        and (query.provider is None or from_provider)
        and (query.tier is None or model.tier is query.tier)
        and (query.model_class is None or model.model_class is query.model_class)
        and (query.capability is None or query.capability in model.capabilities)
    )
