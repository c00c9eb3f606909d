"""Cheaper models that could have served the same requests: every one of them, by the planner's own filters.

A group is the requests of one operation that name one model. A model of the catalog is recommended for it if planning finds it
for each request of the sample (which checks capabilities, context, residency, tier, keys and the client token), if its quality is
known and not below the floor, and if it would have cost less. The floor is the quality of the model that answers now less
QUALITY_TOLERANCE, and never below the least that the power level in force asks for. Pure.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from keyferry.contracts.catalog import Capability, CatalogModel
from keyferry.contracts.features import DEFAULT_POWER_LEVEL, LEVEL_MODELS
from keyferry.contracts.recommendations import Recommendation, RecommendationKind
from keyferry.contracts.usage import RequestKind
from services.router.planning.context import RoutingContext
from services.router.power.comparison import AtLevel, LevelPlanner
from services.router.power.estimates import EstimateRates
from services.router.power.levels import BOUNDS, kind_of
from services.router.power.quality import QualityTable
from services.router.recommendations.confidence import LEAST_SAMPLES, is_worth_it, rate_sample
from services.router.recommendations.recommended_rule import recommended_rule, rule_name
from services.router.recommendations.replayed import ReplayedRequest, count_requests, total_spend

QUALITY_TOLERANCE = 5
"""By how many points of 100 a cheaper model's quality may be lower."""
MAX_GROUPS = 12
MAX_CANDIDATES = 6
MAX_REPLAYED = 60
"""Requests of a group that are planned with each candidate."""
_GOOD_ENOUGH_PERCENT = 80
"""A model that is at least as good is preferred to a cheaper one if it saves so much of the highest amount."""
_SLOWER_PERCENT = 125

GroupKey = tuple[str | None, str]
"""Operation, and the model that the requests name."""


@dataclass(frozen=True, slots=True)
class ModelSearch:
    """What candidates are found with. The context must know neither health nor rules."""

    context: RoutingContext
    planner: LevelPlanner
    rates: EstimateRates
    quality: QualityTable


@dataclass(slots=True)
class _Replacement:
    """A model that could have served a whole group."""

    model: CatalogModel
    outcomes: list[AtLevel] = field(default_factory=list)
    saved: Fraction = Fraction()
    worst_gap: int = 0
    """By how many points its quality is below that of what answers now, at worst; negative if it is always better."""


def group_requests(replayed: Iterable[ReplayedRequest]) -> dict[GroupKey, list[ReplayedRequest]]:
    """Return the chats that name a model, by operation and model; the dearest groups first, at most MAX_GROUPS."""
    found: dict[GroupKey, list[ReplayedRequest]] = defaultdict(list)
    for each in replayed:
        if each.past.kind is RequestKind.CHAT and each.past.model_asked not in LEVEL_MODELS:
            found[each.past.operation, each.past.model_asked].append(each)
    kept = [(key, group) for key, group in found.items() if len(group) >= LEAST_SAMPLES]
    kept.sort(key=lambda item: (-total_spend(item[1]), item[0][0] or "", item[0][1]))
    return dict(kept[:MAX_GROUPS])


def find_cheaper_models(replayed: Sequence[ReplayedRequest], search: ModelSearch) -> Iterator[Recommendation | None]:
    """Yield the best replacement of each group that has one, and None after every request that was planned meanwhile."""
    operations_of: dict[str, set[str | None]] = defaultdict(set)
    for each in replayed:
        operations_of[each.past.model_asked].add(each.past.operation)
    for key, group in group_requests(replayed).items():
        sample = group[:MAX_REPLAYED]
        fitting: list[_Replacement] = []
        for model in _candidates(sample, search):
            replacement = _Replacement(model)
            for each in sample:
                yield None
                if not _replay(each, replacement, search):
                    break
            else:
                fitting.append(replacement)
        best = _choose(fitting)
        if best is not None:
            alone = operations_of[key[1]] == {key[0]}
            found = _recommend(key, group, sample, best, rule_fits=key[0] is not None or alone)
            if is_worth_it(found.saved_micro_usd, found.spend_micro_usd):
                yield found


def _replay(each: ReplayedRequest, replacement: _Replacement, search: ModelSearch) -> bool:
    """Plan a request with the replacement and add the outcome; return whether it could have served it."""
    request = replace(each.request, model=replacement.model.id)
    outcome = search.planner.outcome(each.past, request, search.context)
    if outcome.cost is None or outcome.model_id != replacement.model.id or outcome.quality is None:
        return False
    level = each.now.level or DEFAULT_POWER_LEVEL
    if outcome.quality < _floor(each, search) or (outcome.p95_ms or 0) > BOUNDS[level].latency_ms:
        return False
    gap = (outcome.quality if each.now.quality is None else each.now.quality) - outcome.quality
    replacement.worst_gap = gap if not replacement.outcomes else max(replacement.worst_gap, gap)
    replacement.outcomes.append(outcome)
    replacement.saved += each.weight * (each.now.spend_micro_usd - outcome.spend_micro_usd)
    return True


def _floor(each: ReplayedRequest, search: ModelSearch) -> int:
    least = (
        BOUNDS[each.now.level or DEFAULT_POWER_LEVEL].quality
        if search.context.preferences(each.request).power_level
        else 0
    )
    known = each.now.quality
    return least if known is None else max(known - QUALITY_TOLERANCE, min(least, known))


