"""From a request and its context to an ordered plan of attempts, with a reason for every candidate, kept or dropped. Pure."""

from dataclasses import dataclass, field, replace

from keyferry.contracts.catalog import Offering
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.origin import cached_origin
from keyferry.contracts.residency import Residency
from keyferry.contracts.route import Candidate, DropReason, Endpoint
from keyferry.contracts.usage import KeySource, RequestKind
from services.router.catalog.lookup import ResolvedModel
from services.router.catalog.retired import RetiredModel
from services.router.planning.applied_preferences import applied_preferences
from services.router.planning.candidate_filter import CandidateFilter
from services.router.planning.constraints import Place, check_constraints
from services.router.planning.context import Plan, RouteRequest, RoutingContext
from services.router.planning.health_filter import drop
from services.router.planning.key_candidates import KeyCandidate, key_candidates, payers
from services.router.planning.model_choice import ChosenModel, choose_models
from services.router.planning.provider_keys import Ineligibility
from services.router.planning.provider_order import ProviderRank, keep_first_provider, rank_provider
from services.router.planning.refusal import refusal
from services.router.planning.residency import check_residency, residency_of
from services.router.planning.routing_mode import mode_of
from services.router.preferences.effective import EffectivePreferences

ECHO = "echo"
CUSTOM = "custom"


def plan(request: RouteRequest, context: RoutingContext) -> Plan:
    """Plan the attempts: the models, then constraints, whose key pays, health, and the order.

    For each model the echo and the tenant's own endpoints come first, ordered by priority number and name; then the keys of the
    tenant and of the platform, in the order of its policy. A half-open target is now and then tried first among those, as a
    probe, since the next candidate answers if it fails again; otherwise it comes last until a probe has succeeded. After a failed
    attempt what follows is decided by `keyferry.contracts.fallback`.
    """
    if context.unreadable is not None:
        unreadable = Failure(failure_class=FailureClass.UNAVAILABLE, message=context.unreadable)
        return Plan([], [], unreadable, {}, {})
    choice = choose_models(request, context)
    preferences = context.preferences(request)
    collected = _Collected(CandidateFilter(request, context), preferences, choice.power_level is PowerLevel.ECO)
    for position, chosen in enumerate(choice.models):
        asked = request if chosen.name == request.model else replace(request, model=chosen.name)
        model = _ModelCandidates(asked, context, chosen, position, collected)
        if position == 0:
            model.add_echo()
        for endpoint in sorted(context.endpoints, key=lambda e: (e.priority, e.name)):
            model.add_endpoint(endpoint)
        model.add_keys()
    order = collected.filter.order(collected.candidates)
    order = keep_first_provider(order, collected.candidates, request.failed_attempts, preferences)
    order = collected.filter.add_wait(order, collected.candidates)
    failure = choice.refusal
    if not order and failure is None:
        first = choice.models[0].name
        asked = request if first == request.model else replace(request, model=first)
        health = collected.filter.health
        resolved = context.resolve(first)
        failure = refusal(asked, context, resolved, collected.candidates, health.withheld, health.recoveries)
    return Plan(
        collected.candidates,
        order,
        None if order else failure,
        collected.endpoints,
        collected.keys,
        choice.considered(),
        choice.power_level,
        choice.rule,
        applied_preferences(request, preferences),
        collected.residencies,
        preferences,
        collected.filter.reason_of(collected.candidates[order[0]]) if order else None,
        collected.filter.health.probed,
    )


def leads_nowhere(name: str, context: RoutingContext) -> bool:
    """Return whether a request for this model would be refused because there is no such model."""
    by_name = replace(context, rules=None, unreadable=None)
    refused = plan(RouteRequest(context.tenant.tenant if context.tenant else "", name), by_name).refusal
    return refused is not None and refused.failure_class is FailureClass.NOT_FOUND


@dataclass(slots=True)
class _Collected:
    """The candidates of all models of a plan, and their order."""

    filter: CandidateFilter
    preferences: EffectivePreferences
    cheapest_first: bool
    """Whether the offerings of a model are tried in the order of their prices."""
    candidates: list[Candidate] = field(default_factory=list)
    endpoints: dict[int, Endpoint] = field(default_factory=dict)
    keys: dict[int, KeyFacts] = field(default_factory=dict)
    residencies: dict[int, Residency] = field(default_factory=dict)

    def rank(self, candidate: Candidate, context: RoutingContext) -> ProviderRank:
        """Return the place of a key's candidate among those of one owner and health."""
        return rank_provider(candidate, self.preferences, context, cheapest_first=self.cheapest_first)


