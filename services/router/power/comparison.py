"""A tenant's past requests planned again at each power level, and what a month of them would cost there.

Planned with today's keys, prices, rules and catalog and without health, and charged by the code that charges. A model's answers
are taken to be as long as those that were given. Pure.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from keyferry.billing.charge import charge_terms, pico_usd, spend_terms
from keyferry.contracts.features import DEFAULT_POWER_LEVEL, PowerLevel, RequestFeatures
from keyferry.contracts.origin import cached_origin
from keyferry.contracts.past_decisions import PastDecision
from keyferry.contracts.power_comparison import (
    DAYS_OF_MONTH,
    ComparedLevel,
    ComparedOperation,
    LevelOfOperation,
    ModelShare,
    ProjectedAmounts,
    TokenSpread,
)
from keyferry.contracts.preferences import PreferenceOrigin
from keyferry.contracts.usage import KeySource, Outcome, TokenUsage
from services.router.planning.context import Plan, RouteRequest, RoutingContext
from services.router.planning.health_filter import target_of
from services.router.planning.plan import CUSTOM, plan
from services.router.power.choice import choose_by_level
from services.router.power.estimates import EstimateRates
from services.router.power.levels import LEAST_SAMPLES, kind_of
from services.router.power.quality import QualityTable
from services.router.preferences.effective import EffectivePreferences

_NARROWER = frozenset({PreferenceOrigin.TEAM, PreferenceOrigin.MEMBER, PreferenceOrigin.CLIENT_TOKEN})
"""Scopes whose level the tenant's does not change."""
_PICO_PER_MICRO = 10**6
_LARGEST_MICRO_USD = 10**15
_MOST_MODELS = 10
_NO_FEATURES = RequestFeatures()
REST = "\x02"
"""The key of the operations that are not listed; no operation has this name."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """How many requests each operation had, by its name, `""` for none or REST; most requests first."""

    requests: Mapping[str, int]
    days_seen: float

    def key_of(self, past: PastDecision) -> str:
        """Return the operation under which a request counts."""
        name = past.operation or ""
        return name if name in self.requests else REST

    def per_month(self, key: str) -> float:
        """Return how many requests of an operation a month has at this rate."""
        return self.requests[key] * DAYS_OF_MONTH / self.days_seen


@dataclass(frozen=True, slots=True)
class AtLevel:
    """What would become of one past request."""

    served: str | None
    """`provider/model`; None for a refusal."""
    reason: str = ""
    model_id: str | None = None
    """Its id in the catalog; None if the catalog lacks it."""
    key_source: KeySource | None = None
    level: PowerLevel | None = None
    """The level by whose multiplier it is charged."""
    cost: int | None = None
    """In 10^-12 dollars; None without a price."""
    charge_micro_usd: int = 0
    spend_micro_usd: int = 0
    quality: int | None = None
    p95_ms: int | None = None


class LevelPlanner:
    """Plans past requests of one tenant at a level. The context must not know of health."""

    def __init__(
        self, context: RoutingContext, rates: EstimateRates, quality: QualityTable, own_p95: Mapping[str, int]
    ) -> None:
        self._context = context
        self._rates = rates
        self._quality = quality
        self._own_p95 = own_p95

    def at(self, level: PowerLevel, past: PastDecision, allowed_models: Sequence[str] | None) -> AtLevel:
        """Return what would become of a request if the tenant had saved this level."""
        return self.outcome(past, request_of(past, allowed_models), _with_level(self._context, level))

    def outcome(self, past: PastDecision, request: RouteRequest, context: RoutingContext) -> AtLevel:
        """Return what would become of a past request that is planned as `request`, with the tokens that it used."""
        planned = plan(request, context)
        if not planned.order:
            return AtLevel(None, planned.refusal.message if planned.refusal is not None else "no model is left")
        first = planned.candidates[planned.order[0]]
        served = f"{first.endpoint or first.provider}/{first.model}"
        used = tokens_of(past)
        cost = pico_usd(Decimal(0)) if used is None else self._cost(first.provider, first.model, used)
        charged = planned.power_level or past.asked_level or context.preferences(request).power_level
        terms: dict[str, Any] = {
            "key_source": first.key_source,
            "level": charged or DEFAULT_POWER_LEVEL,
            "tier": None if context.tenant is None else context.tenant.tier,
        }
        plan_of_billing = self._rates.billing
        model = context.catalog.find_model(first.provider, first.model)
        return AtLevel(
            served,
            model_id=None if model is None else model.id,
            key_source=first.key_source,
            level=charged or DEFAULT_POWER_LEVEL,
            cost=cost,
            charge_micro_usd=0 if cost is None or used is None else charge_terms(plan_of_billing, **terms).amount(cost),
            spend_micro_usd=0 if cost is None or used is None else spend_terms(plan_of_billing, **terms).amount(cost),
            quality=None if model is None else self._quality.of(model.id).of(kind_of(request.features)),
            p95_ms=self._p95(served, planned),
        )

    def _cost(self, provider: str, model: str, used: TokenUsage) -> int | None:
        if provider == CUSTOM:
            return 0
        tariff = self._rates.tariff(provider, model)
        found = None if tariff is None else tariff.cost(used)
        return None if found is None else pico_usd(found)

    def _p95(self, served: str, planned: Plan) -> int | None:
        own = self._own_p95.get(served)
        if own is not None:
            return own
        index = planned.order[0]
        key, endpoint = planned.keys.get(index), planned.endpoints.get(index)
        origin = key.origin if key is not None else cached_origin(endpoint.base_url) if endpoint else None
        tenant = "" if self._context.tenant is None else self._context.tenant.tenant
        summary = self._context.latency(target_of(planned.candidates[index], tenant, origin))
        return None if summary is None or summary.samples < LEAST_SAMPLES else summary.p95_ms


def own_p95_of(past: Iterable[PastDecision]) -> dict[str, int]:
    """Return within which time 95 of 100 completed attempts of the sample were over, by `provider/model`."""
    found: dict[str, list[int]] = {}
    for decision in past:
        for attempt in decision.attempts:
            if attempt.outcome is Outcome.COMPLETED:
                name = f"{attempt.endpoint or attempt.provider}/{attempt.model}"
                found.setdefault(name, []).append(attempt.latency_ms)
    return {name: _percentile(values, 95) for name, values in found.items() if len(values) >= LEAST_SAMPLES}


def describe_operations(past: Sequence[PastDecision], traffic: Traffic) -> list[ComparedOperation]:
    """Return the traffic of each operation."""
    return [
        _operation(key, [each for each in past if traffic.key_of(each) == key], traffic) for key in traffic.requests
    ]


def compare_levels(
    past: Sequence[PastDecision],
    outcomes: Mapping[PowerLevel, Sequence[AtLevel]],
    traffic: Traffic,
    context: RoutingContext,
    current: PowerLevel,
) -> list[ComparedLevel]:
    """Return what each level makes of a month. `outcomes` are those of `past`, in the same order."""
    keys = [traffic.key_of(each) for each in past]
    now = outcomes[current]
    spent = _Projection.of(keys, now, traffic).amounts().spend_micro_usd
    return [
        _compare(level, keys, outcomes[level], now, traffic, context, spent)
        for level in PowerLevel
        if level in outcomes
    ]


def _compare(
    level: PowerLevel,
    keys: Sequence[str],
    found: Sequence[AtLevel],
    now: Sequence[AtLevel],
    traffic: Traffic,
    context: RoutingContext,
    spent: int,
) -> ComparedLevel:
    projection = _Projection.of(keys, found, traffic)
    amounts = projection.amounts()
    ordinary = RouteRequest("" if context.tenant is None else context.tenant.tenant, level.value)
    choice = choose_by_level(level.value, ordinary, context)
    changed = [each.served != before.served for each, before in zip(found, now, strict=True)]
    return ComparedLevel(
        level=level,
        possible=choice.refusal is None,
        reason=None if choice.refusal is None else choice.refusal.message,
        model=choice.models[0][0] if choice.models else None,
        amounts=amounts,
        difference_micro_usd=amounts.spend_micro_usd - spent,
        changed_permille=projection.permille(changed),
        refused_permille=projection.permille([each.served is None for each in found]),
        quality=projection.quality(),
        p95_ms=projection.p95_ms(),
        operations=[_level_of_operation(key, keys, found, traffic) for key in traffic.requests],
    )


@dataclass(slots=True)
class _Projection:
    """Results with how many requests of a month each stands for."""

    weighted: list[tuple[AtLevel, float]] = field(default_factory=list)

    @classmethod
    def of(
        cls, keys: Sequence[str], found: Sequence[AtLevel], traffic: Traffic, only: str | None = None
    ) -> "_Projection":
        """Return the results of all operations, or of one. An operation of which nothing was sampled counts in no amount."""
        sampled = Counter(keys)
        return cls(
            [
                (each, traffic.per_month(key) / sampled[key])
                for key, each in zip(keys, found, strict=True)
                if only in (None, key)
            ]
        )

    def amounts(self) -> ProjectedAmounts:
        """Return what a month comes to."""
        priced = [(each, weight) for each, weight in self.weighted if each.cost is not None]
        unpriced = [each.served is not None and each.cost is None for each, _ in self.weighted]
        return ProjectedAmounts(
            spend_micro_usd=_total((each.spend_micro_usd, weight) for each, weight in priced),
            charge_micro_usd=_total((each.charge_micro_usd, weight) for each, weight in priced),
            cost_micro_usd=_total(((each.cost or 0) / _PICO_PER_MICRO, weight) for each, weight in priced),
            unpriced_permille=self.permille(unpriced),
        )

    def permille(self, holds: Sequence[bool]) -> int:
        """Return the share of the requests of which something holds."""
        total = sum(weight for _, weight in self.weighted)
        part = sum(weight for (_, weight), true in zip(self.weighted, holds, strict=True) if true)
        return min(round(1000 * part / total), 1000) if total else 0

    def quality(self) -> int | None:
        """Return the average score."""
        known = [(each.quality, weight) for each, weight in self.weighted if each.quality is not None]
        total = sum(weight for _, weight in known)
        return round(sum(score * weight for score, weight in known) / total) if total else None

    def p95_ms(self) -> int | None:
        """Return the highest of the models' times but for the twentieth of the requests with the longest."""
        known = sorted((each.p95_ms, weight) for each, weight in self.weighted if each.p95_ms is not None)
        left = 0.95 * sum(weight for _, weight in known)
        for duration, weight in known:
            left -= weight
            if left <= 1e-9:
                return duration
        return known[-1][0] if known else None


