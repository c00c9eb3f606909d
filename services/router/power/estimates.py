"""What a request would cost before it is sent: for each level the model that would answer, and a range for each key source.

A caller passes a request that names any model; its features count. Nothing is reserved, and no decision is recorded. Pure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from keyferry.contracts.features import PowerLevel
from keyferry.contracts.route import Candidate
from keyferry.contracts.usage import KeySource
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.planning.plan import plan
from services.router.power.building import token_prices
from services.router.power.levels import expected_output_tokens

_PICO_DIGITS = 12
LONGEST_OUTPUT_TOKENS = 4096
"""What the upper end of a range assumes where neither the request nor the catalog limits the answer."""


@dataclass(frozen=True, slots=True)
class EstimatedCost:
    """The range of the cost for one key source, in US dollars, exact."""

    key_source: KeySource
    low_usd: Decimal
    """At the cheapest place, for an answer of expected length."""
    high_usd: Decimal
    """At the dearest place, for the longest answer that is allowed."""


@dataclass(frozen=True, slots=True)
class LevelEstimate:
    """What one level would choose, and what it would cost."""

    level: PowerLevel
    model: str | None
    """None if the level finds none; `detail` then says why."""
    detail: str
    costs: Sequence[EstimatedCost] = ()
    """Without the key sources for which no place has a list price."""


def estimate_levels(request: RouteRequest, context: RoutingContext) -> tuple[LevelEstimate, ...]:
    """Return an estimate for every level, cheapest level first."""
    return tuple(_estimate(level, request, context) for level in PowerLevel)


def _estimate(level: PowerLevel, request: RouteRequest, context: RoutingContext) -> LevelEstimate:
    planned = plan(replace(request, model=level.value, power_level=None), replace(context, rules=None))
    if planned.refusal is not None:
        return LevelEstimate(level, None, planned.refusal.message)
    first = planned.candidates[planned.order[0]].chosen_model
    assert first is not None, "a level chooses models of the catalog"
    kept = [planned.candidates[index] for index in planned.order]
    places = [candidate for candidate in kept if candidate.chosen_model == first]
    return LevelEstimate(level, first, planned.models[0].detail, tuple(_costs(first, places, request, context)))


def _costs(
    model: str, places: Sequence[Candidate], request: RouteRequest, context: RoutingContext
) -> Iterator[EstimatedCost]:
    expected = expected_output_tokens(request.features)
    longest = max(expected, _longest(model, request, context))
    tokens = request.features.input_tokens
    for source in dict.fromkeys(place.key_source for place in places):
        if source is KeySource.CUSTOM and all(place.provider == "custom" for place in places):
            yield EstimatedCost(source, Decimal(0), Decimal(0))
            continue
        prices = [
            found
            for place in places
            if place.key_source is source and (found := token_prices(place, context)) is not None
        ]
        if prices:
            low = min(each.cost(tokens, expected) for each in prices)
            high = max(each.cost(tokens, longest) for each in prices)
            yield EstimatedCost(source, Decimal(low).scaleb(-_PICO_DIGITS), Decimal(high).scaleb(-_PICO_DIGITS))


def _longest(model: str, request: RouteRequest, context: RoutingContext) -> int:
    limit = request.features.max_output_tokens
    if limit is not None:
        return limit
    found = context.catalog.resolve(model).model
    known = None if found is None else found.max_output_tokens
    return LONGEST_OUTPUT_TOKENS if known is None else min(known, LONGEST_OUTPUT_TOKENS)