def _candidates(sample: Sequence[ReplayedRequest], search: ModelSearch) -> list[CatalogModel]:
    """Return the models whose list price for the sample's tokens is lowest, good enough for its first request."""
    first = sample[0]
    now = sum(each.now.cost or 0 for each in sample)
    kinds = {kind_of(each.request.features) for each in sample}
    floor = min(_floor(each, search) for each in sample)
    priced: list[tuple[int, str, CatalogModel]] = []
    for model in search.context.catalog:
        if Capability.CHAT not in model.capabilities or model.id == first.now.model_id:
            continue
        scores = [search.quality.of(model.id).of(kind) for kind in kinds]
        if any(score is None or score < floor for score in scores):
            continue
        costs = [
            cost
            for offering in model.offerings
            if (cost := _cost(offering.provider, offering.upstream, sample, search)) is not None
        ]
        if costs and min(costs) < now:
            priced.append((min(costs), model.id, model))
    return [model for _, _, model in sorted(priced, key=lambda row: row[:2])[:MAX_CANDIDATES]]


def _cost(provider: str, upstream: str, sample: Sequence[ReplayedRequest], search: ModelSearch) -> int | None:
    """Return the list price of the sample's tokens in 10^-12 dollars; None if it is not known."""
    tariff = search.rates.tariff(provider, upstream)
    if tariff is None:
        return None
    costs = [tariff.cost(each.used) for each in sample]
    return (
        None if any(cost is None for cost in costs) else int(sum(cost for cost in costs if cost is not None) * 10**12)
    )


def _choose(fitting: Sequence[_Replacement]) -> _Replacement | None:
    """Return what saves most; what is as good as now is preferred if it saves nearly as much."""
    if not fitting:
        return None
    best = max(fitting, key=lambda each: (each.saved, -each.worst_gap, each.model.id))
    as_good = [each for each in fitting if each.worst_gap <= 0]
    if as_good:
        chosen = max(as_good, key=lambda each: (each.saved, each.model.id))
        if 100 * chosen.saved >= _GOOD_ENOUGH_PERCENT * best.saved:
            return chosen
    return best


def _recommend(
    key: GroupKey,
    group: Sequence[ReplayedRequest],
    sample: Sequence[ReplayedRequest],
    best: _Replacement,
    *,
    rule_fits: bool,
) -> Recommendation:
    operation, model = key
    spend, requests = total_spend(group), count_requests(group)
    # The sample stands for the whole group.
    share = Fraction(len(group), len(sample))
    saved = max(int(best.saved * share), 0)
    served = Counter(each.now.served for each in group).most_common(1)[0][0]
    to_served = Counter(each.served for each in best.outcomes).most_common(1)[0][0]
    quality, to_quality = _average(each.now for each in sample), _average(best.outcomes)
    p95, to_p95 = _slowest(each.now for each in sample), _slowest(best.outcomes)
    confidence, why = rate_sample(len(sample), _doubts(best, quality, p95, to_p95))
    what = _describe(key)
    description = f"Recommended: {best.model.id} serves the {what} for less."
    rule = recommended_rule(model, best.model.id, operation, description) if rule_fits else None
    return Recommendation(
        recommendation_id=rule_name(model, best.model.id, operation),
        kind=RecommendationKind.CHEAPER_MODEL,
        title=f"{best.model.id} instead of {model}" + ("" if operation is None else f" for {operation}"),
        detail=(
            f"All {len(sample)} sampled {what} could have been served by {best.model.title}: it has every capability they need,"
            " their context fits, and your limits of region, tier and keys allow it."
        ),
        operation=operation,
        model=model,
        served=served,
        to_model=best.model.id,
        to_served=to_served,
        requests=requests,
        sampled=len(sample),
        spend_micro_usd=spend,
        saved_micro_usd=saved,
        confidence=confidence,
        confidence_detail=why,
        quality=quality,
        to_quality=to_quality,
        p95_ms=p95,
        to_p95_ms=to_p95,
        rule=rule,
        action=_action(model, rule_fits=rule_fits, has_rule=rule is not None),
    )


def _describe(key: GroupKey) -> str:
    operation, model = key
    return f"requests for {model}" if operation is None else f"requests for {model} with the operation {operation}"


def _action(model: str, *, rule_fits: bool, has_rule: bool) -> str:
    if has_rule:
        return "Put the rule into your draft, run it over past requests, then publish it."
    if rule_fits:
        return "Name the cheaper model in your requests: no rule can match this name alone."
    return (
        "Name the operation of these requests (X-Operation), so that a rule can match them alone; other requests for"
        f" {model} have operations of their own."
    )


def _doubts(best: _Replacement, quality: int | None, p95: int | None, to_p95: int | None) -> list[str]:
    doubts = []
    if quality is None:
        doubts.append("the quality of what answers now is not known")
    elif best.worst_gap > 0:
        doubts.append(f"its quality is up to {best.worst_gap} points of 100 lower")
    if to_p95 is None:
        doubts.append("how fast it answers is not known here yet")
    elif p95 is not None and 100 * to_p95 > _SLOWER_PERCENT * p95:
        doubts.append(f"95 of 100 answers take {to_p95 / 1000:.1f} s, and {p95 / 1000:.1f} s now")
    doubts.append("its answers are taken to be as long as those that were given")
    return doubts if len(doubts) > 1 else []


def _average(outcomes: Iterable[AtLevel]) -> int | None:
    known = [each.quality for each in outcomes if each.quality is not None]
    return round(Fraction(sum(known), len(known))) if known else None


def _slowest(outcomes: Iterable[AtLevel]) -> int | None:
    known = [each.p95_ms for each in outcomes if each.p95_ms is not None]
    return max(known) if known else None