class _ModelCandidates:
    """Adds the candidates of one model. `request` names that model, whatever the caller named."""

    def __init__(
        self, request: RouteRequest, context: RoutingContext, chosen: ChosenModel, position: int, collected: _Collected
    ) -> None:
        self._request = request
        self._context = context
        self._chosen = chosen
        self._position = position
        self._collected = collected
        self._resolved = context.resolve(chosen.name)
        self._ban = _find_ban(request, context, (request.model,))
        self._shadowed = False
        """Whether the name means one of the tenant's endpoints and nothing of the catalog."""
        self._endpoint_offers = False
        self._endpoint_embeds = False
        """Whether an endpoint that the routing mode allows has the model."""
        self._mode = mode_of(request, context)

    def add_echo(self) -> None:
        """Add the built-in echo."""
        candidate = _echo(self._request, self._ban)
        if candidate.kept:  # it has no failures of its own, but an operator may force its circuit open
            candidate, _ = self._collected.filter.health.apply(candidate, 0, None)
        if candidate.kept:
            self._collected.filter.add((self._position, 0), 0)
        self._collected.candidates.append(candidate)

    def add_endpoint(self, endpoint: Endpoint) -> None:
        """Add one of the tenant's own endpoints."""
        index = len(self._collected.candidates)
        candidate, named = _custom(self._request, endpoint, self._ban)
        self._shadowed = self._shadowed or named
        offers = candidate.reason is not DropReason.MODEL_NOT_OFFERED
        excluded = self._mode.check_endpoint()
        self._endpoint_offers = self._endpoint_offers or offers
        self._endpoint_embeds = self._endpoint_embeds or (offers and excluded is None)
        if not offers and self._position > 0:
            return  # that it does not list a fallback is no news about the request
        self._collected.endpoints[index] = endpoint
        if candidate.kept and excluded is not None:
            candidate = drop(candidate, *excluded)
        if candidate.kept:
            candidate = self._constrain(candidate, index, endpoint, None)
        if candidate.kept:
            rank = (*rank_provider(candidate, self._collected.preferences, self._context), index)
            group, origin = (self._position, 0), cached_origin(endpoint.base_url)
            candidate = self._collected.filter.apply(candidate, index, origin, group, rank)
        self._append(candidate)

    def add_keys(self) -> None:
        """Add what provider keys can pay for, unless the name belongs to one of the tenant's endpoints.

        A request that names an endpoint must not reach a provider of the same name; and embeddings of an endpoint's model are not
        interchangeable with those of the catalog's model of that name.
        """
        request, context, resolved = self._request, self._context, self._resolved
        embeds_itself = request.kind is RequestKind.EMBEDDING and self._endpoint_embeds
        if self._shadowed or embeds_itself:
            return
        if resolved.retired is not None and resolved.model is None and not self._endpoint_offers:
            self._append(_retired(resolved.retired))
        if not resolved.offerings:
            return
        if context.tenant is None:
            self._append(_unknown_tenant(request, resolved))
            return
        names = (request.model, resolved.model.id) if resolved.model else (request.model,)
        ban = _find_ban(request, context, names)
        paying = payers(request, context, resolved, has_own_endpoint=self._endpoint_offers)
        found = list(key_candidates(request, context, resolved, ban, paying))
        for rank in range(len(paying)):
            for candidate in found:
                if candidate.payer == rank:
                    self._add_key(candidate)

    def _add_key(self, found: KeyCandidate) -> None:
        index = len(self._collected.candidates)
        candidate = found.candidate
        if found.key is not None:
            self._collected.keys[index] = found.key
        if candidate.kept and found.offering is not None:
            candidate = self._constrain(candidate, index, found.offering, found.key)
        if candidate.kept:
            origin = found.key.origin if found.key is not None else None
            preferred = self._collected.rank(candidate, self._context)
            group, rank = (self._position, 1 + found.payer), (*preferred, *found.rank(self._request.request_id))
            candidate = self._collected.filter.apply(candidate, index, origin, group, rank)
        self._append(candidate)

    def _constrain(self, candidate: Candidate, index: int, place: Place, key: KeyFacts | None) -> Candidate:
        violation = check_constraints(self._request, self._context, self._chosen, self._resolved, place)
        preferences = self._collected.preferences
        if self._chosen.eu_only and isinstance(place, Offering):
            # A chain like `privacy` means the key's region and address too; a tenant's own endpoint is its own choice.
            preferences = replace(preferences, eu_only=True)
        if violation is None and preferences.limits_place:
            residency = residency_of(preferences, place, key)
            self._collected.residencies[index] = residency
            violation = check_residency(residency, preferences, place, key)
        return candidate if violation is None else drop(candidate, *violation)

    def _append(self, candidate: Candidate) -> None:
        if not self._chosen.named:
            candidate = candidate.model_copy(update={"chosen_model": self._chosen.name})
        self._collected.candidates.append(candidate)


