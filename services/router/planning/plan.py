"""From a request and its context to an ordered plan of attempts, with a reason for every candidate, kept or dropped. Pure."""

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.route import Candidate, DropReason, Endpoint
from keyferry.contracts.usage import KeySource, RequestKind
from services.router.catalog.lookup import ResolvedModel
from services.router.planning.context import Plan, RouteRequest, RoutingContext
from services.router.planning.health_filter import HealthFilter
from services.router.planning.key_candidates import KeyCandidate, key_candidates, payers
from services.router.planning.provider_keys import Ineligibility
from services.router.planning.refusal import refusal

ECHO = "echo"
CUSTOM = "custom"


def plan(request: RouteRequest, context: RoutingContext) -> Plan:
    """Plan the attempts: constraints first, then whose key pays, then health, then the order.

    The echo and the tenant's own endpoints come first, ordered by priority number and name; then the keys of the tenant and of
    the platform, in the order of its policy. A half-open target is now and then tried first among those, as a probe, since the
    next candidate answers if it fails again; otherwise it comes last until a probe has succeeded.
    """
    resolved = context.resolve(request.model)
    builder = _PlanBuilder(request, context, resolved)
    builder.add_echo()
    for endpoint in sorted(context.endpoints, key=lambda e: (e.priority, e.name)):
        builder.add_endpoint(endpoint)
    builder.add_keys()
    return builder.build()


def leads_nowhere(name: str, context: RoutingContext) -> bool:
    """Return whether a request for this model would be refused because there is no such model."""
    refused = plan(RouteRequest(context.tenant.tenant if context.tenant else "", name), context).refusal
    return refused is not None and refused.failure_class is FailureClass.NOT_FOUND


class _PlanBuilder:
    """Collects the candidates of a plan and their order."""

    def __init__(self, request: RouteRequest, context: RoutingContext, resolved: ResolvedModel) -> None:
        self._request = request
        self._context = context
        self._resolved = resolved
        self._ban = _find_ban(request, context, (request.model,))
        self._health_filter = HealthFilter(request, context)
        self._candidates: list[Candidate] = []
        self._endpoints: dict[int, Endpoint] = {}
        self._keys: dict[int, KeyFacts] = {}
        self._order: list[tuple[tuple[int | float, ...], int]] = []
        self._shadowed = False
        """Whether the name means one of the tenant's endpoints and nothing of the catalog."""
        self._endpoint_offers = False

    def add_echo(self) -> None:
        """Add the built-in echo."""
        candidate = _echo(self._request, self._ban)
        if candidate.kept:
            self._order.append(((0,), 0))
        self._candidates.append(candidate)

    def add_endpoint(self, endpoint: Endpoint) -> None:
        """Add one of the tenant's own endpoints."""
        index = len(self._candidates)
        self._endpoints[index] = endpoint
        candidate, named = _custom(self._request, endpoint, self._ban)
        self._shadowed = self._shadowed or named
        self._endpoint_offers = self._endpoint_offers or candidate.reason is not DropReason.MODEL_NOT_OFFERED
        if candidate.kept:
            candidate, health_rank = self._health_filter.apply(candidate, probe_allowed=True)
            if candidate.kept:
                self._order.append(((0, health_rank, index), index))
        self._candidates.append(candidate)

    def add_keys(self) -> None:
        """Add what provider keys can pay for, unless the name belongs to one of the tenant's endpoints.

        A request that names an endpoint must not reach a provider of the same name; and embeddings of an endpoint's model are not
        interchangeable with those of the catalog's model of that name.
        """
        embeds_itself = self._request.kind is RequestKind.EMBEDDING and self._endpoint_offers
        if self._shadowed or embeds_itself or not self._resolved.offerings:
            return
        if self._context.tenant is None:
            self._candidates.append(_unknown_tenant(self._request, self._resolved))
            return
        names = (self._request.model, self._resolved.model.id) if self._resolved.model else (self._request.model,)
        ban = _find_ban(self._request, self._context, names)
        paying = payers(self._request, self._context, self._resolved, has_own_endpoint=self._endpoint_offers)
        found = list(key_candidates(self._request, self._context, self._resolved, ban, paying))
        for rank in range(len(paying)):
            leading = not self._order
            for candidate in found:
                if candidate.payer == rank:
                    self._add_key(candidate, probe_allowed=leading)

    def _add_key(self, found: KeyCandidate, *, probe_allowed: bool) -> None:
        index = len(self._candidates)
        candidate = found.candidate
        if found.key is not None:
            self._keys[index] = found.key
        if candidate.kept:
            candidate, health_rank = self._health_filter.apply(candidate, probe_allowed=probe_allowed)
            if candidate.kept:
                place = (1 + found.payer, health_rank, *found.rank(self._request.request_id))
                self._order.append((place, index))
        self._candidates.append(candidate)

    def build(self) -> Plan:
        """Return the plan, or the refusal."""
        order = [index for _, index in sorted(self._order)]
        failure = None if order else refusal(self._request, self._context, self._resolved, self._candidates)
        return Plan(self._candidates, order, failure, self._endpoints, self._keys)


def _find_ban(request: RouteRequest, context: RoutingContext, names: tuple[str, ...]) -> Ineligibility:
    """Return what bans every candidate alike. `names` are those under which a client token may allow the model."""
    if context.tenant is None or context.tenant.suspended:
        return DropReason.TENANT_SUSPENDED, f"the tenant {request.tenant} is suspended or unknown"
    if request.allowed_models is not None and not any(name in request.allowed_models for name in names):
        return DropReason.MODEL_NOT_ALLOWED, f"the client token may not use {request.model}"
    return None


def _echo(request: RouteRequest, ban: Ineligibility) -> Candidate:
    if request.model != ECHO:
        detail = "the built-in echo only serves the model `echo`"
        return _dropped_candidate(ECHO, None, ECHO, KeySource.NONE, DropReason.NOT_NAMED, detail)
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
