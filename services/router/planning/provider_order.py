"""Which provider of a model comes first, by preference and by price, and whether a request may leave its first one. Pure."""

from collections.abc import Sequence
from decimal import Decimal

from keyferry.contracts.chat import FailedAttempt
from keyferry.contracts.route import Candidate, DropReason
from services.router.planning.context import RoutingContext
from services.router.planning.health_filter import drop
from services.router.planning.routing_mode import describe_source
from services.router.preferences.effective import EffectivePreferences

ProviderRank = tuple[int, bool, Decimal]
_UNRANKED: ProviderRank = (2, False, Decimal(0))
_FREE = Decimal(0)


def rank_provider(
    candidate: Candidate, preferences: EffectivePreferences, context: RoutingContext, *, cheapest_first: bool = False
) -> ProviderRank:
    """Return the sort key of a candidate among those of the same model, owner of the key, and health.

    The default provider comes first, then the fallback provider; with cost optimisation, or `cheapest_first`, then the cheapest,
    and what has no list price last.
    """
    if not preferences.ranks_providers and not cheapest_first:
        return _UNRANKED
    name = candidate.endpoint or candidate.provider
    places = {preferences.fallback_provider: 1, preferences.default_provider: 0}
    place = min(places.get(name, 2), places.get(candidate.provider, 2))
    if not preferences.cost_optimization and not cheapest_first:
        return place, False, _FREE
    prices = context.prices(candidate.provider, candidate.model)
    if prices is None:
        return place, True, _FREE
    return place, False, prices.input_usd + (prices.output_usd or _FREE)


def keep_first_provider(
    order: Sequence[int],
    candidates: list[Candidate],
    failed_attempts: Sequence[FailedAttempt],
    preferences: EffectivePreferences,
) -> list[int]:
    """Return the order without other providers than the first, which are dropped, where the preferences switch that off.

    The first provider is that of the request's first attempt, or of the first candidate if none was made.
    """
    if preferences.auto_provider_switch or not order:
        return list(order)
    first = failed_attempts[0] if failed_attempts else candidates[order[0]]
    stay = (first.provider, first.endpoint)
    where = describe_source(preferences.source("auto_provider_switch"))
    kept: list[int] = []
    for index in order:
        candidate = candidates[index]
        if (candidate.provider, candidate.endpoint) == stay:
            kept.append(index)
        else:
            detail = f"the request stays with {first.endpoint or first.provider}: switching providers is off{where}"
            candidates[index] = drop(candidate, DropReason.PROVIDER_SWITCH_OFF, detail)
    return kept