def _find_ban(request: RouteRequest, context: RoutingContext, names: tuple[str, ...]) -> Ineligibility:
    """Return what bans every candidate alike. `names` are those under which a client token may allow the model."""
    if context.tenant is None or context.tenant.suspended:
        return DropReason.TENANT_SUSPENDED, f"the tenant {request.tenant} is suspended or unknown"
    if request.allowed_models is not None and not any(name in request.allowed_models for name in names):
        return DropReason.MODEL_NOT_ALLOWED, f"the client token may not use {request.model}"
    return None


def _echo(request: RouteRequest, ban: Ineligibility) -> Candidate:
    if request.model != ECHO:
        return _ECHO_NOT_NAMED
    if ban is not None:
        return _dropped_candidate(ECHO, None, ECHO, KeySource.NONE, *ban)
    return Candidate(
        provider=ECHO,
        model=ECHO,
        key_source=KeySource.NONE,
        kept=True,
        detail="the built-in echo was requested by name",
    )


def _custom(request: RouteRequest, endpoint: Endpoint, ban: Ineligibility) -> tuple[Candidate, bool]:
    """Return the endpoint as a candidate, and whether the request names it."""
    owner, slash, rest = request.model.partition("/")
    named = bool(slash) and owner == endpoint.name and bool(rest)
    model = rest if named else request.model
    listed = request.model in endpoint.models
    if not named and not listed:
        reason, detail = DropReason.MODEL_NOT_OFFERED, f"the endpoint {endpoint.name} does not list {request.model}"
        return _dropped_candidate(CUSTOM, endpoint.name, model, KeySource.CUSTOM, reason, detail), named
    if not endpoint.enabled:
        reason, detail = DropReason.ENDPOINT_DISABLED, f"the endpoint {endpoint.name} is switched off"
        return _dropped_candidate(CUSTOM, endpoint.name, model, KeySource.CUSTOM, reason, detail), named
    if ban is not None:
        return _dropped_candidate(CUSTOM, endpoint.name, model, KeySource.CUSTOM, *ban), named
    detail = (
        f"the request names the endpoint {endpoint.name}"
        if named and not listed
        else f"the endpoint {endpoint.name} lists {request.model} (priority {endpoint.priority})"
    )
    candidate = Candidate(
        provider=CUSTOM, endpoint=endpoint.name, model=model, key_source=KeySource.CUSTOM, kept=True, detail=detail
    )
    return candidate, named


def _unknown_tenant(request: RouteRequest, resolved: ResolvedModel) -> Candidate:
    ineligibility = DropReason.TENANT_SUSPENDED, f"the tenant {request.tenant} is suspended or unknown"
    offering = resolved.offerings[0]
    return _dropped_candidate(offering.provider, None, offering.upstream, KeySource.PLATFORM, *ineligibility)


def _retired(gone: RetiredModel) -> Candidate:
    provider, upstream = next(((each.provider, each.upstream) for each in gone.offerings()), (ECHO, gone.id))
    reason = DropReason.MODEL_RETIRED
    return _dropped_candidate(provider, None, upstream, KeySource.NONE, reason, gone.advice())


def _dropped_candidate(
    provider: str, endpoint: str | None, model: str, key_source: KeySource, reason: DropReason, detail: str
) -> Candidate:
    return Candidate(
        provider=provider,
        endpoint=endpoint,
        model=model,
        key_source=key_source,
        kept=False,
        reason=reason,
        detail=detail,
    )


_ECHO_NOT_NAMED = _dropped_candidate(
    ECHO, None, ECHO, KeySource.NONE, DropReason.NOT_NAMED, "the built-in echo only serves the model `echo`"
)
"""Part of nearly every plan, hence built once."""