def _level_of_operation(key: str, keys: Sequence[str], found: Sequence[AtLevel], traffic: Traffic) -> LevelOfOperation:
    projection = _Projection.of(keys, found, traffic, only=key)
    results = [each for each, _ in projection.weighted]
    served = Counter(each.served for each in results if each.served is not None)
    reasons = Counter(each.reason for each in results if each.served is None)
    return LevelOfOperation(
        **_name(key),
        amounts=projection.amounts(),
        models=[
            ModelShare(model=model, permille=round(1000 * count / len(results)))
            for model, count in served.most_common(_MOST_MODELS)
        ],
        refused_permille=projection.permille([each.served is None for each in results]),
        reason=reasons.most_common(1)[0][0] if reasons else None,
        quality=projection.quality(),
        p95_ms=projection.p95_ms(),
    )


def _operation(key: str, past: Sequence[PastDecision], traffic: Traffic) -> ComparedOperation:
    used = [tokens for each in past if (tokens := tokens_of(each)) is not None]
    return ComparedOperation(
        **_name(key),
        requests=traffic.requests[key],
        requests_per_month=round(traffic.per_month(key)),
        sampled=len(past),
        input_tokens=_spread([tokens.prompt for tokens in used]),
        output_tokens=_spread([tokens.completion for tokens in used]),
    )


