"""Why a request gets no attempt, with a message that helps to fix it. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice

from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.health import Health
from keyferry.contracts.route import Candidate, DropReason
from services.router.catalog.lookup import ResolvedModel
from services.router.fallback.recovery import last_failure
from services.router.planning.available_models import endpoint_names, first_names, has_payer
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.planning.suggestions import MAX_SUGGESTED, ask_for, similar_names, suggest_key, suggest_names

_MAX_NAMED = 8
"""Most names or reasons in one message."""
_MAX_COMPARED = 40
"""Most names of the tenant's endpoints that a misspelt one is compared with."""
_OF_KEYS = frozenset(
    {
        DropReason.NO_KEY,
        DropReason.KEY_POLICY,
        DropReason.KEY_UNUSABLE,
        DropReason.KEY_LIMIT_SPENT,
        DropReason.KEY_PAUSED,
        DropReason.KEY_NOT_FOR_MODEL,
        DropReason.KEY_OTHER_SCOPE,
        DropReason.SERVER_NOT_NAMED,
        DropReason.KEY_ELSEWHERE,
        DropReason.TIER_TOO_LOW,
        DropReason.NOT_IN_CATALOG,
        DropReason.UNPRICED,
        DropReason.PROVIDER_RETIRED,
        DropReason.UNAPPROVED,
    }
)
_WOULD_SERVE = frozenset(
    {
        DropReason.UNAPPROVED,
        DropReason.KEY_PAUSED,
        DropReason.KEY_UNUSABLE,
        DropReason.KEY_LIMIT_SPENT,
        DropReason.KEY_OTHER_SCOPE,
    }
)
"""With one of these reasons a model outside the catalog is not unknown: its key, or the permission to use it, is missing."""
_OF_PREFERENCES = frozenset({DropReason.ROUTING_MODE, DropReason.OUTSIDE_EU, DropReason.REGION_NOT_ALLOWED})
"""Where requests may be served and processed: another key or model helps only if it is permitted there."""
_ABOUT_THE_MODEL = {
    DropReason.WRONG_KIND: FailureClass.BAD_REQUEST,
    DropReason.MODEL_RETIRED: FailureClass.NOT_FOUND,
    DropReason.UNREADABLE: FailureClass.UNAVAILABLE,
}
_ASKED_FOR_A_PAUSE = frozenset({FailureClass.RATE_LIMIT, FailureClass.OVERLOADED})


def refusal(
    request: RouteRequest,
    context: RoutingContext,
    resolved: ResolvedModel,
    candidates: Sequence[Candidate],
    withheld: Sequence[Health] = (),
    recoveries: Sequence[datetime] = (),
) -> Failure:
    """Return the failure of a request without candidates: policy, earlier failure, health, disabled endpoint, keys, unknown.

    `withheld` is the health of the targets and keys that get no requests now, `recoveries` when each candidate that was dropped
    for it takes requests again.
    """
    by_reason: dict[DropReason | None, list[Candidate]] = {}
    for candidate in candidates:
        by_reason.setdefault(candidate.reason, []).append(candidate)
    for forbidding in (DropReason.TENANT_SUSPENDED, DropReason.MODEL_NOT_ALLOWED):
        if forbidding in by_reason:
            return _failure(FailureClass.POLICY, by_reason[forbidding][0].detail)
    if request.failed_attempts:
        return last_failure(request.failed_attempts, recoveries, context.now)
    unhealthy = [*by_reason.get(DropReason.UNHEALTHY, ()), *by_reason.get(DropReason.KEY_COOLING, ())]
    if unhealthy:
        return _all_unhealthy(unhealthy, withheld, recoveries, context)
    if DropReason.ENDPOINT_DISABLED in by_reason:
        return _failure(FailureClass.UNAVAILABLE, _reasons(by_reason[DropReason.ENDPOINT_DISABLED]))
    if (reason := next((each for each in _ABOUT_THE_MODEL if each in by_reason), None)) is not None:
        return _failure(_ABOUT_THE_MODEL[reason], by_reason[reason][0].detail)
    if any(candidate.reason in _OF_PREFERENCES for candidate in candidates):
        excluded = [each for each in candidates if each.reason in _OF_PREFERENCES or each.reason in _OF_KEYS]
        return _failure(FailureClass.POLICY, f"nothing may serve {request.model!r}: {_reasons(excluded)}")
    if of_keys := [candidate for candidate in candidates if candidate.reason in _OF_KEYS]:
        return _no_key_pays(resolved, of_keys, context)
    return _unknown_model(request, context)


