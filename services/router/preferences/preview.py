"""What preferences would change before they are saved: callable models, and past requests planned again without health. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from keyferry.contracts.past_decisions import PastDecision
from keyferry.contracts.preference_preview import MAX_LISTED_MODELS, PreviewedOperation, PreviewPreferences
from keyferry.contracts.preferences import PreferenceScope, SavedPreferences
from keyferry.contracts.route import ListModels
from services.router.planning.available_models import available_models
from services.router.planning.context import Plan, RouteRequest, RoutingContext
from services.router.planning.plan import plan
from services.router.power.comparison import request_of
from services.router.preferences.effective import EffectivePreferences, resolve

Layers = Callable[[RouteRequest], Sequence[SavedPreferences]]
"""Returns what is saved in the scopes of a request, the broadest first."""
_ORDER = list(PreferenceScope)


@dataclass(frozen=True, slots=True)
class PreviewedRequest:
    """A past request planned as things are, and as they would be."""

    operation: str | None
    before: Sequence[str]
    """Where it would go, `provider/model`, best first."""
    after: Sequence[str]
    reason: str = ""
    """Why nothing is left after."""


@dataclass(slots=True)
class _Changed:
    """The preferences in force if one scope had others: one object for all requests with the same layers."""

    command: PreviewPreferences
    layers: Layers
    known: dict[tuple[int, ...], tuple[Sequence[SavedPreferences], EffectivePreferences]] = field(default_factory=dict)

    def __call__(self, request: RouteRequest) -> EffectivePreferences:
        saved = self.layers(request)
        concerned = self._concerns(request)
        key = (concerned, *map(id, saved))
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = saved, resolve(self._replaced(saved) if concerned else saved)
        return found[1]

    def _concerns(self, request: RouteRequest) -> bool:
        names = {
            PreferenceScope.TENANT: request.tenant,
            PreferenceScope.TEAM: request.team,
            PreferenceScope.MEMBER: request.member,
            PreferenceScope.CLIENT_TOKEN: request.client_token_id,
        }
        return names.get(self.command.scope) == self.command.scope_id

    def _replaced(self, saved: Sequence[SavedPreferences]) -> list[SavedPreferences]:
        command = self.command
        given = SavedPreferences(
            tenant=command.tenant,
            scope=command.scope,
            scope_id=command.scope_id,
            revision=1,
            preferences=command.preferences,
        )
        others = [each for each in saved if each.scope is not command.scope]
        return sorted([*others, given], key=lambda each: _ORDER.index(each.scope))


def changed_context(context: RoutingContext, command: PreviewPreferences, layers: Layers) -> RoutingContext:
    """Return the context as if the preferences of one scope were others."""
    return replace(context, preferences=_Changed(command, layers))


def callable_of(context: RoutingContext, command: PreviewPreferences) -> set[str]:
    """Return the models that requests of the command's scopes can call."""
    asked = RouteRequest(
        command.tenant, "", team=command.team, member=command.member, client_token_id=command.client_token_id
    )
    found = available_models(context.with_preferences_of(asked), ListModels(tenant=command.tenant))
    return {model.id for model in found if model.available and not model.virtual}


def lost_models(before: Iterable[str], after: Iterable[str]) -> list[str]:
    """Return models that cannot be called any more, as many as are listed."""
    return sorted(set(before) - set(after))[:MAX_LISTED_MODELS]


def replan_each(
    past: Iterable[PastDecision],
    before: RoutingContext,
    after: RoutingContext,
    allowed_of: Callable[[PastDecision], Sequence[str] | None],
) -> Iterator[PreviewedRequest]:
    """Plan each past request as things are and as they would be, one at a time."""
    for each in past:
        request = request_of(each, allowed_of(each))
        then = plan(request, after)
        reason = then.refusal.message if then.refusal is not None and not then.order else ""
        yield PreviewedRequest(each.operation, _places(plan(request, before)), _places(then), reason)


def describe_operations(results: Sequence[PreviewedRequest]) -> list[PreviewedOperation]:
    """Return what becomes of each operation, most requests first."""
    by_operation: dict[str | None, list[PreviewedRequest]] = {}
    for each in results:
        by_operation.setdefault(each.operation, []).append(each)
    ordered: Mapping[str | None, list[PreviewedRequest]] = dict(
        sorted(by_operation.items(), key=lambda item: (-len(item[1]), item[0] or ""))
    )
    return [_operation(name, found) for name, found in ordered.items()]


def _operation(name: str | None, found: Sequence[PreviewedRequest]) -> PreviewedOperation:
    reasons = [each.reason for each in found if each.before and not each.after]
    return PreviewedOperation(
        operation=name,
        requests=len(found),
        first_choice_changed=sum(bool(each.after) and each.before[:1] != each.after[:1] for each in found),
        fallback_lost=sum(len(each.before) > 1 and len(each.after) == 1 for each in found),
        refused=len(reasons),
        before=_most_frequent(each.before[:1] for each in found),
        after=_most_frequent(each.after[:1] for each in found),
        reason=_most_frequent([each] for each in reasons),
    )


def _most_frequent(values: Iterable[Sequence[str]]) -> str | None:
    ((found, _),) = Counter(tuple(each) for each in values).most_common(1) or (((), 0),)
    return found[0] if found else None


def _places(planned: Plan) -> list[str]:
    """Return where a plan goes, each model at each provider once."""
    candidates = [planned.candidates[index] for index in planned.order]
    return list(dict.fromkeys(f"{each.endpoint or each.provider}/{each.model}" for each in candidates))
