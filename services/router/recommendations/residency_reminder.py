"""A reminder for tenants in Europe: how much of their traffic leaves the European Union, and what staying would change. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

from keyferry.contracts.recommendations import Recommendation, RecommendationKind
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.power.comparison import AtLevel, LevelPlanner
from services.router.preferences.effective import EffectivePreferences
from services.router.recommendations.confidence import LEAST_SAMPLES, rate_sample
from services.router.recommendations.replayed import ReplayedRequest, count_requests, total_spend

_EUROPE = "Europe/"
"""How the time zones of tenants begin that are reminded."""


def remind_of_residency(
    replayed: Sequence[ReplayedRequest], planner: LevelPlanner, context: RoutingContext
) -> Iterator[Recommendation | None]:
    """Yield at most one reminder, and None after each request that was planned."""
    if context.tenant is None or not context.tenant.time_zone.startswith(_EUROPE):
        return
    outside = [
        each for each in replayed if not _is_inside(each.now, context) and not context.preferences(each.request).eu_only
    ]
    if len(outside) < LEAST_SAMPLES:
        return
    inside_context = replace(context, preferences=lambda request: _eu_only(context, request))
    served, more = 0, Fraction()
    for each in outside:
        outcome = planner.outcome(each.past, each.request, inside_context)
        yield None
        if outcome.served is not None and outcome.cost is not None:
            served += 1
            more += each.weight * (outcome.spend_micro_usd - each.now.spend_micro_usd)
    permille = round(Fraction(1000 * len(outside), len(replayed)))
    confidence, why = rate_sample(len(outside), [])
    yield Recommendation(
        recommendation_id="eu_residency",
        kind=RecommendationKind.EU_RESIDENCY,
        title=f"{permille / 10:.0f} % of your requests are processed outside of the European Union",
        detail=(
            f"With EU-only switched on, {served} of {len(outside)} sampled requests would be answered inside of it"
            f"{_difference(int(more))}; the others would be refused until another model is chosen for them."
        ),
        requests=count_requests(outside),
        sampled=len(outside),
        spend_micro_usd=total_spend(outside),
        saved_micro_usd=0,
        confidence=confidence,
        confidence_detail=why,
        permille=permille,
        action="See what EU-only would change under Privacy and region before you switch it on.",
    )


def _difference(micro_usd: int) -> str:
    if micro_usd == 0:
        return " at the same price"
    return f" for ${abs(micro_usd) / 10**6:.2f} {'more' if micro_usd > 0 else 'less'} in these days"


def _eu_only(context: RoutingContext, request: RouteRequest) -> EffectivePreferences:
    return replace(context.preferences(request), eu_only=True)


def _is_inside(outcome: AtLevel, context: RoutingContext) -> bool:
    provider, _, upstream = (outcome.served or "").partition("/")
    endpoint = next((each for each in context.endpoints if each.name == provider), None)
    if endpoint is not None:
        return endpoint.eu
    model = context.catalog.find_model(provider, upstream)
    offerings = [] if model is None else model.offerings
    return any(each.eu for each in offerings if (each.provider, each.upstream) == (provider, upstream))