def _failure(failure_class: FailureClass, message: str) -> Failure:
    return Failure(failure_class=failure_class, message=message, param="model")


def _reasons(candidates: Iterable[Candidate]) -> str:
    detail = list(dict.fromkeys(candidate.detail for candidate in candidates))
    return "; ".join(detail[:_MAX_NAMED]) + ("; …" if len(detail) > _MAX_NAMED else "")


def _no_key_pays(resolved: ResolvedModel, candidates: Sequence[Candidate], context: RoutingContext) -> Failure:
    if resolved.model is None:
        detail = f"the model {resolved.name!r} is not in the catalog, and no own key can be used for it: {_reasons(candidates)}."
        if any(candidate.reason in _WOULD_SERVE for candidate in candidates):
            return _failure(FailureClass.POLICY, detail)
        return _failure(FailureClass.NOT_FOUND, detail + suggest_names(resolved.name, _names_like(resolved, context)))
    return _failure(FailureClass.POLICY, f"no key may pay for {resolved.name!r}: {_reasons(candidates)}")


def _names_like(resolved: ResolvedModel, context: RoutingContext) -> Iterator[str]:
    """Yield the names that could have been meant: of the provider that the name begins with, and its spelling."""
    prefix = resolved.server or resolved.provider
    for model in context.catalog:
        yield from (f"{prefix}/{each.upstream}" for each in model.offerings if each.provider == resolved.provider)
    for key in context.own_keys.get(resolved.provider or "", ()):
        if key.name == resolved.server:
            yield from (f"{prefix}/{name}" for name in key.models)


def _all_unhealthy(
    candidates: Sequence[Candidate],
    withheld: Sequence[Health],
    recoveries: Sequence[datetime],
    context: RoutingContext,
) -> Failure:
    """Return the failure if all targets and keys are withheld; it says when the first may be tried again.

    A target that asked for a pause fails as it did when it asked, so that the class does not change while it is over.
    """
    classes = {health.failure_class for health in withheld}
    same = classes.pop() if len(classes) == 1 else None
    wait_ms = max(1, int((min(recoveries) - context.now).total_seconds() * 1000)) if recoveries else None
    failure = _failure(same if same in _ASKED_FOR_A_PAUSE else FailureClass.UNAVAILABLE, _reasons(candidates))
    return failure.model_copy(update={"retry_after_ms": wait_ms})


def _unknown_model(request: RouteRequest, context: RoutingContext) -> Failure:
    context = context.with_preferences_of(request)
    names = first_names(context, request.allowed_models, _MAX_NAMED + 1)
    shown = ", ".join(names[:_MAX_NAMED]) + (", …" if len(names) > _MAX_NAMED else "")
    detail = f"the model {request.model!r} is not offered to this tenant; GET /v1/models lists: {shown or 'nothing'}."
    hint = suggest_key(request.model, context) if request.allowed_models is None else ""
    return _failure(FailureClass.NOT_FOUND, detail + (hint or _similar_models(request, context, names)))


def _similar_models(request: RouteRequest, context: RoutingContext, first: Sequence[str]) -> str:
    """Return which models may be meant. Only the similar ones are checked: an unknown name must not cost more than a request."""
    allowed = request.allowed_models
    own = {*first, *endpoint_names(context, _MAX_COMPARED)}
    known = [*own, *(model.id for model in context.catalog)] if allowed is None else [*first, *allowed]
    similar = similar_names(request.model, known)
    possible = (
        name for name in similar if name in first or (allowed is None and name in own) or has_payer(name, context)
    )
    return ask_for(list(islice(possible, MAX_SUGGESTED)))
