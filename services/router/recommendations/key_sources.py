"""Whose key would have cost less: a key of the tenant's own in place of the platform's, or the other way round. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

from keyferry.billing.charge import spend_terms
from keyferry.billing.plan import BillingPlan
from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.recommendations import Recommendation, RecommendationKind
from keyferry.contracts.tiers import Feature
from keyferry.contracts.usage import KeySource
from services.router.planning.context import RoutingContext
from services.router.power.comparison import LevelPlanner
from services.router.recommendations.confidence import LEAST_SAMPLES, is_worth_it, rate_sample
from services.router.recommendations.replayed import ReplayedRequest, count_requests, total_spend


def recommend_own_keys(
    replayed: Sequence[ReplayedRequest], billing: BillingPlan, context: RoutingContext
) -> Iterator[Recommendation]:
    """Yield the providers at which requests on the platform's keys would have cost less with a key of the tenant's own."""
    tenant, tiers = context.tenant, context.tiers
    if tenant is None or (tiers is not None and not tiers.has(tenant.tier, Feature.BYOK)):
        return
    for provider, group in _by_provider(replayed, KeySource.PLATFORM).items():
        saved = Fraction()
        for each in group:
            terms = spend_terms(billing, key_source=KeySource.BYOK, level=each.now.level, tier=tenant.tier)
            saved += each.weight * (each.now.spend_micro_usd - terms.amount(each.now.cost or 0))
        title = PROVIDERS[provider].title
        yield from _recommend(
            RecommendationKind.OWN_KEY,
            provider,
            group,
            int(saved),
            title=f"A key of your own for {title}",
            detail=(
                f"On the platform's keys these requests cost more credits than {title} takes for them at list prices"
                " (and this installation's fee for own keys). Your provider then bills you directly."
            ),
            action=f"Add a key for {title}; it is used first once it is tested.",
        )


def recommend_platform_keys(
    replayed: Sequence[ReplayedRequest], planner: LevelPlanner, context: RoutingContext
) -> Iterator[Recommendation | None]:
    """Yield the providers at which requests on own keys would have cost less in credits, and None after each planned one.

    A request counts only where the tenant's key policy allows the platform's keys for it.
    """
    for provider, group in _by_provider(replayed, KeySource.BYOK).items():
        saved, served = Fraction(), []
        for each in group:
            request = replace(each.request, prefer_own_keys="last")
            outcome = planner.outcome(each.past, request, context)
            yield None
            if outcome.key_source is KeySource.PLATFORM and outcome.cost is not None:
                saved += each.weight * (each.now.spend_micro_usd - outcome.spend_micro_usd)
                served.append(each)
        title = PROVIDERS[provider].title
        yield from _recommend(
            RecommendationKind.PLATFORM_KEY,
            provider,
            served,
            int(saved),
            title=f"Platform credits instead of your key for {title}",
            detail=(
                f"At your tier and power level the platform charges less for these requests than {title} takes at list prices."
            ),
            action="Send these requests with X-Prefer-BYOK: false, or choose the mode `platform` for their operations.",
        )


def _by_provider(replayed: Sequence[ReplayedRequest], source: KeySource) -> dict[str, list[ReplayedRequest]]:
    found: dict[str, list[ReplayedRequest]] = defaultdict(list)
    for each in replayed:
        provider = (each.now.served or "").partition("/")[0]
        if each.now.key_source is source and provider in PROVIDERS:
            found[provider].append(each)
    return found


def _recommend(
    kind: RecommendationKind,
    provider: str,
    group: Sequence[ReplayedRequest],
    saved: int,
    *,
    title: str,
    detail: str,
    action: str,
) -> Iterator[Recommendation]:
    spend = total_spend(group)
    if len(group) < LEAST_SAMPLES or not is_worth_it(saved, spend):
        return
    confidence, why = rate_sample(len(group), [])
    yield Recommendation(
        recommendation_id=f"{kind}-{provider}",
        kind=kind,
        title=title,
        detail=detail,
        served=provider,
        requests=count_requests(group),
        sampled=len(group),
        spend_micro_usd=spend,
        saved_micro_usd=saved,
        confidence=confidence,
        confidence_detail=why,
        action=action,
    )