def _name(key: str) -> dict[str, Any]:
    return {"operation": None, "rest": True} if key == REST else {"operation": key or None}


def _spread(counts: Sequence[int]) -> TokenSpread | None:
    return TokenSpread(median=_percentile(counts, 50), p90=_percentile(counts, 90)) if counts else None


def _percentile(values: Sequence[int], percent: int) -> int:
    """Return a percentile by nearest rank."""
    return sorted(values)[-(-len(values) * percent // 100) - 1]


def _total(amounts: Iterable[tuple[float, float]]) -> int:
    return min(round(sum(amount * weight for amount, weight in amounts)), _LARGEST_MICRO_USD)


def tokens_of(past: PastDecision) -> TokenUsage | None:
    """Return the tokens of the attempt that was completed last; None if none was."""
    used = [attempt.token_usage for attempt in past.attempts if attempt.outcome is Outcome.COMPLETED]
    return used[-1] if used else None


def request_of(past: PastDecision, allowed_models: Sequence[str] | None) -> RouteRequest:
    """Return a past request as it would be planned now."""
    return RouteRequest(
        past.tenant,
        past.model_asked,
        allowed_models,
        kind=past.kind,
        prefer_own_keys=past.prefer_own_keys,
        request_id=past.request_id,
        client_token_id=past.client_token_id,
        team=past.team,
        member=past.member,
        operation=past.operation,
        tags=past.tags,
        power_level=past.asked_level,
        features=past.features or _NO_FEATURES,
        conversation=past.conversation,
    )


def _with_level(context: RoutingContext, level: PowerLevel) -> RoutingContext:
    """Return the context as if the tenant had saved a level. What narrower scopes have saved goes on overriding it."""

    def preferences(request: RouteRequest) -> EffectivePreferences:
        found = context.preferences(request)
        if found.source("power_level").origin in _NARROWER or found.power_level is level:
            return found
        return replace(found, power_level=level)

    # The tables of callable models do not depend on the level, and are kept by the preferences as they are saved.
    return replace(
        context, preferences=preferences, power_table=lambda request, _: context.power_table(request, context)
    )


def plan_all(
    past: Sequence[PastDecision],
    planner: LevelPlanner,
    allowed_of: Callable[[PastDecision], Sequence[str] | None],
) -> Iterator[dict[PowerLevel, AtLevel]]:
    """Plan each request at every level, one request at a time."""
    for each in past:
        allowed = allowed_of(each)
        yield {level: planner.at(level, each, allowed) for level in PowerLevel}
