"""Builds the table of a tenant: which chat models it can call now, what they cost, and why it cannot call the others. Pure."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from keyferry.contracts.catalog import Capability, CatalogModel
from keyferry.contracts.health import Target
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.origin import cached_origin
from keyferry.contracts.route import Candidate, DropReason, Endpoint
from keyferry.contracts.usage import KeySource
from services.router.planning.choice import ChosenModel
from services.router.planning.constraints import Place, check_constraints
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.planning.health_filter import target_of
from services.router.planning.key_candidates import KeyCandidate, key_candidates, payers
from services.router.planning.provider_order import rank_provider
from services.router.planning.residency import check_residency, residency_of
from services.router.planning.routing_mode import mode_of
from services.router.power.quality import QualityTable
from services.router.power.table import CallableModel, PowerTable, UnitPrices

ASSUMED_CONTEXT_TOKENS = 32_768
"""The context of a model whose catalog entry has none: what almost every model offers."""
_MILLION = 10**6
_FREE = UnitPrices(0, 0)
"""The price of a model on the tenant's own endpoint, which no provider charges."""


def build_table(request: RouteRequest, context: RoutingContext, quality: QualityTable) -> PowerTable:
    """Return the table for requests of this tenant with these preferences. The request's model and features do not matter."""
    models: list[CallableModel] = []
    others: dict[str, str] = {}
    for model in context.catalog:
        if Capability.CHAT not in model.capabilities:
            continue
        found = _Callable(request, context, model)
        if found.endpoints or found.kept:
            models.append(_describe(found, context, quality))
        else:
            others[model.id] = f"not callable: {found.reason}"
    return PowerTable(tuple(models), others, valid_until=_valid_until(context))


class _Callable:
    """The ways in which one model can be called, without health."""

    def __init__(self, request: RouteRequest, context: RoutingContext, model: CatalogModel) -> None:
        self._request = RouteRequest(
            request.tenant,
            model.id,
            prefer_own_keys=request.prefer_own_keys,
            client_token_id=request.client_token_id,
            team=request.team,
            member=request.member,
            operation=request.operation,
        )
        self._context = context
        self._preferences = context.preferences(self._request)
        self._resolved = context.catalog.resolve(model.id)
        self.model = model
        self._obstacles: list[tuple[bool, str]] = []
        """Why its offerings cannot be used, with whether it is more than a missing key."""
        self.endpoints: list[Endpoint] = sorted(
            (each for each in context.endpoints if self._serves(each)), key=self._order_of_endpoint
        )
        self.kept: list[KeyCandidate] = sorted(self._kept(), key=self._order)
        """What keys can pay for, in the order in which a plan tries it."""

    @property
    def reason(self) -> str:
        """Why it cannot be called: the first obstacle that is more than a missing key, or else the first one."""
        return max(self._obstacles, key=lambda obstacle: obstacle[0], default=(False, "no provider offers it"))[1]

    @property
    def cheapest(self) -> KeyCandidate:
        """What keys can pay for and a plan for `eco` tries first."""
        return min(self.kept, key=lambda each: self._order(each, cheapest_first=True))

    def target(self, tried_first: KeyCandidate | None) -> Target:
        """Return what is called first: the tenant's first endpoint, or what a key pays for."""
        tenant = self._request.tenant
        if self.endpoints:
            first = self.endpoints[0]
            return target_of(_own(first, self.model.id), tenant, cached_origin(first.base_url))
        assert tried_first is not None, "a model that can be called has an endpoint or a key"
        key = tried_first.key
        return target_of(tried_first.candidate, tenant, key.origin if key is not None else None)

    def _serves(self, endpoint: Endpoint) -> bool:
        if not endpoint.enabled or self.model.id not in endpoint.models:
            return False
        excluded = mode_of(self._request, self._context).check_endpoint()
        reason = excluded[1] if excluded is not None else self._check(endpoint, None)
        if reason is not None:
            self._obstacles.append((True, reason))
        return reason is None

    def _kept(self) -> Iterator[KeyCandidate]:
        paying = payers(self._request, self._context, self._resolved, has_own_endpoint=bool(self.endpoints))
        for found in key_candidates(self._request, self._context, self._resolved, None, paying):
            reason = None if found.candidate.kept else found.candidate.detail
            if reason is None and found.offering is not None:
                reason = self._check(found.offering, found.key)
            if reason is None:
                yield found
            else:
                self._obstacles.append((found.candidate.reason is not DropReason.NO_KEY, reason))

    def _check(self, place: Place, key: KeyFacts | None) -> str | None:
        """Return why a place must not serve the request; None if it may."""
        chosen = ChosenModel(self.model.id, "")
        violation = check_constraints(self._request, self._context, chosen, self._resolved, place)
        if violation is None and self._preferences.limits_place:
            residency = residency_of(self._preferences, place, key)
            violation = check_residency(residency, self._preferences, place, key)
        return None if violation is None else violation[1]

    def _order_of_endpoint(self, endpoint: Endpoint) -> tuple[object, ...]:
        provider = rank_provider(_own(endpoint, self.model.id), self._preferences, self._context)
        return *provider, endpoint.priority, endpoint.name

    def _order(self, found: KeyCandidate, *, cheapest_first: bool = False) -> tuple[object, ...]:
        *order, _ = found.rank("")
        provider = rank_provider(found.candidate, self._preferences, self._context, cheapest_first=cheapest_first)
        return found.payer, *provider, *order


def _own(endpoint: Endpoint, model: str) -> Candidate:
    return Candidate(
        provider="custom", endpoint=endpoint.name, model=model, key_source=KeySource.CUSTOM, kept=True, detail="own"
    )


def _describe(found: _Callable, context: RoutingContext, quality: QualityTable) -> CallableModel:
    model = found.model
    first, cheapest = (found.kept[0], found.cheapest) if found.kept else (None, None)
    own = bool(found.endpoints)
    return CallableModel(
        id=model.id,
        capabilities=frozenset(model.capabilities),
        context_tokens=model.context_tokens or ASSUMED_CONTEXT_TOKENS,
        max_output_tokens=model.max_output_tokens,
        quality=quality.of(model.id),
        prices=_FREE if own or first is None else token_prices(first.candidate, context),
        cheapest=_FREE if own or cheapest is None else token_prices(cheapest.candidate, context),
        providers=frozenset([each.name for each in found.endpoints] + [each.candidate.provider for each in found.kept]),
        target=found.target(first),
        cheapest_target=found.target(cheapest),
    )


def token_prices(candidate: Candidate, context: RoutingContext) -> UnitPrices | None:
    """Return the current list prices of a candidate; None unless both input and output have one."""
    listed = context.prices(candidate.provider, candidate.model)
    if listed is None or listed.output_usd is None:
        return None
    return UnitPrices(_in_millionths(listed.input_usd), _in_millionths(listed.output_usd))


def _in_millionths(amount: Decimal) -> int:
    return int(amount * _MILLION)


def _valid_until(context: RoutingContext) -> datetime | None:
    """Return when the first of the keys expires; None if none does."""
    keys = (key for owner in (context.own_keys, context.platform_keys) for keys in owner.values() for key in keys)
    moments = (key.expires_at for key in keys if key.expires_at is not None and key.expires_at > context.now)
    return min(moments, default=None)
